"""What a hostile network sends: messages of every legal and illegal shape, and bytes that are no MQTT; from a seed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

ROOT = "fuzz"
QOS_BITS = 0x06
DUP = 0x08


@dataclass(frozen=True, slots=True)
class Message:
    """One well-framed PUBLISH. `properties` is the section with its length, or None on 3.1.1."""

    first: int
    topic: bytes
    payload: bytes
    packet_id: int  # 0 at QoS 0
    properties: bytes | None

    @property
    def qos(self) -> int:
        return (self.first & QOS_BITS) >> 1

    def frame(self, *, again: bool = False) -> bytes:
        """As on the wire; `again`: redelivered."""
        identifier = self.packet_id.to_bytes(2, "big") if self.qos else b""
        body = _sized(self.topic) + identifier + (self.properties or b"") + self.payload
        return framed(self.first | DUP if again else self.first, body)


def framed(first: int, body: bytes) -> bytes:
    """A packet."""
    return bytes([first]) + variable(len(body)) + body


def variable(number: int) -> bytes:
    """A variable byte integer."""
    return bytes([number & 127 | 128]) + variable(number >> 7) if number > 127 else bytes([number])


def messages(random: Random, count: int, *, is_5: bool) -> Iterator[Message]:
    """Packet ids go round, as a broker's do."""
    for number in range(count):
        # QoS 3 is no message; DUP on one that was never sent before is the broker's word against ours.
        first = 0x30 | random.choice((0, 2, 2, 2, 4)) | random.choice((0, 0, 0, 1)) | random.choice((0, 0, 0, DUP))
        packet_id = number % 65535 + 1 if first & QOS_BITS else 0
        properties = _properties(random) if is_5 else None
        yield Message(first, _topic(random), _payload(random, number), packet_id, properties)


def _topic(random: Random) -> bytes:
    odd = random.random()
    if odd < 0.5:
        return f"{ROOT}/press-{random.randrange(5)}/force-{random.randrange(5)}".encode()
    if odd < 0.75:
        return random.choice(ODD_TOPICS)
    if odd < 0.7505:
        return random.choice((b"a", b"\xff", b"/")) * random.choice((65_534, 65_535))
    prefix = random.choice((b"", f"{ROOT}/a/".encode(), f"{ROOT}/".encode()))
    return prefix + random.randbytes(random.randrange(30))


ODD_TOPICS = (
    b"",
    b"/",
    b"//",
    b"+",
    b"#",
    b"fuzz/#",
    b"fuzz/+/force",
    b"fuzz/press",
    b"fuzz//",
    b"fuzz/press/force/more",
    b"$SYS/broker/uptime",
    b"$share/group/fuzz/a/b",
    b"fuzz/a\0b/c",
    b"\0",
    b"fuzz/\xff\xfe/a",
    b"fuzz/\xc3/cut",
    b"fuzz/\xed\xa0\x80/lone",  # a surrogate, encoded
    b"fuzz/\xc0\xaf/overlong",
    b"fuzz/\xf4\x90\x80\x80/above",
    "fuzz/\ufeff/bom".encode(),
    "fuzz/\uffff/noncharacter".encode(),
    "fuzz/\u202eesrever/x".encode(),
    b"fuzz/\x01\x7f\x1b[31m/control",
    "fuzz/пресс/усилие".encode(),
    b"fuzz/{work_unit}/{sensor}",
    b"fuzz/../../etc",
)


def _payload(random: Random, number: int) -> bytes:
    kind = random.random()
    if kind < 0.3:
        return json.dumps({"timestamp": _time(random), "value": random.choice((number, number / 7, -0.0))}).encode()
    if kind < 0.45:
        good = bytearray(json.dumps({"timestamp": _time(random), "value": number, "unit": "kN", "note": "ä"}).encode())
        for _ in range(random.randrange(1, 4)):
            good[random.randrange(len(good))] = random.randrange(256)
        return bytes(good[: random.randrange(len(good) + 1)] if random.random() < 0.3 else good)
    if kind < 0.7:
        return random.choice(ODD_PAYLOADS)
    if kind < 0.702:
        return random.randbytes(random.choice((16_384, 65_535, 100_000)))
    return random.randbytes(random.randrange(200))


def _time(random: Random) -> object:
    return random.choice(
        (
            f"2026-11-01T06:{random.randrange(60):02d}:{random.randrange(60):02d}.{random.randrange(1000):03d}Z",
            *ODD_TIMES,
        )
    )


ODD_TIMES = (0, -1, 1e300, "9999-12-31T23:59:59Z", "0001-01-01", "yesterday", None, [1], 253402300800)
ODD_PAYLOADS = (
    b"",
    b"\0",
    b"null",
    b"[]",
    b"{}",
    b"NaN",
    b"-0",
    b"1e999",
    b"1e-999",
    b"9" * 400,
    b"18446744073709551616",
    b"[" * 5_000,
    b'{"a":' * 2_000,
    b'{"value": 1, "value": 2}',
    b'{"value": "\\u0000"}',
    b'{"value": "\\ud800"}',
    b'{"\\u0000": 1}',
    b'{"value": 1e400}',
    b'{"value": 9007199254740993}',
    b'{"value": {"value": {"value": 1}}}',
    b'{"value": true}',
    b'{"value": 1, "unit": "\\ud83d"}',
    b'{"value": "' + b"x" * 10_000 + b'"}',
    b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}",
    b"\x1f\x8b\x08\x00",
)


def _properties(random: Random) -> bytes:
    """A section whose length is right; what is in it may be wrong in any way."""
    kind = random.random()
    if kind < 0.5:
        return b"\0"
    some = (
        random.choices(PROPERTIES, k=random.randrange(1, 5)) if kind < 0.8 else [random.randbytes(random.randrange(60))]
    )
    section = b"".join(some)
    return variable(len(section)) + section


def _sized(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


PROPERTIES = (
    b"\x01\x01",
    b"\x01\x07",
    b"\x02\0\0\0\x09",
    b"\x03" + _sized(b"application/json"),
    b"\x03" + _sized(b"a\0b"),
    b"\x03" + _sized(b"\xed\xa0\x80"),
    b"\x03\xff\xffshorter than it says",
    b"\x08" + _sized(b"fuzz/+/#"),
    b"\x09" + _sized(b"\0\xff"),
    b"\x0b\x80\x01",
    b"\x0b\xff\xff\xff\xff\xff",
    b"\x23\0\x05",  # a topic alias that nobody allowed
    b"\x23",
    b"\x26" + _sized(b"key") + _sized(b"value"),
    b"\x26" + _sized(b"") + _sized(b""),
    b"\x26" + _sized(b"k\0") + _sized(b"\xff\0"),
    b"\x26" + _sized(b"key"),
    b"\x7f",
)


def ending_frames(*, is_5: bool) -> list[bytes]:
    """What is no MQTT: a client that goes on after it would read the next bytes as something that they are not."""
    frames = [
        b"\x32\xff\xff\xff\xff\x01",  # a length of five bytes
        b"\x90\x80\x80\x80\x80\x00",
        framed(0x32, b""),
        framed(0x32, b"\0"),
        framed(0x32, b"\0\x09t"),  # a topic longer than the packet
        framed(0x30, b"\xff\xff"),
        framed(0x32, b"\0\x01t\0"),  # half a packet id
        framed(0x36, b"\0\x01t\0\x01" + b"\0" * is_5 + b"qos 3"),
        framed(0x00, b"reserved"),
        framed(0x10, b"\0\x04MQTT"),  # what only a client sends
        framed(0x82, b"\0\x01\0\x01#\0"),
        framed(0xC0, b"\0"),
        framed(0xD0, b"\0"),
        framed(0x20, b""),
        framed(0x40, b""),
        framed(0x62, b"\0"),
        framed(0x90, b""),
        framed(0xB0, b""),
    ]
    if is_5:
        frames += [
            framed(0x32, b"\0\x01t\0\x01"),  # no properties
            framed(0x32, b"\0\x01t\0\x01\x05"),  # longer than the packet
            framed(0x32, b"\0\x01t\0\x01\xff\xff\xff\xff\x01"),
            framed(0x30, b"\0\x01t\x80"),
            framed(0x90, b"\0\x01\xff"),
            framed(0xB0, b"\0\x01\x05\x01"),
            framed(0xE0, b"\xff\0"),  # a reason that there is not
            framed(0xE0, b"\x00\x09\x1f"),
            framed(0xF0, b"\x18\0"),  # AUTH that nobody began
        ]
    return frames


def odd_frame(random: Random) -> bytes:
    """A packet of any type but PUBLISH with anything in it. Whether it ends the connection is the client's to say."""
    kind = random.choice([kind for kind in range(16) if kind != 3])
    return framed(kind << 4 | random.choice((0, 0, 2, 15)), random.randbytes(random.choice((0, 1, 2, 3, 4, 20, 300))))
