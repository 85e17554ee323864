"""A publisher that logs each confirmation: what the broker must not lose from then on, and nothing else.

A raw socket, not a client library: it never sends a message again. What was unconfirmed when a connection ended is *in
doubt*, may be staged once or not at all, and its id is never used again. So the log is the truth, whatever breaks.
"""

import select
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

PUBACK_BYTES = 4
PACKET_IDS = 65535
#: Unconfirmed messages at most.
WINDOW = 500
TICK_S = 0.01


class Address(Protocol):
    """Where a broker is, and how to get in."""

    username: str
    port: int

    @property
    def password(self) -> str: ...


class Load:
    """Publishes numbered messages below `topic` at QoS 1 in a thread of its own: `with Load(…) as load: load.stop()`.

    The payload is `NAME NUMBER`; a number is used once. `confirmed` and `in_doubt` are whole after `stop`.
    """

    def __init__(self, broker: Address, topic: str, *, name: str = "p0", rate: float = 500, padding: int = 0) -> None:
        self.name = name
        self.confirmed: list[bytes] = []
        self.in_doubt: set[bytes] = set()
        self._broker = broker
        self._topic = topic.encode()
        self._rate = rate
        self._padding = bytes(padding)
        self._number = 0
        self._unconfirmed: dict[int, bytes] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"load {name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(patience_s=1 if kind else 30)

    def stop(self, *, patience_s: float = 30) -> None:
        """No new messages; waits for the confirmations that are due, and for so long only."""
        self._give_up_s = time.monotonic() + patience_s
        self._stopping.set()
        self._thread.join(patience_s + 10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._is_over():
            try:
                with self._connected() as connection:
                    self._serve(connection)
            except OSError:
                self._stopping.wait(0.05)
            self.in_doubt.update(self._unconfirmed.values())
            self._unconfirmed.clear()

    def _is_over(self) -> bool:
        return self._stopping.is_set() and (not self._unconfirmed or time.monotonic() > self._give_up_s)

    def _connected(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._broker.port), timeout=5)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(_connect(f"load-{self.name}", self._broker.username, self._broker.password))
            if connection.recv(4, socket.MSG_WAITALL) != b"\x20\2\0\0":
                raise ConnectionError("the broker refused the publisher")
        except BaseException:
            connection.close()
            raise
        return connection

    def _serve(self, connection: socket.socket) -> None:
        """Sends what is due and reads confirmations, until told to stop or the connection ends."""
        began_s, began = time.monotonic(), self._number
        rest = b""
        while not self._is_over():
            due = began + int((time.monotonic() - began_s) * self._rate) - self._number
            if not self._stopping.is_set():
                connection.settimeout(5)
                self._send(connection, min(due, WINDOW - len(self._unconfirmed)))
            if select.select([connection], [], [], TICK_S)[0]:
                data = connection.recv(1 << 16)
                if not data:
                    raise ConnectionError("the broker closed the connection")
                rest = self._read(rest + data)

    def _send(self, connection: socket.socket, count: int) -> None:
        frames = []
        for _ in range(count):
            packet_id = self._number % PACKET_IDS + 1
            payload = b"%s %d" % (self.name.encode(), self._number)
            self._unconfirmed[packet_id] = payload
            self._number += 1
            frames.append(_publish(self._topic, packet_id, payload + self._padding))
        if frames:
            connection.sendall(b"".join(frames))

    def _read(self, data: bytes) -> bytes:
        whole = len(data) - len(data) % PUBACK_BYTES
        for at in range(0, whole, PUBACK_BYTES):
            with suppress(KeyError):
                self.confirmed.append(self._unconfirmed.pop(int.from_bytes(data[at + 2 : at + 4], "big")))
        return data[whole:]


def _connect(client_id: str, username: str, password: str) -> bytes:
    """CONNECT of MQTT 3.1.1, clean session, no keep-alive."""
    fields = b"".join(len(each).to_bytes(2, "big") + each.encode() for each in (client_id, username, password))
    body = b"\0\4MQTT\4\xc2\0\0" + fields
    return bytes([0x10, len(body)]) + body


def _publish(topic: bytes, packet_id: int, payload: bytes) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic + packet_id.to_bytes(2, "big") + payload
    length, rest = b"", len(body)
    while True:
        rest, low = rest >> 7, rest & 127
        length += bytes([low | (128 if rest else 0)])
        if not rest:
            return b"\x32" + length + body
