"""What a worker and its parent agree on: frames over a socket, and a few shared bytes that say what it is at."""

import json
import mmap
import socket
import struct
from typing import Any

_SIZES = struct.Struct("<II")
_PROGRESS = struct.Struct("<qqq")
PROGRESS_BYTES = _PROGRESS.size
#: How the worker ends when no memory is left: what it holds is not to be trusted to become less.
EXIT_OUT_OF_MEMORY = 86

#: Header and body of a request or an answer.
Frame = tuple[dict[str, Any], bytes]


def frame(header: dict[str, Any], body: bytes = b"") -> bytes:
    """Lengths, a header in JSON, a body."""
    encoded = json.dumps(header).encode()
    return b"".join((_SIZES.pack(len(encoded), len(body)), encoded, body))


def take_frame(received: bytearray) -> Frame | None:
    """Header and body, once all of it has arrived. Raises ValueError for what is no frame."""
    if len(received) < _SIZES.size:
        return None
    header_bytes, body_bytes = _SIZES.unpack_from(received)
    body_at = _SIZES.size + header_bytes
    if len(received) < body_at + body_bytes:
        return None
    header = json.loads(received[_SIZES.size : body_at])
    if not isinstance(header, dict):
        raise ValueError("the header is not an object")
    return header, bytes(received[body_at : body_at + body_bytes])


def receive(connection: socket.socket) -> Frame | None:
    """Waits for a whole frame; None where the other side is gone."""
    received = bytearray()
    while (found := take_frame(received)) is None:
        chunk = connection.recv(1 << 20)
        if not chunk:
            return None
        received += chunk
    return found


class Progress:
    """A counter of calls, and the messages of the present one: written by the worker, read by who may have to kill it.

    In shared memory, since a worker that hangs sends nothing, and a message a payload would cost more than decoding it.
    """

    def __init__(self, file_descriptor: int) -> None:
        self._shared = mmap.mmap(file_descriptor, PROGRESS_BYTES)
        self._calls = 0

    def began(self, first: int, count: int) -> None:
        """A call is about to be made for `count` messages; 0: none, the rest is our own work."""
        self._calls += 1
        _PROGRESS.pack_into(self._shared, 0, self._calls, first, count)

    def read(self) -> tuple[int, int, int]:
        """Calls so far, place of the first message of the present one, and how many."""
        calls, first, count = _PROGRESS.unpack_from(self._shared)
        return calls, first, count

    def close(self) -> None:
        self._shared.close()
