"""The micro-batch file: Arrow IPC, so that any Arrow tool reads it; a crc a record batch, since Arrow notices no damage."""

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

FORMAT_VERSION = "1"

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
