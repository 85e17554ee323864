"""What a collector says of itself: frozen snapshots, made by its one thread and read by any other."""

import os
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sensor_platform.errors import SensorPlatformError
from sensor_platform.mqtt.findings import Finding
from sensor_platform.mqtt.states import State, step
from sensor_platform.staging.uploader import Backlog


@dataclass(frozen=True, slots=True)
class CollectorHealth:
    """The columns of `collector_heartbeat`, but for `beat_at`. Counts are of this process."""

    collector: str
    incarnation: str
    client_id: str
    host: str
    pid: int
    state: State
    connected: bool
    since: datetime
    last_packet_at: datetime | None
    last_commit_at: datetime | None
    messages: int
    payload_bytes: int
    redelivered: int
    qos0: int
    open_messages: int
    connections: int
    error: str | None
    upload_waiting: int
    upload_waiting_since: datetime | None
    upload_error: str | None
    error_kind: str | None
    broker: dict[str, Any] | None
    warnings: tuple[Finding, ...]


class Figures:
    """The figures behind the snapshots; the collector's thread alone changes them."""

    def __init__(self, collector: str, client_id: str) -> None:
        self.collector = collector
        self.client_id = client_id
        self.host = socket.gethostname()
        self.pid = os.getpid()
        self.incarnation = ""
        self.state = State.CONNECTING
        self.since = datetime.now(UTC)
        self.connected = False
        self.error: str | None = None
        self.uploads = Backlog()
        self.error_kind: str | None = None
        self.broker: dict[str, Any] | None = None  # never changed, only replaced
        self.warnings: tuple[Finding, ...] = ()
        self.clock: Finding | None = None
        self.last_packet_s: float | None = None  # wall clock, seconds: a float a read, not a datetime
        self.last_commit_s: float | None = None
        self.messages = 0
        self.payload_bytes = 0
        self.redelivered = 0
        self.qos0 = 0
        self.open_messages = 0
        self.connections = 0

    def go(self, state: State) -> bool:
        """Takes a step; whether it was one."""
        if state == self.state:
            return False
        self.state = step(self.state, state)
        self.since = datetime.now(UTC)
        return True

    def trouble(self, err: SensorPlatformError | None) -> bool:
        """What stands in the way now, or None; whether that is news."""
        before, self.error = self.error, str(err) if err else None
        self.error_kind = err.kind if err else None
        return self.error != before

    def packet(self) -> None:
        self.last_packet_s = time.time()

    def committed(self, *, messages: int, payload_bytes: int, redelivered: int, qos0: int) -> None:
        """A group is durable: so many messages, of which some repeat others or have no promise."""
        self.last_commit_s = time.time()
        self.messages += messages
        self.payload_bytes += payload_bytes
        self.redelivered += redelivered
        self.qos0 += qos0

    def snapshot(self) -> CollectorHealth:
        """The figures of now, as the heartbeat tells them."""
        return CollectorHealth(
            collector=self.collector,
            incarnation=self.incarnation,
            client_id=self.client_id,
            host=self.host,
            pid=self.pid,
            state=self.state,
            connected=self.connected,
            since=self.since,
            last_packet_at=_at(self.last_packet_s),
            last_commit_at=_at(self.last_commit_s),
            messages=self.messages,
            payload_bytes=self.payload_bytes,
            redelivered=self.redelivered,
            qos0=self.qos0,
            open_messages=self.open_messages,
            connections=self.connections,
            error=self.error,
            upload_waiting=self.uploads.files,
            upload_waiting_since=self.uploads.since,
            upload_error=self.uploads.error,
            error_kind=self.error_kind,
            broker=self.broker,
            warnings=self.warnings if self.clock is None else (*self.warnings, self.clock),
        )


def _at(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
