"""A TCP proxy between publisher and broker that can cut, hold back answers, and hang up on MQTT 5."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

#: Place of the protocol level in a CONNECT with a remaining length of one byte: 2 of the header, 6 of the name "MQTT".
PROTOCOL_LEVEL = 8


class Proxy:
    def __init__(self, target: tuple[str, int], *, refuse_version_5: bool = False, cut_after_bytes: int = 0) -> None:
        self._target = target
        self._refuse_version_5 = refuse_version_5
        self._cut_after_bytes = cut_after_bytes  # once, counted on the way to the broker
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self.answers = threading.Event()
        self.answers.set()
        self.versions: list[int] = []
        self.answered = 0  # reads of what the broker sent, passed on or held back

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.answers.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)

    def cut(self) -> None:
        """Ends every connection."""
        for pair in self._pairs:
            for each in pair:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _start(self, function: object, *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                broker = socket.create_connection(self._target)
                self._pairs.append((client, broker))
                self._start(self._pump, client, broker, True)
                self._start(self._pump, broker, client, False)

    def _pump(self, source: socket.socket, sink: socket.socket, to_broker: bool) -> None:
        with contextlib.suppress(OSError), source:
            first = to_broker
            while data := source.recv(65536):
                if first:
                    self.versions.append(data[PROTOCOL_LEVEL])
                    if self._refuse_version_5 and data[PROTOCOL_LEVEL] == 5:
                        break
                    first = False
                if to_broker and self._is_cut(len(data)):
                    break
                if not to_broker:
                    self.answered += 1
                    self.answers.wait()
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def _is_cut(self, size: int) -> bool:
        if not self._cut_after_bytes:
            return False
        self._cut_after_bytes = max(self._cut_after_bytes - size, 0)
        return self._cut_after_bytes == 0
