"""Reading a sealed micro-batch, wherever its bytes are: every record batch held against its crc."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import pyarrow as pa

from sensor_platform.errors import DamagedMicroBatchError
from sensor_platform.staging.format import SCHEMA, folder_of, is_whole


@dataclass(frozen=True, slots=True)
class Sealed:
    """All that a sealed file says: its messages, what it says of itself, and the rows before which a session began."""

    messages: pa.Table  # SCHEMA
    metadata: dict[str, str]
    new_sessions: tuple[int, ...]


def read_messages(source: pa.NativeFile, where: str) -> pa.Table:
    """Every message in received order, with the columns of SCHEMA. Raises DamagedMicroBatchError, naming `where`."""
    return read_sealed(source, where).messages


def read_sealed(source: pa.NativeFile, where: str) -> Sealed:
    """The messages and all metadata that means something. Raises DamagedMicroBatchError, naming `where`."""
    reader = _reader(source, where)
    batches: list[pa.RecordBatch] = []
    new_sessions, rows = [], 0
    for place in range(reader.num_record_batches):
        batch, metadata = _batch(reader, place, where)
        if not is_whole(batch, metadata):
            raise damaged(where, f"record batch {place} does not match its crc")
        if b"new_session" in (metadata or {}):
            new_sessions.append(rows)
        batches.append(batch)
        rows += batch.num_rows
    facts = {name.decode(): value.decode() for name, value in (reader.schema.metadata or {}).items()}
    return Sealed(pa.Table.from_batches(batches, schema=SCHEMA), facts, tuple(new_sessions))


def count_messages(source: pa.NativeFile, where: str) -> int:
    """How many there are, without a look at them. Raises DamagedMicroBatchError, naming `where`."""
    reader = _reader(source, where)
    return sum(_batch(reader, place, where)[0].num_rows for place in range(reader.num_record_batches))


def damaged(where: str, why: str) -> DamagedMicroBatchError:
    return DamagedMicroBatchError(f"{where}: {why}. Restore the file from a copy, or move it away to go on without it.")


@lru_cache(maxsize=1024)
def hour_of_folder(folder: str) -> datetime | None:
    """The hour of `dt=2026-11-23/hour=10`; None for a folder that is not ours."""
    try:
        hour = datetime.fromisoformat(f"{folder[3:13]}T{folder[19:]}+00:00")
    except ValueError:
        return None
    return hour if folder_of(hour) == folder else None


def _reader(source: pa.NativeFile, where: str) -> pa.ipc.RecordBatchFileReader:
    try:
        reader = pa.ipc.open_file(source)
    except (pa.ArrowException, OSError) as err:
        raise damaged(where, str(err)) from err
    if reader.schema.remove_metadata() != SCHEMA:
        raise damaged(where, "its columns are not those of a micro-batch")
    return reader


def _batch(
    reader: pa.ipc.RecordBatchFileReader, place: int, where: str
) -> tuple[pa.RecordBatch, dict[bytes, bytes] | None]:
    try:
        got = reader.get_batch_with_custom_metadata(place)
    except (pa.ArrowException, OSError) as err:
        raise damaged(where, f"record batch {place}: {err}") from err
    return got.batch, got.custom_metadata
