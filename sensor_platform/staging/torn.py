"""Reading a file that was never sealed, as a stream from byte 8: every record batch whose crc is right, and no other.

After a place that is not right the search goes on for the next whole batch: a flipped bit in the middle must not cost
the acknowledged messages behind it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from sensor_platform.staging.format import SCHEMA, first_sequence, is_whole, last_sequence

MAGIC_LENGTH = 8  # "ARROW1" and two bytes of padding
CONTINUATION = b"\xff\xff\xff\xff"  # before each message of an Arrow stream, at a multiple of 8
GREATEST_HEADER = 65536


class StampedBatch(NamedTuple):
    """A record batch that was proved whole, with what its metadata says."""

    batch: pa.RecordBatch
    new_session: bool


@dataclass(frozen=True, slots=True)
class TornFile:
    """What can be read of a file that was not sealed. `damaged`: a whole batch stands behind a broken place."""

    path: Path
    batches: list[StampedBatch]
    damaged: bool

    @property
    def name(self) -> str:
        return self.path.stem


def read_torn(path: Path) -> TornFile:
    """Every whole record batch of an open file, in order."""
    batches: list[StampedBatch] = []
    damaged = False
    for stamped, after_broken_place in _whole_batches(path.read_bytes()):
        batches.append(stamped)
        damaged = damaged or after_broken_place
    return TornFile(path, batches, damaged)


def count_rows(path: Path) -> int:
    """Messages in a file that another process may be writing; 0 when it is gone or sealed already."""
    total = 0
    try:
        if path.stat().st_nlink > 1:
            return 0
        with pa.memory_map(str(path)) as source:
            source.seek(MAGIC_LENGTH)
            for batch in pa.ipc.open_stream(source):
                total += batch.num_rows
    except (OSError, pa.ArrowException):
        return total  # the end of what is written so far
    return total


def _whole_batches(data: bytes) -> Iterator[tuple[StampedBatch, bool]]:
    schema_message = SCHEMA.serialize().to_pybytes()
    position: int | None = MAGIC_LENGTH
    broken, newest = False, -1
    while position is not None:
        end = _message_end(data, position)
        if end is not None and position == MAGIC_LENGTH:  # the schema, which we know
            position = end
            continue
        stamped = None if end is None else _stamped(schema_message + data[position:end])
        # Sequences only go up: a payload that is itself a piece of a micro-batch is not taken for one.
        if end is None or stamped is None or first_sequence(stamped.batch) <= newest:
            broken, position = True, _next_message(data, position + 8)
            continue
        yield stamped, broken
        newest, position = last_sequence(stamped.batch), end


def _message_end(data: bytes, position: int) -> int | None:
    """Where the message that starts there ends; None when there is none, or not all of it."""
    header = int.from_bytes(data[position + 4 : position + 8], "little", signed=True)
    if data[position : position + 4] != CONTINUATION or not 0 < header <= GREATEST_HEADER:
        return None
    source = pa.BufferReader(pa.py_buffer(memoryview(data)[position:]))
    try:
        pa.ipc.read_message(source)
    except (pa.ArrowException, OSError, EOFError):
        return None
    return position + int(source.tell())


def _stamped(stream: bytes) -> StampedBatch | None:
    try:
        got = pa.ipc.open_stream(stream).read_next_batch_with_custom_metadata()
        got.batch.validate(full=True)
        whole = is_whole(got.batch, got.custom_metadata)
    except (pa.ArrowException, OSError, StopIteration):
        return None
    return StampedBatch(got.batch, b"new_session" in (got.custom_metadata or {})) if whole else None


def _next_message(data: bytes, start: int) -> int | None:
    found = data.find(CONTINUATION, start)
    while found != -1 and found % 8:
        found = data.find(CONTINUATION, found + 1)
    return None if found == -1 else found
