"""The staging area as its readers see it: sealed micro-batches by received hour, each read checked against its crc.

One contract, `Staging`, and two areas that keep it: a local disk, here, and an object store, in `object_staging`.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from sensor_platform.errors import MissingMicroBatchError
from sensor_platform.staging.format import MicroBatch, folder_of
from sensor_platform.staging.read import count_messages, damaged, hour_of_folder, read_messages
from sensor_platform.staging.torn import count_rows

if TYPE_CHECKING:
    from sensor_platform.settings import Settings

#: Folder of what is not sealed: open files, locks, counters. Arrow datasets skip names that begin with "_".
OPEN_FOLDER = "_open"
SUFFIX = ".arrow"


class Staging(Protocol):
    """What every staging area does. An object store may raise ObjectStoreError from any of it."""

    @property
    def where(self) -> str:
        """Its place, for people."""

    def micro_batches(self, start: datetime | None = None, end: datetime | None = None) -> list[MicroBatch]:
        """Sealed micro-batches received in [start, end), oldest hour first, then by name."""

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

    def delete(self, micro_batch: MicroBatch) -> None:
        """Its file is gone when this returns, for ever; one that is gone already is no error."""

    def open_messages(self) -> int:
        """Messages in files of this machine that are not sealed yet. Looks only: their collector may be writing."""


class LocalStaging:
    """A staging area on a local disk. The collector's writer is in `staging.writer`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def where(self) -> str:
        return str(self.root)

    def micro_batches(self, start: datetime | None = None, end: datetime | None = None) -> list[MicroBatch]:
        found = [
            MicroBatch(hour, file.stem)
            for hour, folder in self._hours()
            if (start is None or hour >= start) and (end is None or hour < end)
            for file in folder.glob(f"*{SUFFIX}")
        ]
        return sorted(found)

    def path(self, micro_batch: MicroBatch) -> Path:
        return self.root / folder_of(micro_batch.hour) / f"{micro_batch.name}{SUFFIX}"

    def find(self, name: str) -> MicroBatch | None:
        hours = (hour for hour, folder in self._hours() if (folder / f"{name}{SUFFIX}").exists())
        hour = next(hours, None)
        return None if hour is None else MicroBatch(hour, name)

    def read(self, micro_batch: MicroBatch) -> pa.Table:
        path = self.path(micro_batch)
        with _opened(path) as source:
            return read_messages(source, str(path))

    def count(self, micro_batch: MicroBatch) -> int:
        path = self.path(micro_batch)
        with _opened(path) as source:
            return count_messages(source, str(path))

    def sealed_at(self, micro_batch: MicroBatch) -> datetime | None:
        with suppress(FileNotFoundError):
            return datetime.fromtimestamp(self.path(micro_batch).stat().st_mtime, UTC)
        return None

    def delete(self, micro_batch: MicroBatch) -> None:
        path = self.path(micro_batch)
        path.unlink(missing_ok=True)
        for folder in (path.parent, path.parent.parent):
            with suppress(OSError):  # not empty
                folder.rmdir()

    def open_messages(self) -> int:
        return sum(count_rows(file) for file in self.root.glob(f"{OPEN_FOLDER}/*/*{SUFFIX}"))

    def is_moving(self, micro_batch: MicroBatch) -> bool:
        """Whether the collector is about to take away the name under which the file was open."""
        collector = micro_batch.name.rsplit("-", 2)[0]
        return (self.root / OPEN_FOLDER / collector / f"{micro_batch.name}{SUFFIX}").exists()

    def _hours(self) -> Iterator[tuple[datetime, Path]]:
        for folder in self.root.glob("dt=*/hour=*"):
            hour = hour_of_folder(f"{folder.parent.name}/{folder.name}")
            if hour is not None:
                yield hour, folder


def open_staging(settings: "Settings") -> Staging:
    """The staging area of the settings; a `staging` folder in the home when they name none. Connects to nothing."""
    root = staging_root(settings)
    if settings.staging_url is not None and is_object_store(settings.staging_url):
        from sensor_platform.staging.object_staging import ObjectStaging
        from sensor_platform.staging.object_store import Bucket

        return ObjectStaging(LocalStaging(root), Bucket(settings.staging_url))
    return LocalStaging(root)


def staging_root(settings: "Settings") -> Path:
    """The local folder: the staging area itself, or, with an object store, what waits to be uploaded."""
    if settings.staging_url is None or is_object_store(settings.staging_url):
        return settings.home / "staging"
    return Path(unquote(urlsplit(settings.staging_url).path))


def is_object_store(url: str) -> bool:
    return urlsplit(url).scheme == "s3"


def _opened(path: Path) -> pa.NativeFile:
    try:
        return pa.memory_map(str(path))
    except FileNotFoundError as err:
        raise MissingMicroBatchError(f"{path}: no such micro-batch. Was it moved or deleted by hand?") from err
    except (pa.ArrowException, OSError) as err:
        raise damaged(str(path), str(err)) from err
