"""The messages of a retry in bounded portions: one is read, decoded and loaded in one transaction.

What a portion costs follows its messages: where earlier messages have a say, all that was said between its first and
its last is read with it, so it reaches over no more than a received hour.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from sensor_platform.dead_letters.neighbours import need_definitions, need_neighbours
from sensor_platform.routes.model import Routes

#: Messages and bytes of payload that one transaction takes.
CHUNK_MESSAGES = 1000
CHUNK_BYTES = 32 * 1024 * 1024

Message = tuple[int, int]  # ledger id, sequence


@dataclass(frozen=True, slots=True)
class Chunk:
    """Messages in received order. `beside`: those that are judged beside their micro-batch, which all are of then."""

    messages: list[Message] = field(default_factory=list)
    beside: list[Message] = field(default_factory=list)

    @property
    def alone(self) -> "Chunk":
        """Those that no neighbour has a say in."""
        beside = set(self.beside)
        return Chunk([message for message in self.messages if message not in beside])


def chunks(messages: Sequence[sa.Row[Any]], routes: Routes) -> Iterator[Chunk]:
    """`messages` (micro_batch, hour, sequence, topic, payload_bytes), in received order throughout: a retried message
    may say what later ones mean."""
    topics = {row.topic for row in messages}
    needing = {topic for topic in topics if need_neighbours(topic, routes)}
    asking = {topic for topic in topics if need_definitions(topic, routes)}
    apart = _Apart(
        {row.micro_batch for row in messages if row.topic in needing},
        {row.hour for row in messages if row.topic in asking},
    )
    chunk, size, last = Chunk(), 0, None
    for row in messages:
        if last is not None and (_is_full(chunk, size + row.payload_bytes) or apart.parts(last, row)):
            yield chunk
            chunk, size = Chunk(), 0
        last = row
        chunk.messages.append((row.micro_batch, row.sequence))
        if row.topic in needing:
            chunk.beside.append((row.micro_batch, row.sequence))
        size += row.payload_bytes
    if chunk.messages:
        yield chunk


def _is_full(chunk: Chunk, size: int) -> bool:
    return len(chunk.messages) >= CHUNK_MESSAGES or size > CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class _Apart:
    """Micro-batches that have messages which are judged beside all of it, and hours that have some which earlier
    messages have a say in."""

    micro_batches: set[int]
    hours: set[datetime]

    def parts(self, one: sa.Row[Any], following: sa.Row[Any]) -> bool:
        """Whether these two cannot be in one chunk."""
        if one.hour != following.hour and not self.hours.isdisjoint((one.hour, following.hour)):
            return True
        both = (one.micro_batch, following.micro_batch)
        return both[0] != both[1] and not self.micro_batches.isdisjoint(both)
