"""The staging area as its readers see it: sealed micro-batches by received hour, each read checked against its crc.

One contract, `Staging`, and two areas that keep it: a local disk, here, and an object store, in `object_staging`.
"""

import os
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Protocol, TypeVar

import pyarrow as pa

from sensor_platform.errors import MissingMicroBatchError
from sensor_platform.staging.compacted_area import (
    COMPACTED_FOLDER,
    COMPACTED_SUFFIX,
    CompactedArea,
    CompactedName,
    Hours,
)
from sensor_platform.staging.durable import move_without_replacing
from sensor_platform.staging.format import EPOCH, MicroBatch, StagedFile, folder_of
from sensor_platform.staging.read import Sealed, count_messages, damaged, hour_of_folder, read_messages, read_sealed
from sensor_platform.staging.torn import count_rows

T = TypeVar("T")

#: Folder of what is not sealed: open files, locks, counters. Arrow datasets skip names that begin with "_".
OPEN_FOLDER = "_open"
SUFFIX = ".arrow"
HOUR = timedelta(hours=1)


class Staging(Protocol):
    """What every staging area does. An object store may raise ObjectStoreError from any of it."""

    @property
    def where(self) -> str:
        """Its place, for people."""

    def micro_batches(
        self, start: datetime | None = None, end: datetime | None = None, *, but: Container[CompactedName] = ()
    ) -> list[MicroBatch]:
        """Sealed micro-batches received in [start, end), oldest hour first, then by name.

        `but`: compacted files whose micro-batches nobody wants listed: to open each takes long where there are years.
        """

    def find(self, name: str) -> MicroBatch | None:
        """The sealed micro-batch of that name; looks at every hour."""

    def read(self, micro_batch: MicroBatch) -> pa.Table:
        """Every message of it, in received order.

        Raises:
            DamagedMicroBatchError: its bytes are not those that were written.
            MissingMicroBatchError: there is no such file.
        """

    def count(self, micro_batch: MicroBatch) -> int:
        """Messages in it. Raises as `read` does."""

    def sealed_at(self, micro_batch: MicroBatch) -> datetime | None:
        """When it was sealed, or, in an object store, uploaded; None when it is gone."""

    def files(
        self, start: datetime | None = None, end: datetime | None = None, *, compacted: bool = True
    ) -> list[StagedFile]:
        """The files of [start, end): first those of one micro-batch, then compacted ones; each by hour and name.

        A micro-batch that is being compacted has both. `compacted` False: without those, since each has to be opened.
        """

    def compacted_sizes(
        self, start: datetime | None = None, end: datetime | None = None
    ) -> list[tuple[CompactedName, int]]:
        """The compacted files of [start, end) and their bytes. Opens none of them."""

    def delete(self, file: StagedFile) -> None:
        """The file is gone when this returns, for ever; one that is gone already is no error."""

    @property
    def compacted(self) -> CompactedArea:
        """The micro-batches that have no files of their own any more."""

    def scratch(self) -> Path:
        """A local folder, perhaps still to be made, for files that are being compacted."""

    def read_sealed(self, micro_batch: MicroBatch) -> Sealed:
        """All that its own file says. Raises as `read` does, Missing also where it is compacted."""

    def keep(self, path: Path, name: CompactedName) -> None:
        """Makes a synced local file a compacted one, durably; `path` is gone then. Raises OSError."""

    def open_messages(self) -> int:
        """Messages in files of this machine that are not sealed yet. Looks only: their collector may be writing."""


class LocalStaging:
    """A staging area on a local disk. The collector's writer is in `staging.writer`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.compacted = CompactedArea(str(root), self._compacted_files, self._open_compacted)

    @property
    def where(self) -> str:
        return str(self.root)

    def micro_batches(
        self, start: datetime | None = None, end: datetime | None = None, *, but: Container[CompactedName] = ()
    ) -> list[MicroBatch]:
        own = self.own_files(start, end)  # before the compacted ones: what moves meanwhile is found there
        compacted = self.compacted.micro_batches(start, end, but=but)
        return in_order({*own, *compacted}) if compacted else own

    def own_files(self, start: datetime | None = None, end: datetime | None = None) -> list[MicroBatch]:
        """Those of [start, end) that have files of their own, in the same order."""
        hours = sorted(_hours(self.root, (start, end)))
        return [MicroBatch(hour, name) for hour, folder in hours for name in sorted(_stems(folder, SUFFIX))]

    def path(self, micro_batch: MicroBatch) -> Path:
        """Where its own file lies."""
        return self.root / folder_of(micro_batch.hour) / f"{micro_batch.name}{SUFFIX}"

    def find(self, name: str) -> MicroBatch | None:
        hours = (hour for hour, folder in _hours(self.root) if (folder / f"{name}{SUFFIX}").exists())
        hour = next(hours, None)
        return self.compacted.find(name) if hour is None else MicroBatch(hour, name)

    def read(self, micro_batch: MicroBatch) -> pa.Table:
        path = self.path(micro_batch)
        try:
            with _opened(path) as source:
                return read_messages(source, str(path))
        except MissingMicroBatchError:
            messages = self.compacted.read(micro_batch)
            if messages is None:
                raise
            return messages

    def read_sealed(self, micro_batch: MicroBatch) -> Sealed:
        path = self.path(micro_batch)
        with _opened(path, by=pa.OSFile) as source:
            return read_sealed(source, str(path))

    def count(self, micro_batch: MicroBatch) -> int:
        path = self.path(micro_batch)
        try:
            with _opened(path) as source:
                return count_messages(source, str(path))
        except MissingMicroBatchError:
            entry = self.compacted.entry(micro_batch)
            if entry is None:
                raise
            return entry.rows

    def sealed_at(self, micro_batch: MicroBatch) -> datetime | None:
        with suppress(FileNotFoundError):
            return datetime.fromtimestamp(self.path(micro_batch).stat().st_mtime, UTC)
        entry = self.compacted.entry(micro_batch)
        return None if entry is None else EPOCH + timedelta(microseconds=entry.sealed_at_us)

    def files(
        self, start: datetime | None = None, end: datetime | None = None, *, compacted: bool = True
    ) -> list[StagedFile]:
        own = _sized((self.path(each), each) for each in self.own_files(start, end))
        files = [StagedFile(each.hour, each.name, (each,), size) for each, size in own]
        if not compacted:
            return files
        return files + [
            StagedFile(each.hour, each.name, self._inside(each), size, compacted=True)
            for each, size in self.compacted_sizes(start, end)
        ]

    def compacted_sizes(
        self, start: datetime | None = None, end: datetime | None = None
    ) -> list[tuple[CompactedName, int]]:
        return list(_sized((self.root / each.key, each) for each in sorted(self._compacted_files((start, end)))))

    def delete(self, file: StagedFile) -> None:
        if file.compacted:
            _unlink(self.root / CompactedName(file.hour, file.name).key)
        else:
            self.delete_own(file.micro_batches[0])

    def delete_own(self, micro_batch: MicroBatch) -> None:
        """The micro-batch's own file is gone when this returns."""
        _unlink(self.path(micro_batch))

    def scratch(self) -> Path:
        return self.root / OPEN_FOLDER / "_compaction"  # no collector can have that name

    def keep(self, path: Path, name: CompactedName) -> None:
        move_without_replacing(path, self.root / name.key)

    def open_messages(self) -> int:
        return sum(count_rows(file) for file in self.root.glob(f"{OPEN_FOLDER}/*/*{SUFFIX}"))

    def is_moving(self, micro_batch: MicroBatch) -> bool:
        """Whether the collector is about to take away the name under which the file was open."""
        collector = micro_batch.name.rsplit("-", 2)[0]
        return (self.root / OPEN_FOLDER / collector / f"{micro_batch.name}{SUFFIX}").exists()

    def _inside(self, file: CompactedName) -> tuple[MicroBatch, ...]:
        return tuple(MicroBatch(file.hour, name) for name in self.compacted.names(file))

    def _compacted_files(self, hours: Hours) -> list[CompactedName]:
        return [
            CompactedName(hour, name)
            for hour, folder in _hours(self.root / COMPACTED_FOLDER, hours)
            for name in _stems(folder, COMPACTED_SUFFIX)
        ]

    def _open_compacted(self, file: CompactedName) -> pa.NativeFile | None:
        with suppress(MissingMicroBatchError):
            return _opened(self.root / file.key, by=pa.OSFile)
        return None


def _hours(root: Path, hours: Hours = (None, None)) -> Iterator[tuple[datetime, Path]]:
    """The folders of received hours below `root`, in no order."""
    start, end = hours
    if start is not None and end == start + HOUR and hour_of_folder(folder_of(start)) == start:
        yield start, root / folder_of(start)  # what is asked for most often needs no list of years
        return
    for folder in root.glob("dt=*/hour=*"):
        hour = hour_of_folder(f"{folder.parent.name}/{folder.name}")
        if hour is not None and (start is None or hour >= start) and (end is None or hour < end):
            yield hour, folder


def in_order(found: Iterable[MicroBatch]) -> list[MicroBatch]:
    """By hour, then by name: ten times as fast as by the comparisons of a dataclass, which are Python."""
    return sorted(found, key=attrgetter("hour", "name"))


def _stems(folder: Path, suffix: str) -> Iterator[str]:
    """Names of the files in a folder, without that suffix. Millions of them: no Path is made of each."""
    with suppress(FileNotFoundError, NotADirectoryError):  # it went meanwhile, or is not ours
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
        yield from (name.removesuffix(suffix) for name in names if name.endswith(suffix))


def _sized(found: Iterable[tuple[Path, T]]) -> Iterator[tuple[T, int]]:
    for path, file in found:
        with suppress(FileNotFoundError):  # it went meanwhile
            yield file, path.stat().st_size


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
    for folder in (path.parent, path.parent.parent):
        with suppress(OSError):  # not empty
            folder.rmdir()


def _opened(path: Path, *, by: Callable[[str], pa.NativeFile] = pa.memory_map) -> pa.NativeFile:
    """Mapped, it is read without a copy; `by` pa.OSFile what a disk cannot read is an error, and not a signal."""
    try:
        return by(str(path))
    except FileNotFoundError as err:
        raise MissingMicroBatchError(f"{path}: no such micro-batch. Was it moved or deleted by hand?") from err
    except (pa.ArrowException, OSError) as err:
        raise damaged(str(path), str(err)) from err
