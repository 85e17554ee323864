"""One message out of the staging area or from a dead letter, to be looked at or decoded by itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from sensor_platform.errors import MissingMicroBatchError
from sensor_platform.pipeline.decode import one_message
from sensor_platform.staging.store import Staging

#: Micro-batch and sequence.
StagedAt = tuple[str, int]


@dataclass(frozen=True, slots=True)
class OneMessage:
    """What decoding depends on. `topic` is bytes as received: it may not be UTF-8. staged_at: None, if it is not."""

    topic: bytes
    payload: bytes
    received_at: datetime
    retain: bool = False
    staged_at: StagedAt | None = None

    @property
    def topic_text(self) -> str:
        """For people, and for topics that are UTF-8."""
        return self.topic.decode("utf-8", "backslashreplace")

    def table(self) -> pa.Table:
        """A table of this one, with the columns of the staging area."""
        return one_message(self.topic, self.payload, self.received_at, retain=self.retain)


def table_of(messages: Iterable[OneMessage]) -> pa.Table:
    """Messages in received order, with the columns of the staging area."""
    return pa.concat_tables([message.table() for message in messages]).combine_chunks()


def staged_message(staging: Staging, micro_batch: str, sequence: int) -> OneMessage:
    """Message `sequence` of the sealed micro-batch of that name.

    Raises:
        MissingMicroBatchError: no such micro-batch, or it has no such message.
        StagingError: it is damaged, or the object store does not answer.
    """
    found = staging.find(micro_batch)
    if found is None:
        raise MissingMicroBatchError(f"{staging.where}: there is no sealed micro-batch {micro_batch}")
    messages = staging.read(found)
    rows = messages.filter(pc.equal(messages["sequence"], sequence)).to_pylist()
    if not rows:
        first, last = pc.min_max(messages["sequence"]).as_py().values()
        raise MissingMicroBatchError(f"{micro_batch} has no message {sequence}: it holds {first} to {last}")
    row = rows[0]
    at = row["received_at"].astimezone(UTC)
    return OneMessage(row["topic"], row["payload"], at, row["retain"], (micro_batch, sequence))
