"""What passes between a broker and a collector: each PUBLISH delivered and each PUBACK sent, in their order.

What was acknowledged on the wire is the collector's promise, whatever the broker remembers.
"""

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sensor_platform_tests.faults.proxy import Direction

CONNECT, CONNACK, PUBLISH, PUBACK = 1, 2, 3, 4
DUP = 0x08
QOS_BITS = 0x06


@dataclass(frozen=True, slots=True)
class Delivery:
    """One PUBLISH on its way to the collector."""

    packet_id: int
    dup: bool
    payload: bytes


@dataclass
class Wire:
    """One connection. `strangers`: acknowledged packet ids that this very connection did not bring."""

    version: int = 0
    accepted: bool = False
    session_present: bool = False
    delivered: list[Delivery] = field(default_factory=list)
    acknowledged: list[bytes] = field(default_factory=list)
    strangers: list[int] = field(default_factory=list)
    # Oldest first: behind a long backlog mosquitto has an id in flight twice, once around all 65,535 of them.
    _unacknowledged: dict[int, deque[bytes]] = field(default_factory=lambda: defaultdict(deque))
    _rest: dict[Direction, bytes] = field(default_factory=lambda: dict.fromkeys(Direction, b""))

    def __call__(self, direction: Direction, data: bytes) -> None:
        """Bytes that pass, cut anywhere."""
        data, at = self._rest[direction] + data, 0
        while (found := _frame(data, at)) is not None:
            first, body, at = found
            self._frame(direction, first, body)
        self._rest[direction] = data[at:]

    def _frame(self, direction: Direction, first: int, body: bytes) -> None:
        match direction, first >> 4:
            case Direction.TO_BROKER, 1:
                self.version = body[6]
            case Direction.TO_CLIENT, 2:
                self.accepted, self.session_present = body[1] == 0, bool(body[0] & 1)
            case Direction.TO_CLIENT, 3 if first & QOS_BITS:
                self._deliver(first, body)
            case Direction.TO_BROKER, 4:
                self._acknowledge(int.from_bytes(body[:2], "big"))

    def _deliver(self, first: int, body: bytes) -> None:
        at = 2 + int.from_bytes(body[:2], "big")
        packet_id, at = int.from_bytes(body[at : at + 2], "big"), at + 2
        if self.version == 5:
            length, at = _length(body, at) or (0, at)
            at += length
        self._unacknowledged[packet_id].append(body[at:])
        self.delivered.append(Delivery(packet_id, bool(first & DUP), body[at:]))

    def _acknowledge(self, packet_id: int) -> None:
        if self._unacknowledged[packet_id]:
            self.acknowledged.append(self._unacknowledged[packet_id].popleft())
        else:
            self.strangers.append(packet_id)


class Tap:
    """The observer of a proxy: one `Wire` a connection."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []

    def opened(self) -> Callable[[Direction, bytes], None]:
        self.wires.append(Wire())
        return self.wires[-1]

    @property
    def connections(self) -> list[Wire]:
        """Those that the broker accepted, oldest first."""
        return [wire for wire in self.wires if wire.accepted]

    @property
    def delivered(self) -> list[Delivery]:
        return [each for wire in self.wires for each in wire.delivered]

    @property
    def acknowledged(self) -> list[bytes]:
        return [each for wire in self.wires for each in wire.acknowledged]


def _frame(data: bytes, at: int) -> tuple[int, bytes, int] | None:
    """First byte, body and end of the packet that starts there; None when it is not all there."""
    length = _length(data, at + 1)
    if length is None or length[1] + length[0] > len(data):
        return None
    size, start = length
    return data[at], data[start : start + size], start + size


def _length(data: bytes, at: int) -> tuple[int, int] | None:
    """A variable byte integer and where it ends."""
    value = 0
    for place, byte in enumerate(data[at : at + 4]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    return None
