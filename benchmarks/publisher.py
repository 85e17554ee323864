"""Publishes as fast as the broker confirms, or at a rate: QoS 1, encoded before the clock starts, on a raw socket.

A client library would be the limit, and we would measure that. Says `ready`, waits for a line, publishes, then prints
the seconds that it took. Own process: `python -m benchmarks.publisher PORT USERNAME PASSWORD MESSAGES BYTES [RATE]`.
"""

import socket
import sys
import time

TOPIC = "factory/press-3/sensors/force/data"
PAYLOAD_BYTES = 150
PACKET_IDS = 65535
PUBACK_BYTES = 4
#: Messages that may wait for their PUBACK.
WINDOW = 10_000
#: Bytes that one send may have, and that all encoded frames together may have.
CHUNK_BYTES, ENCODED_BYTES = 100_000, 128 * 1024 * 1024


class Frames:
    """PUBLISH packets, one a packet id, all of one size; after the last id comes the first again."""

    def __init__(self, *, version: int, payload_bytes: int) -> None:
        topic = len(TOPIC).to_bytes(2, "big") + TOPIC.encode()
        properties = b"\0" if version == 5 else b""
        head = b"\x32" + _variable(len(topic) + 2 + len(properties) + payload_bytes) + topic  # PUBLISH, QoS 1
        self.ids = min(PACKET_IDS, ENCODED_BYTES // payload_bytes)
        ids = range(1, self.ids + 1)
        tails = (number.to_bytes(2, "big") + properties + published_payload(number, payload_bytes) for number in ids)
        self._all = memoryview(b"".join(head + tail for tail in tails))
        self._size = len(self._all) // self.ids
        self._chunk = max(1, CHUNK_BYTES // self._size)

    def some(self, first: int, count: int) -> memoryview:
        """From message `first` on, at most `count` of them."""
        place = first % self.ids
        return self._all[place * self._size : (place + count) * self._size]

    def send(self, connection: socket.socket, messages: int, *, window: int, rate: float = float("inf")) -> None:
        """All of them, with at most `window` unconfirmed; returns when all are confirmed. `rate`: at most, a second."""
        sent = confirmed_bytes = 0
        window = min(window, self.ids // 2)
        began_s = time.monotonic()
        while confirmed_bytes < messages * PUBACK_BYTES:
            if sent < messages and sent - confirmed_bytes // PUBACK_BYTES < window:
                some = self.some(sent, min(self._chunk, messages - sent))
                connection.sendall(some)
                sent += len(some) // self._size
                time.sleep(max(0.0, began_s + sent / rate - time.monotonic()))
            elif data := connection.recv(1 << 16):
                confirmed_bytes += len(data)  # nothing but PUBACKs of four bytes comes here
            else:
                raise ConnectionError("the other side closed the connection")


def _variable(number: int) -> bytes:
    """The length of a packet, seven bits a byte."""
    return bytes([number & 127 | 128]) + _variable(number >> 7) if number > 127 else bytes([number])


def published_payload(number: int, payload_bytes: int) -> bytes:
    if payload_bytes < PAYLOAD_BYTES:
        return f'{{"value": {number / 7:.6f}, "note": "'.encode().ljust(payload_bytes - 2, b"x") + b'"}'
    reading = f'{{"timestamp": "2026-11-01T06:00:00.{number:06d}Z", "value": {number / 7:.6f}, "unit": "kN", "note": "'
    return f'{reading:x<{payload_bytes - 2}}"}}'.encode()


def _connect_packet(username: str, password: str) -> bytes:
    """CONNECT of MQTT 3.1.1: its PUBACKs always have four bytes."""
    fields = b"".join(len(each).to_bytes(2, "big") + each.encode() for each in ("publisher", username, password))
    body = b"\0\4MQTT\4\xc2\0\0" + fields  # clean session, user name and password, no keep-alive
    return bytes([0x10, len(body)]) + body


def connected(port: int, username: str, password: str) -> socket.socket:
    """A connection that the broker has accepted."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=120)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(_connect_packet(username, password))
    answer = connection.recv(4, socket.MSG_WAITALL)
    if answer != b"\x20\2\0\0":
        raise ConnectionError(f"the broker answered {answer.hex()}")
    return connection


def main(port: str, username: str, password: str, messages: str, payload_bytes: str, rate: str = "inf") -> None:
    frames = Frames(version=4, payload_bytes=int(payload_bytes))
    with connected(int(port), username, password) as connection:
        print("ready", flush=True)
        sys.stdin.readline()
        began_s = time.monotonic()
        frames.send(connection, int(messages), window=WINDOW, rate=float(rate))
        print(time.monotonic() - began_s, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
