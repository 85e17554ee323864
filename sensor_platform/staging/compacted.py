"""Many micro-batches of one received hour in one file, each found by its name and read by itself.

Parquet rather than Arrow IPC: it codes counters and times as differences and topics as a dictionary. Any Parquet tool
reads it: the columns are those of a micro-batch, and `micro_batch` before them, so that a message is still
(micro-batch, sequence). The file's metadata has an index of its micro-batches, with what each said of itself.

Parquet has a crc a page, and none of the headers: one flipped bit there read as other values. So the index has a crc of
each row group, and the file's name has the crc of the footer that holds the index.
"""

import base64
import io
import json
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from sensor_platform.staging.durable import write_all
from sensor_platform.staging.format import SCHEMA
from sensor_platform.staging.random_access import RandomAccess
from sensor_platform.staging.read import Sealed, damaged

T = TypeVar("T")

#: Read at once to get one micro-batch: bounds the memory of writing and reading.
ROW_GROUP_MESSAGES, ROW_GROUP_BYTES = 50_000, 32 * 1024 * 1024
#: Then another file is begun: one upload stays short.
GREATEST_FILE_BYTES = 256 * 1024 * 1024
COMPRESSION_LEVEL = 9
PAGE_BYTES = 8 * 1024 * 1024

#: What Parquet reads first, from the end of a file; the magic number and the length of the footer are its last bytes.
TAIL_BYTES, END_BYTES = 65536, 8
MAGIC = b"PAR1"

INDEX = b"sensor_platform.micro_batches"
COMPACTED_SCHEMA = pa.schema([pa.field("micro_batch", pa.string(), nullable=False), *SCHEMA])
_DICTIONARIES = ["micro_batch", "topic", "qos", "connection", "content_type"]
_ENCODINGS = {
    **dict.fromkeys(("sequence", "received_at", "packet_id", "redelivery_of"), "DELTA_BINARY_PACKED"),
    "payload": "DELTA_LENGTH_BYTE_ARRAY",
}


@dataclass(frozen=True, slots=True)
class Original:
    """A micro-batch as it lay in a file of its own."""

    name: str
    sealed: Sealed
    sealed_at_us: int


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a micro-batch stands in a compacted file: `rows` rows of a row group, from `offset` on."""

    name: str
    row_group: int
    offset: int
    rows: int
    sealed_at_us: int
    metadata: dict[str, str]
    new_sessions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RowGroup:
    """The bytes [start, end) of a file, and their crc."""

    start: int
    end: int
    crc: int


@dataclass(frozen=True, slots=True)
class Index:
    """What a compacted file has, in the order in which it stands."""

    entries: dict[str, Entry]
    row_groups: list[RowGroup]


class CompactedWriter:
    """Writes one compacted file; `is_full` says when to begin another. The file is durable after `finish`."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._path = path
        self._entries: list[Entry] = []
        self._group: list[pa.Table] = []
        self._group_rows = self._group_bytes = 0
        self._row_groups: list[RowGroup] = []
        self._file = _Proved(path)
        try:
            self._parquet = pq.ParquetWriter(
                pa.PythonFile(self._file, mode="w"),
                COMPACTED_SCHEMA,
                compression="zstd",
                compression_level=COMPRESSION_LEVEL,
                use_dictionary=_DICTIONARIES,
                column_encoding=_ENCODINGS,
                data_page_size=PAGE_BYTES,
                write_statistics=False,
                write_page_checksum=True,
            )
        except BaseException:
            self._file.close()
            raise

    @property
    def is_full(self) -> bool:
        return self._file.tell() >= GREATEST_FILE_BYTES

    def add(self, original: Original) -> None:
        """Raises OSError: the disk does not take it."""
        messages = original.sealed.messages
        if self._group and (
            self._group_rows + messages.num_rows > ROW_GROUP_MESSAGES
            or self._group_bytes + messages.nbytes > ROW_GROUP_BYTES
        ):
            self._write_group()
        self._entries.append(
            Entry(
                original.name,
                len(self._row_groups),
                self._group_rows,
                messages.num_rows,
                original.sealed_at_us,
                original.sealed.metadata,
                original.sealed.new_sessions,
            )
        )
        names = pa.array([original.name] * messages.num_rows, pa.string())
        self._group.append(messages.add_column(0, COMPACTED_SCHEMA.field(0), names))
        self._group_rows += messages.num_rows
        self._group_bytes += messages.nbytes

    def finish(self) -> None:
        """Index, footer, fsync. Raises OSError."""
        if self._group:
            self._write_group()
        self._parquet.add_key_value_metadata({INDEX.decode(): _packed(self._entries, self._row_groups)})
        self._parquet.close()
        fd = self._file.fileno()
        os.fsync(fd)
        # What is verified next comes from the disk, not from memory.
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        self.close()

    def close(self) -> None:
        """Without `finish` before it, the file is of no use."""
        try:
            self._parquet.close()
        finally:
            self._parquet.is_open = False  # where the disk refused the end: not once more when it is forgotten
            self._file.close()

    def _write_group(self) -> None:
        group = pa.concat_tables(self._group).combine_chunks()
        start, _ = self._file.tell(), self._file.take_crc()
        self._parquet.write_table(group, row_group_size=max(1, group.num_rows))
        self._row_groups.append(RowGroup(start, self._file.tell(), self._file.take_crc()))
        self._group, self._group_rows, self._group_bytes = [], 0, 0


class _Proved(io.FileIO):
    """A file that keeps the crc of what is written to it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "xb")
        self._crc = 0

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]  # pyarrow hands out a buffer
        self._crc = zlib.crc32(view, self._crc)
        write_all(self.fileno(), view)
        return len(view)

    def take_crc(self) -> int:
        """Of what was written since the last call."""
        crc, self._crc = self._crc, 0
        return crc


class CompactedFile:
    """A compacted file that is open for reading. Every method raises DamagedMicroBatchError, naming `where`.

    `crc`: of its footer, as its name has it; None where it has no name yet.
    """

    def __init__(self, source: pa.NativeFile, where: str, *, crc: int | None) -> None:
        self._source, self._where = source, where
        self._size = int(source.size())
        self._tail = self._try(self._read_tail)
        self.crc = zlib.crc32(self._tail[len(self._tail) - self._footer_bytes(self._tail) :])
        if crc not in (None, self.crc):
            raise damaged(where, "its footer does not match the crc in its name")
        self.index = self._try(lambda: _unpacked(self._parquet({}).metadata.metadata[INDEX]))

    def row_group(self, place: int) -> pa.Table:
        """All messages of a row group, with the columns of SCHEMA."""
        return self._try(lambda: self._read_row_group(place))

    def _read_row_group(self, place: int) -> pa.Table:
        group = self.index.row_groups[place]
        data = self._read(group.start, group.end)
        if zlib.crc32(data) != group.crc:
            raise damaged(self._where, f"row group {place} does not match its crc")
        parquet = self._parquet({group.start: data})
        return parquet.read_row_group(place, columns=SCHEMA.names).cast(SCHEMA)

    def _parquet(self, pieces: dict[int, bytes]) -> Any:
        """Reads these pieces of the file, and its tail, and nothing else: only what was proved is decoded."""
        import pyarrow.parquet as pq

        known = {**pieces, self._size - len(self._tail): self._tail}
        return pq.ParquetFile(pa.PythonFile(_Pieces(self._size, known), mode="r"))

    def _read_tail(self) -> bytes:
        tail = self._read(self._size - TAIL_BYTES, self._size)
        missing = self._footer_bytes(tail) - len(tail)
        return tail if missing <= 0 else self._read(self._size - self._footer_bytes(tail), self._size)

    def _footer_bytes(self, tail: bytes) -> int:
        """Of the footer and what stands behind it."""
        length = int.from_bytes(tail[-END_BYTES : -len(MAGIC)], "little") + END_BYTES
        if len(tail) < END_BYTES or not tail.endswith(MAGIC) or length > self._size:
            raise damaged(self._where, "it has no end")
        return length

    def _read(self, start: int, end: int) -> bytes:
        self._source.seek(max(0, start))
        return bytes(self._source.read(end - max(0, start)))

    def _try(self, step: Callable[[], T]) -> T:
        try:
            return step()
        except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, zlib.error) as err:
            raise damaged(self._where, str(err)) from err


class _Pieces(RandomAccess):
    """A file of which only some pieces are known, by where they start."""

    def __init__(self, size_bytes: int, pieces: dict[int, bytes]) -> None:
        super().__init__(size_bytes)
        self._pieces = pieces

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._size_bytes - self._place if size is None or size < 0 else size
        for start, piece in self._pieces.items():
            if start <= self._place <= self._place + wanted <= start + len(piece):
                data = piece[self._place - start : self._place - start + wanted]
                self._place += wanted
                return data
        raise ValueError(f"bytes {self._place} to {self._place + wanted} are of no row group")


def _packed(entries: Sequence[Entry], row_groups: Sequence[RowGroup]) -> str:
    """The index as text."""
    index = {
        "micro_batches": [asdict(entry) for entry in entries],
        "row_groups": [asdict(group) for group in row_groups],
    }
    return base64.b64encode(zlib.compress(json.dumps(index).encode())).decode()


def _unpacked(packed: bytes) -> Index:
    index = json.loads(zlib.decompress(base64.b64decode(packed)))
    entries = [Entry(**{**each, "new_sessions": tuple(each["new_sessions"])}) for each in index["micro_batches"]]
    return Index({entry.name: entry for entry in entries}, [RowGroup(**each) for each in index["row_groups"]])
