"""The micro-batch file: Arrow IPC, so that any Arrow tool reads it; a crc a batch, since Arrow notices no damage.

A *group* is what one read of the collector brought: one record batch, one fdatasync.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sensor_platform.staging.columns import (
    binaries,
    booleans,
    falses,
    maps,
    numbers,
    optional_binaries,
    optional_numbers,
)

FORMAT_VERSION = "1"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_US = 3_600_000_000
RETAIN, DUP = 0x01, 0x08
WITHOUT_FLAGS = bytes(first for first in range(256) if not first & (RETAIN | DUP))

#: Made once: pyarrow takes microseconds for each, and a group has little more.
INT64, UINT8, UINT16, BOOL = pa.int64(), pa.uint8(), pa.uint16(), pa.bool_()
BINARY, STRING = pa.binary(), pa.string()
RECEIVED_AT = pa.timestamp("us", "UTC")
USER_PROPERTIES = pa.map_(STRING, STRING)

#: One row a message, as received. `topic` is bytes: its UTF-8 is judged in the pipeline.
SCHEMA = pa.schema(
    [
        pa.field("sequence", INT64, nullable=False),
        pa.field("received_at", RECEIVED_AT, nullable=False),
        pa.field("topic", BINARY, nullable=False),
        pa.field("payload", BINARY, nullable=False),
        pa.field("qos", UINT8, nullable=False),
        pa.field("retain", BOOL, nullable=False),
        pa.field("dup", BOOL, nullable=False),
        pa.field("packet_id", UINT16),  # null at QoS 0
        pa.field("connection", INT64, nullable=False),
        pa.field("redelivery_of", INT64),  # sequence of the message that this one repeats
        pa.field("content_type", STRING),
        pa.field("user_properties", USER_PROPERTIES),
    ]
)


@dataclass(frozen=True, slots=True, order=True)
class MicroBatch:
    """A sealed micro-batch: its name (unique for ever) and the UTC hour in which its first message was received."""

    hour: datetime
    name: str


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One file of the staging area: a sealed micro-batch, or, `compacted`, several of one hour.

    `waits`: it is on this machine's disk, and still to be uploaded.
    """

    hour: datetime
    name: str  # without folder and suffix
    micro_batches: tuple[MicroBatch, ...]
    size_bytes: int
    compacted: bool = False
    waits: bool = False


UserProperties = Sequence[tuple[str, str]]
UInt16s = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Group:
    """Messages as columns, in received order. `packet_ids` has 0 at QoS 0: MQTT has no such id."""

    first_bytes: bytes  # of each PUBLISH: QoS, RETAIN and DUP in one
    topics: Sequence[bytes]
    payloads: Sequence[bytes]
    packet_ids: Sequence[int] | UInt16s
    connection: int
    redelivery_of: Sequence[int | None] | None = None  # None: none of them
    content_types: Mapping[int, str] | None = None  # by place; most messages have none
    user_properties: Mapping[int, UserProperties] | None = None
    new_session: bool = False  # the broker had no session: packet ids before this group mean nothing any more

    def __len__(self) -> int:
        return len(self.payloads)


def to_batch(group: Group, *, first_sequence: int, received_at_us: int) -> pa.RecordBatch:
    """The record batch of a group. `received_at` goes up by 1 us a message, so that it is strictly increasing."""
    n = len(group)
    flags = np.frombuffer(group.first_bytes, np.uint8)
    has_flags = group.first_bytes.translate(None, WITHOUT_FLAGS)
    columns = [
        numbers(np.arange(first_sequence, first_sequence + n, dtype=np.int64), INT64),
        numbers(np.arange(received_at_us, received_at_us + n, dtype=np.int64), RECEIVED_AT),
        binaries(group.topics, BINARY),
        binaries(group.payloads, BINARY),
        numbers((flags >> 1) & 3, UINT8),
        booleans(flags & RETAIN) if has_flags else falses(n),
        booleans(flags & DUP) if has_flags else falses(n),
        _packet_ids(np.asarray(group.packet_ids, np.uint16)),
        numbers(np.full(n, group.connection, np.int64), INT64),
        optional_numbers(group.redelivery_of, INT64, np.int64) if group.redelivery_of else pa.nulls(n, INT64),
        _content_types(group.content_types, n) if group.content_types else pa.nulls(n, STRING),
        _user_properties(group.user_properties, n) if group.user_properties else pa.nulls(n, USER_PROPERTIES),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _packet_ids(ids: UInt16s) -> pa.Array:
    return numbers(ids, UINT16, valid=None if np.count_nonzero(ids) == len(ids) else ids != 0)


def _content_types(values: Mapping[int, str], n: int) -> pa.Array:
    return optional_binaries([values[i].encode() if i in values else None for i in range(n)], STRING)


def _user_properties(values: Mapping[int, UserProperties], n: int) -> pa.Array:
    return maps([values.get(i) for i in range(n)], USER_PROPERTIES)


def stamp(batch: pa.RecordBatch, *, new_session: bool) -> dict[str, str]:
    """What a record batch carries in its metadata: proof of its bytes, its row count and its first sequence."""
    stamped = {
        "crc": str(zlib.crc32(batch.serialize())),
        "rows": str(batch.num_rows),
        "first_sequence": str(first_sequence(batch)),
    }
    return {**stamped, "new_session": "1"} if new_session else stamped


def is_whole(batch: pa.RecordBatch, metadata: Mapping[bytes, bytes] | None) -> bool:
    """Whether the batch is what was written."""
    if not metadata or not batch.num_rows:
        return False
    rows, crc = metadata.get(b"rows"), metadata.get(b"crc")
    return rows == str(batch.num_rows).encode() and crc == str(zlib.crc32(batch.serialize())).encode()


def first_sequence(batch: pa.RecordBatch) -> int:
    return int(batch.column("sequence")[0].as_py())


def last_sequence(batch: pa.RecordBatch) -> int:
    return int(batch.column("sequence")[batch.num_rows - 1].as_py())


def received_us(batch: pa.RecordBatch, row: int) -> int:
    return int(batch.column("received_at")[row].value)


def hour_of(received_at_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=received_at_us - received_at_us % HOUR_US)


def file_name(collector: str, incarnation: str, number: int) -> str:
    return f"{collector}-{incarnation}-{number:08d}"


def number_of(name: str) -> int:
    return int(name.rpartition("-")[2])


def folder_of(hour: datetime) -> str:
    """The hive folder of a received hour, below the staging area."""
    return f"dt={hour:%Y-%m-%d}/hour={hour:%H}"
