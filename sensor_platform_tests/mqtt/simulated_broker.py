"""A broker's side of a QoS 1 session, exact and without a network: what is in flight, which ids, what comes again.

And a collector's side whose disk and acknowledgements can be cut at any point. Each message has a number that neither
side sees, so that what was lost or doubled is known however equal the payloads are.
"""

from collections import deque
from dataclasses import dataclass, field

import pyarrow as pa

from sensor_platform.mqtt.redelivery import RedeliveryWindow
from sensor_platform.staging.format import Group, to_batch

TOPIC = b"factory/press/sensors/force/data"


@dataclass(frozen=True)
class Sent:
    """One PUBLISH on the wire."""

    packet_id: int
    message: int
    dup: bool


@dataclass
class SimulatedBroker:
    """`counts_up`: packet ids go round, as with mosquitto; otherwise the lowest free one, as with HiveMQ CE.

    `pours_out`: at a reconnect everything that waits is sent at once, beyond the window and with ids that are in flight
    already, as mosquitto 2.0.11 does.
    """

    ids: int
    window: int
    counts_up: bool
    pours_out: bool = False
    queue: deque[int] = field(default_factory=deque)
    in_flight: list[tuple[int, int]] = field(default_factory=list)  # packet id, message, in the order of sending
    wire: deque[Sent] = field(default_factory=deque)
    published: int = 0
    dropped: set[int] = field(default_factory=set)
    has_session: bool = False
    _last_id: int = 0

    def publish(self, count: int) -> None:
        self.queue.extend(range(self.published, self.published + count))
        self.published += count

    def connect(self) -> bool:
        """Whether there was a session. Everything in flight is sent again, in order, with DUP."""
        present, self.has_session = self.has_session, True
        self.wire = deque(Sent(packet_id, message, dup=True) for packet_id, message in self.in_flight)
        while self.pours_out and self.queue:
            self._last_id = self._last_id % self.ids + 1
            self._send(self._last_id)
        return present

    def lose_session(self) -> None:
        self.dropped |= {*self.queue, *(message for _, message in self.in_flight)}
        self.queue.clear()
        self.in_flight.clear()
        self.wire.clear()
        self.has_session, self._last_id = False, 0

    def send(self) -> None:
        while self.queue and len(self.in_flight) < self.window:
            self._send(self._free_id())

    def _send(self, packet_id: int) -> None:
        message = self.queue.popleft()
        self.in_flight.append((packet_id, message))
        self.wire.append(Sent(packet_id, message, dup=False))

    def acknowledged(self, packet_ids: list[int]) -> None:
        """Each ends the oldest message of that id."""
        for packet_id in packet_ids:
            place = next((n for n, (each, _) in enumerate(self.in_flight) if each == packet_id), None)
            if place is not None:
                del self.in_flight[place]

    def _free_id(self) -> int:
        start = self._last_id if self.counts_up else 0
        candidates = ((start + step) % self.ids + 1 for step in range(self.ids))
        self._last_id = next(each for each in candidates if each not in dict(self.in_flight))
        return self._last_id


@dataclass
class SimulatedCollector:
    """Stages what the wire brings, with the real redelivery window; `disk` is what a crash leaves."""

    broker: SimulatedBroker
    constant_payload: bool
    disk: list[tuple[pa.RecordBatch, list[int], bool]] = field(default_factory=list)  # batch, messages, new session
    connection: int = 0

    def __post_init__(self) -> None:
        self.window = RedeliveryWindow(reuse_distance=self.broker.ids // 2)
        self._sealed = self.window.snapshot()
        self._sealed_batches = 0
        self._new_session = False
        self.reconnect()

    def reconnect(self) -> None:
        present = self.broker.connect()
        self.connection = self.window.connected()
        if not present:
            self.seal()
            self.window.forget()
            self._sealed = self.window.snapshot()
            self._new_session = True

    def seal(self) -> None:
        self._sealed, self._sealed_batches = self.window.snapshot(), len(self.disk)

    def restart(self) -> None:
        """A new process: snapshot, then the groups staged since."""
        self.window = RedeliveryWindow(reuse_distance=self.broker.ids // 2)
        self.window.restore(self._sealed)
        for batch, _, new_session in self.disk[self._sealed_batches :]:
            self.window.replay(batch, new_session=new_session)
        self.reconnect()

    def read(self, count: int, *, reaches_disk: bool = True, acknowledged: int | None = None) -> None:
        """One group. `acknowledged`: how many PUBACKs reach the broker before all ends; None: all, and it goes on."""
        sent = [self.broker.wire.popleft() for _ in range(min(count, len(self.broker.wire)))]
        if sent and reaches_disk:
            self._stage(sent)
        if acknowledged is None and reaches_disk:
            self.broker.acknowledged([each.packet_id for each in sent])
            return
        if reaches_disk:
            self.broker.acknowledged([each.packet_id for each in sent][:acknowledged])
        self.restart()

    def _stage(self, sent: list[Sent]) -> None:
        first = sum(batch.num_rows for batch, _, _ in self.disk)
        group = Group(
            first_bytes=bytes(0x3A if each.dup else 0x32 for each in sent),
            topics=[TOPIC] * len(sent),
            payloads=[b"ON" if self.constant_payload else b"%d" % each.message for each in sent],
            packet_ids=[each.packet_id for each in sent],
            connection=self.connection,
        )
        repeats = self.window.mark(group, first_sequence=first)
        marked = Group(**{name: getattr(group, name) for name in group.__slots__} | {"redelivery_of": repeats})
        batch = to_batch(marked, first_sequence=first, received_at_us=first)
        self.disk.append((batch, [each.message for each in sent], self._new_session))
        self._new_session = False

    def kept(self) -> list[int]:
        """The messages of the rows that count: those that repeat no other."""
        return [
            message
            for batch, messages, _ in self.disk
            for message, original in zip(messages, batch.column("redelivery_of").to_pylist(), strict=True)
            if original is None
        ]
