"""The micro-batch file: Arrow IPC, so that any Arrow tool reads it; a crc a batch, since Arrow notices no damage.

A *group* is what one read of the collector brought: one record batch, one fdatasync.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

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
    no_id = ids == 0
    columns = [
        pa.array(np.arange(first_sequence, first_sequence + n)),
        pa.array(np.arange(received_at_us, received_at_us + n)).cast(SCHEMA.field("received_at").type),
        pa.array(group.topics, pa.binary()),
        pa.array(group.payloads, pa.binary()),
        pa.array((flags >> 1) & 3),
        pa.array((flags & 1).astype(bool)),
        pa.array((flags & 8).astype(bool)),
        pa.array(ids, mask=no_id) if no_id.any() else pa.array(ids),
        pa.array(np.full(n, group.connection, np.int64)),
        pa.nulls(n, pa.int64()) if group.redelivery_of is None else pa.array(group.redelivery_of, pa.int64()),
        _sparse(group.content_types, n, "content_type"),
        _sparse(group.user_properties, n, "user_properties"),
    ]
    return pa.record_batch(columns, schema=SCHEMA)


def _sparse(values: Mapping[int, object] | None, n: int, name: str) -> pa.Array:
    kind = SCHEMA.field(name).type
    return pa.array([values.get(i) for i in range(n)], kind) if values else pa.nulls(n, kind)


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
