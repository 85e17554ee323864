"""The compacted files of a staging area, on whichever disk or store: which micro-batches they have, and each by itself.

A micro-batch moves one way, from a file of its own into a compacted one, and is in both for a while. So who looks for
one looks for its own file first, and here after that: then it is found exactly once, whatever moves meanwhile.

A compacted file that is damaged is listed under its own name, as a micro-batch that is damaged: it holds nothing else
up, and whoever would read its micro-batches is told which file to restore.
"""

import secrets
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import pyarrow as pa

from sensor_platform.errors import DamagedMicroBatchError, MissingMicroBatchError
from sensor_platform.staging.compacted import CompactedFile, Entry, Index
from sensor_platform.staging.format import MicroBatch, folder_of

#: Below the root of the staging area; Arrow datasets skip names that begin with "_".
COMPACTED_FOLDER = "_compacted"
COMPACTED_SUFFIX = ".parquet"
#: An index has some hundred KB where micro-batches are small.
REMEMBERED_INDEXES = 32

Hours = tuple[datetime | None, datetime | None]


@dataclass(frozen=True, slots=True, order=True)
class CompactedName:
    """A compacted file: of which hour, and its name, which is unique for ever and ends with a crc."""

    hour: datetime
    name: str

    @property
    def crc(self) -> int:
        """Of its footer; -1, which none has, where the name was made by somebody else."""
        _, _, crc = self.name.rpartition("-")
        try:
            return int(crc, 16)
        except ValueError:
            return -1

    @property
    def key(self) -> str:
        """Its path below the root of the staging area."""
        return f"{COMPACTED_FOLDER}/{folder_of(self.hour)}/{self.name}{COMPACTED_SUFFIX}"


class CompactedArea:
    """Reads compacted files. `listed` gives those of some hours, `opened` one of them, or None when it is gone."""

    def __init__(
        self,
        where: str,
        listed: Callable[[Hours], Iterable[CompactedName]],
        opened: Callable[[CompactedName], pa.NativeFile | None],
    ) -> None:
        self._where = where
        self._listed = listed
        self._opened = opened
        self._index = lru_cache(maxsize=REMEMBERED_INDEXES)(self._read_index)  # a file never changes
        #: The row group that was read last: a backfill asks for its micro-batches one after the other.
        self._last: tuple[CompactedName, int, pa.Table] | None = None

    def micro_batches(
        self, start: datetime | None, end: datetime | None, *, but: Container[CompactedName] = ()
    ) -> set[MicroBatch]:
        """Those of every file that is not among `but`: each file is opened for it."""
        files = (file for file in self._listed((start, end)) if file not in but)
        return {MicroBatch(file.hour, name) for file in files for name in self.names(file)}

    def find(self, name: str) -> MicroBatch | None:
        """Looks into every file."""
        found = (MicroBatch(file.hour, name) for file in self._listed((None, None)) if name in self.names(file))
        return next(found, None)

    def entry(self, micro_batch: MicroBatch) -> Entry | None:
        """What is said of the micro-batch; None when no file has it."""
        return next((entry for _, entry in self._entries(micro_batch)), None)

    def read(self, micro_batch: MicroBatch) -> pa.Table | None:
        """Its messages; None when no file has it. Raises DamagedMicroBatchError."""
        for file, entry in self._entries(micro_batch):
            group = self._row_group(file, entry.row_group)
            if group is not None:
                return group.slice(entry.offset, entry.rows)
        return None

    def names(self, file: CompactedName) -> list[str]:
        """The micro-batches of a file; its own name where it is damaged."""
        try:
            return list(self.entries(file))
        except DamagedMicroBatchError:
            return [file.name]

    def entries(self, file: CompactedName) -> dict[str, Entry]:
        """The micro-batches of a file; none when it is gone. Raises DamagedMicroBatchError."""
        try:
            return self._index(file).entries
        except MissingMicroBatchError:
            return {}

    def _entries(self, micro_batch: MicroBatch) -> Iterator[tuple[CompactedName, Entry]]:
        """Raises DamagedMicroBatchError where no file has it, and one is damaged."""
        hour = micro_batch.hour
        damaged: DamagedMicroBatchError | None = None
        found = False
        for file in self._listed((hour, next_hour(hour))):
            try:
                entry = self.entries(file).get(micro_batch.name)
            except DamagedMicroBatchError as err:
                damaged = err
                continue
            if entry is not None:
                found = True
                yield file, entry
        if damaged is not None and not found:
            raise damaged

    def _read_index(self, file: CompactedName) -> Index:
        opened = self._open(file)
        if opened is None:
            raise MissingMicroBatchError(f"{self._where}/{file.key} is gone")
        return opened.index

    def _row_group(self, file: CompactedName, place: int) -> pa.Table | None:
        last = self._last
        if last is not None and last[:2] == (file, place):
            return last[2]
        opened = self._open(file)
        if opened is None:
            return None
        group = opened.row_group(place)
        self._last = (file, place, group)
        return group

    def _open(self, file: CompactedName) -> CompactedFile | None:
        source = self._opened(file)
        return None if source is None else CompactedFile(source, f"{self._where}/{file.key}", crc=file.crc)


def new_name(hour: datetime, *, crc: int) -> CompactedName:
    """A name that no file has, for one whose footer has that crc."""
    return CompactedName(hour, f"{secrets.token_hex(4)}-{crc:08x}")


def next_hour(hour: datetime) -> datetime:
    return hour + timedelta(hours=1)
