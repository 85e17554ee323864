"""Publishes as fast as the broker confirms: QoS 1, encoded before the clock starts, on a raw socket.

A client library would be the limit, and we would measure that. Says `ready`, waits for a line, publishes, then prints
the seconds that it took. Own process: `python -m benchmarks.publisher PORT USERNAME PASSWORD MESSAGES`.
"""

import socket
import sys
import time

TOPIC = "factory/press-3/sensors/force/data"
PAYLOAD_BYTES = 150
PACKET_IDS = 65535
CHUNK = 500
PUBACK_BYTES = 4
#: Messages that may wait for their PUBACK.
WINDOW = 10_000


class Frames:
    """PUBLISH packets, one a packet id, all of one size; after the last id comes the first again."""

    def __init__(self, *, version: int) -> None:
        topic = len(TOPIC).to_bytes(2, "big") + TOPIC.encode()
        properties = b"\0" if version == 5 else b""
        length = len(topic) + 2 + len(properties) + PAYLOAD_BYTES
        head = bytes([0x32, length & 127 | 128, length >> 7]) + topic  # PUBLISH, QoS 1
        tails = (packet_id.to_bytes(2, "big") + properties + _payload(packet_id) for packet_id in _ids())
        self._all = memoryview(b"".join(head + tail for tail in tails))
        self._size = len(self._all) // PACKET_IDS

    def some(self, first: int, count: int) -> memoryview:
        """From message `first` on, at most `count` of them."""
        place = first % PACKET_IDS
        return self._all[place * self._size : (place + count) * self._size]

    def send(self, connection: socket.socket, messages: int, *, window: int) -> None:
        """All of them, with at most `window` unconfirmed; returns when all are confirmed."""
        sent = confirmed_bytes = 0
        while confirmed_bytes < messages * PUBACK_BYTES:
            if sent < messages and sent - confirmed_bytes // PUBACK_BYTES < window:
                some = self.some(sent, min(CHUNK, messages - sent))
                connection.sendall(some)
                sent += len(some) // self._size
            elif data := connection.recv(1 << 16):
                confirmed_bytes += len(data)  # nothing but PUBACKs of four bytes comes here
            else:
                raise ConnectionError("the other side closed the connection")


def _ids() -> range:
    return range(1, PACKET_IDS + 1)


def _payload(number: int) -> bytes:
    reading = f'{{"timestamp": "2026-11-01T06:00:00.{number:06d}Z", "value": {number / 7:.6f}, "unit": "kN", "note": "'
    return f'{reading:x<{PAYLOAD_BYTES - 2}}"}}'.encode()


def _connect_packet(username: str, password: str) -> bytes:
    """CONNECT of MQTT 3.1.1: its PUBACKs always have four bytes."""
    fields = b"".join(len(each).to_bytes(2, "big") + each.encode() for each in ("publisher", username, password))
    body = b"\0\4MQTT\4\xc2\0\0" + fields  # clean session, user name and password, no keep-alive
    return bytes([0x10, len(body)]) + body


def main(port: str, username: str, password: str, messages: str) -> None:
    frames = Frames(version=4)
    with socket.create_connection(("127.0.0.1", int(port)), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(_connect_packet(username, password))
        answer = connection.recv(4, socket.MSG_WAITALL)
        if answer != b"\x20\2\0\0":
            raise ConnectionError(f"the broker answered {answer.hex()}")
        print("ready", flush=True)
        sys.stdin.readline()
        began_s = time.monotonic()
        frames.send(connection, int(messages), window=WINDOW)
        print(time.monotonic() - began_s, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
