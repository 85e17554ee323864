"""When the connection came and went, and why: told by the collector's thread, written down by the witness's.

Bounded, while the database is down too: the oldest events give way. A failure that repeats the last event is no news.
"""

import os
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sensor_platform.errors import SensorPlatformError

#: Events in memory, and rows of one collector in the database.
MOST = 1000


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """A row of `collector_connection`, but for the collector."""

    at: datetime
    event: str
    kind: str | None
    reason: str | None
    broker: str
    protocol: str
    session_present: bool | None
    pid: int


class ConnectionHistory:
    """Events that are not in the database yet. One thread adds, one other takes."""

    def __init__(self, *, most: int = MOST) -> None:
        self._waiting: deque[ConnectionEvent] = deque(maxlen=most)
        self._last: ConnectionEvent | None = None

    def connected(self, *, broker: str, protocol: str, session_present: bool) -> None:
        self._add(("connected", None, None), broker=broker, protocol=protocol, session_present=session_present)

    def ended(self, err: SensorPlatformError, *, broker: str, protocol: str) -> None:
        """A connection was lost, or none was made."""
        event = "lost" if self._is_connected else "failed"
        told = (event, err.kind, str(err))
        if self._last is None or (self._last.event, self._last.kind, self._last.reason) != told:
            self._add(told, broker=broker, protocol=protocol)

    def closed(self, kind: str, reason: str, *, broker: str, protocol: str) -> None:
        """We disconnected, in order."""
        if self._is_connected:
            self._add(("closed", kind, reason), broker=broker, protocol=protocol)

    def waiting(self) -> tuple[ConnectionEvent, ...]:
        """What is to be written, the oldest first; `written` takes it away."""
        return tuple(self._waiting)

    def written(self, events: Iterable[ConnectionEvent]) -> None:
        for event in events:
            if self._waiting and self._waiting[0] is event:  # otherwise it has given way meanwhile
                self._waiting.popleft()

    @property
    def _is_connected(self) -> bool:
        return self._last is not None and self._last.event == "connected"

    def _add(
        self,
        what: tuple[str, str | None, str | None],
        *,
        broker: str,
        protocol: str,
        session_present: bool | None = None,
    ) -> None:
        self._last = ConnectionEvent(datetime.now(UTC), *what, broker, protocol, session_present, os.getpid())
        self._waiting.append(self._last)
