"""Fan-out to live clients, on the event loop. A client that reads slowly loses its oldest readings, and is told so.

Each reading is encoded once, however many clients want it. Nothing here waits: a client's own task empties its queue.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sensor_platform.live.channels import Wish

#: Readings that wait for one client; past it the oldest go.
QUEUE_READINGS = 5_000
#: Readings in one frame at most.
FRAME_READINGS = 500


@dataclass(frozen=True, slots=True)
class LiveReading:
    """A reading on its way to clients: its channel, and itself as JSON."""

    channel: str
    json: bytes


class Subscriber:
    """One client's queue. It belongs to the event loop's thread."""

    def __init__(self, *, queue_readings: int = QUEUE_READINGS) -> None:
        self._wish: Wish | None = None
        self._queue: deque[bytes] = deque(maxlen=queue_readings)
        self._filled = asyncio.Event()
        self._dropped = 0

    def wants(self, filters: list[str]) -> None:
        """Takes the place of what it wanted before. Raises ValueError for what is not a filter."""
        self._wish = Wish(filters)

    def offer(self, readings: Iterable[LiveReading]) -> None:
        """Queues those it wants."""
        if self._wish is None:
            return
        for reading in readings:
            if self._wish.covers(reading.channel):
                self._dropped += len(self._queue) == self._queue.maxlen
                self._queue.append(reading.json)
        if self._queue:
            self._filled.set()

    async def take(self) -> tuple[list[bytes], int]:
        """The oldest readings as soon as there are any, and how many were dropped before them."""
        await self._filled.wait()
        taken = [self._queue.popleft() for _ in range(min(len(self._queue), FRAME_READINGS))]
        if not self._queue:
            self._filled.clear()
        dropped, self._dropped = self._dropped, 0
        return taken, dropped


class Hub:
    """All clients. `on_watched` is called with whether anybody is there, when that changes."""

    def __init__(self, *, on_watched: Callable[[bool], None] = lambda _: None) -> None:
        self.on_watched = on_watched
        self._subscribers: set[Subscriber] = set()

    def __len__(self) -> int:
        return len(self._subscribers)

    @contextmanager
    def subscriber(self, *, queue_readings: int = QUEUE_READINGS) -> Iterator[Subscriber]:
        """A client, for as long as the block lasts; `queue_readings` may wait for it."""
        subscriber = Subscriber(queue_readings=queue_readings)
        self._subscribers.add(subscriber)
        if len(self) == 1:
            self.on_watched(True)
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)
            if not self._subscribers:
                self.on_watched(False)

    def publish(self, readings: list[LiveReading]) -> None:
        for subscriber in self._subscribers:
            subscriber.offer(readings)
