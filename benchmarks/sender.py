"""A broker that only sends: what a collector can do when no broker stands in its way.

Prints its port; says `ready` when a subscriber came; waits for a line; sends, and prints the seconds until all was
confirmed. Own process: `python -m benchmarks.sender MESSAGES BYTES`.
"""

import socket
import sys
import time

from benchmarks.publisher import Frames

CONNECT, SUBSCRIBE = 0x10, 0x82
#: In flight where the subscriber sets no bound: the collector's Receive Maximum.
WINDOW = 20_000
RECEIVE_MAXIMUM = 0x21
#: Bytes of the properties of CONNECT that are numbers.
WIDTHS = {0x11: 4, RECEIVE_MAXIMUM: 2, 0x27: 4, 0x22: 2, 0x19: 1, 0x17: 1}


def _packet(connection: socket.socket) -> tuple[int, bytes]:
    """First byte and body of a packet of less than 128 bytes."""
    first, length = connection.recv(2, socket.MSG_WAITALL)
    return first, connection.recv(length, socket.MSG_WAITALL)


def _receive_maximum(body: bytes) -> int:
    """Of an MQTT 5 CONNECT: its first properties, as the subscribers here send them."""
    at, end = 11, 11 + body[10]
    while at < end:
        width = WIDTHS[body[at]]
        if body[at] == RECEIVE_MAXIMUM:
            return int.from_bytes(body[at + 1 : at + 3])
        at += 1 + width
    return WINDOW


def _welcome(connection: socket.socket) -> tuple[int, int]:
    """Answers CONNECT and a SUBSCRIBE with one filter; the version that the client speaks, and how many may fly."""
    first, body = _packet(connection)
    assert first == CONNECT, first
    version = body[6]
    window = _receive_maximum(body) if version == 5 else WINDOW
    connection.sendall(b"\x20\3\0\0\0" if version == 5 else b"\x20\2\0\0")
    first, body = _packet(connection)
    assert first == SUBSCRIBE, first
    granted = body[:2] + (b"\0\1" if version == 5 else b"\1")
    connection.sendall(bytes([0x90, len(granted)]) + granted)
    return version, window


def main(messages: str, payload_bytes: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(120)
        print(server.getsockname()[1], flush=True)
        connection, _ = server.accept()
    with connection:
        connection.settimeout(120)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        version, window = _welcome(connection)
        frames = Frames(version=version, payload_bytes=int(payload_bytes))
        print("ready", flush=True)
        sys.stdin.readline()
        began_s = time.monotonic()
        frames.send(connection, int(messages), window=window)
        print(time.monotonic() - began_s, flush=True)
        while connection.recv(1 << 16):
            pass  # the client ends it


if __name__ == "__main__":
    main(*sys.argv[1:])
