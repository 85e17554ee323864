"""What a read brought: PUBLISH packets as columns, with the bytes of the wire where nobody needs more."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sensor_platform.mqtt.properties import publish_properties

#: The most that is read before it is staged.
READ_BYTES = 256 * 1024
QOS_BITS = 0x06
NO_PACKET_ID = b"\0\0"
PUBACK, PUBREC = 0x40, 0x50
#: By the first byte of a PUBLISH, which packet answers it; 0: none does.
ANSWER = bytes({0x02: PUBACK, 0x04: PUBREC}.get(first & QOS_BITS, 0) for first in range(256))
EMPTY_PUBACK = bytes([PUBACK, 2, 0, 0])


@dataclass(slots=True)
class Arrived:
    """Messages in received order. `packet_ids`: two bytes each, as on the wire; zeros at QoS 0."""

    first_bytes: bytearray = field(default_factory=bytearray)
    topics: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    packet_ids: bytearray = field(default_factory=bytearray)
    content_types: dict[int, str] = field(default_factory=dict)
    user_properties: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    size_bytes: int = 0

    def __len__(self) -> int:
        return len(self.payloads)

    def add_properties(self, section: bytes) -> None:
        """Content type and user properties of the message that is about to be added; the others are not for us."""
        found = publish_properties(section)
        if found.content_type is not None:
            self.content_types[len(self)] = found.content_type
        if found.user_properties:
            self.user_properties[len(self)] = found.user_properties

    @property
    def ids(self) -> npt.NDArray[np.uint16]:
        """The packet ids as numbers; 0 at QoS 0."""
        return np.frombuffer(self.packet_ids, ">u2").astype(np.uint16)

    @property
    def qos0(self) -> int:
        """How many nobody promised to deliver."""
        return self.first_bytes.translate(ANSWER).count(0)

    def answers(self) -> bytes:
        """The acknowledgements of all, in received order: PUBACK, and PUBREC where QoS 2 came."""
        kinds = self.first_bytes.translate(ANSWER)
        frames = bytearray(EMPTY_PUBACK * len(kinds))
        frames[0::4] = kinds
        frames[2::4] = self.packet_ids[0::2]
        frames[3::4] = self.packet_ids[1::2]
        if 0 in kinds:
            return b"".join(frames[4 * i : 4 * i + 4] for i, kind in enumerate(kinds) if kind)
        return bytes(frames)
