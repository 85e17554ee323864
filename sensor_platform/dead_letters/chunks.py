"""The messages of a retry in bounded portions: one is read, decoded and loaded in one transaction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from sensor_platform.dead_letters.neighbours import need_neighbours
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
    """`messages` (micro_batch, sequence, topic, payload_bytes), in received order throughout: a retried message may say
    what later ones mean."""
    needing = {topic for topic in {row.topic for row in messages} if need_neighbours(topic, routes)}
    apart = {row.micro_batch for row in messages if row.topic in needing}
    chunk, size = Chunk(), 0
    for row in messages:
        if chunk.messages and (_is_full(chunk, size + row.payload_bytes) or _parts(chunk, row.micro_batch, apart)):
            yield chunk
            chunk, size = Chunk(), 0
        chunk.messages.append((row.micro_batch, row.sequence))
        if row.topic in needing:
            chunk.beside.append((row.micro_batch, row.sequence))
        size += row.payload_bytes
    if chunk.messages:
        yield chunk


def _is_full(chunk: Chunk, size: int) -> bool:
    return len(chunk.messages) >= CHUNK_MESSAGES or size > CHUNK_BYTES


def _parts(chunk: Chunk, micro_batch: int, apart: set[int]) -> bool:
    """Whether one of two micro-batches has messages that are judged beside all of it."""
    last, _ = chunk.messages[-1]
    return last != micro_batch and (last in apart or micro_batch in apart)
