"""A broker that sends what no real one would, and keeps to its window, as mosquitto 2.0.11 does not."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

CONNECT, SUBSCRIBE = 0x10, 0x82
PUBACK = b"\x40\x02"


@dataclass
class SendingBroker:
    """`answers`: what came back of the collector after its SUBSCRIBE."""

    port: int
    answers: bytearray = field(default_factory=bytearray)
    username: str | None = None
    password: str = ""

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"


def _packet(connection: socket.socket) -> tuple[int, bytes]:
    first, length = connection.recv(2, socket.MSG_WAITALL)  # never more than 127 bytes
    return first, connection.recv(length, socket.MSG_WAITALL)


def _serve(listener: socket.socket, broker: SendingBroker, frames: Sequence[bytes], window: int) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(20)
        first, body = _packet(connection)
        assert first == CONNECT
        is_5 = body[6] == 5
        connection.sendall(b"\x20\3\0\0\0" if is_5 else b"\x20\2\0\0")
        first, body = _packet(connection)
        assert first == SUBSCRIBE
        granted = body[:2] + (b"\0\1" if is_5 else b"\1")
        connection.sendall(bytes([0x90, len(granted)]) + granted)
        sent = 0
        while True:
            allowed = broker.answers.count(PUBACK) + window
            connection.sendall(b"".join(frames[sent:allowed]))
            sent = max(sent, allowed)
            if not (data := connection.recv(4096)):
                return
            broker.answers += data


@contextmanager
def sending_broker(frames: Sequence[bytes], *, window: int = 65535) -> Iterator[SendingBroker]:
    """Serves one connection: CONNACK, SUBACK, then the frames, never more than `window` of them unacknowledged."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        broker = SendingBroker(listener.getsockname()[1])
        thread = threading.Thread(target=_serve, args=(listener, broker, frames, window))
        thread.start()
        try:
            yield broker
        finally:
            thread.join(timeout=30)
