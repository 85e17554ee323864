"""The micro-batch file: Arrow IPC, so that any Arrow tool reads it; a crc a batch, since Arrow notices no damage.

A *group* is what one read of the collector brought: one record batch, one fdatasync.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from sensor_platform.staging.columns import binaries, booleans, maps, numbers, optional_numbers

FORMAT_VERSION = "1"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_US = 3_600_000_000

#: One row a message, as received. `topic` is bytes: its UTF-8 is judged in the pipeline.
SCHEMA = pa.schema(
    [
        pa.field("sequence", pa.int64(), nullable=False),
        pa.field("received_at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("topic", pa.binary(), nullable=False),
        pa.field("payload", pa.binary(), nullable=False),
        pa.field("qos", pa.uint8(), nullable=False),
        pa.field("retain", pa.bool_(), nullable=False),
        pa.field("dup", pa.bool_(), nullable=False),
        pa.field("packet_id", pa.uint16()),  # null at QoS 0
        pa.field("connection", pa.int64(), nullable=False),
        pa.field("redelivery_of", pa.int64()),  # sequence of the message that this one repeats
        pa.field("content_type", pa.string()),
        pa.field("user_properties", pa.map_(pa.string(), pa.string())),
    ]
)


@dataclass(frozen=True, slots=True, order=True)
class MicroBatch:
    """A sealed micro-batch: its name (unique for ever) and the UTC hour in which its first message was received."""

    hour: datetime
    name: str


UserProperties = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Group:
    """Messages as columns, in received order. `packet_ids` has 0 at QoS 0: MQTT has no such id."""

    first_bytes: bytes  # of each PUBLISH: QoS, RETAIN and DUP in one
    topics: Sequence[bytes]
    payloads: Sequence[bytes]
    packet_ids: Sequence[int]
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
    ids = np.array(group.packet_ids, np.uint16)
    columns = [
        numbers(np.arange(first_sequence, first_sequence + n, dtype=np.int64), pa.int64()),
        numbers(np.arange(received_at_us, received_at_us + n, dtype=np.int64), SCHEMA.field("received_at").type),
        binaries(group.topics, pa.binary()),
        binaries(group.payloads, pa.binary()),
        numbers((flags >> 1) & 3, pa.uint8()),
        booleans((flags & 1) != 0),
        booleans((flags & 8) != 0),
        numbers(ids, pa.uint16(), valid=ids != 0),
        numbers(np.full(n, group.connection, np.int64), pa.int64()),
        _redelivery_of(group.redelivery_of, n),
        _content_types(group.content_types, n),
        _user_properties(group.user_properties, n),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _redelivery_of(values: Sequence[int | None] | None, n: int) -> pa.Array:
    return optional_numbers(values, pa.int64(), np.int64) if values else pa.nulls(n, pa.int64())


def _content_types(values: Mapping[int, str] | None, n: int) -> pa.Array:
    if not values:
        return pa.nulls(n, pa.string())
    return binaries([values[i].encode() if i in values else None for i in range(n)], pa.string())


def _user_properties(values: Mapping[int, UserProperties] | None, n: int) -> pa.Array:
    kind = SCHEMA.field("user_properties").type
    return maps([values.get(i) for i in range(n)], kind) if values else pa.nulls(n, kind)


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
