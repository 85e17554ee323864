"""Waiting for a socket, and being woken from it: by a signal handler, or by the thread that reads the control row."""

import os
import select
from contextlib import suppress


class Waker:
    """A pipe to oneself. `wake` may be called from any thread and from a signal handler."""

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        os.set_blocking(self._write_fd, False)

    def close(self) -> None:
        for fd in (self._read_fd, self._write_fd):
            os.close(fd)
        self._read_fd = self._write_fd = -1

    def wake(self) -> None:
        """The present or the next wait returns at once."""
        with suppress(BlockingIOError, OSError):  # full: it is awake already; closed: nobody waits
            os.write(self._write_fd, b"!")

    def wait(self, timeout_s: float, *, fd: int | None = None, for_write: bool = False) -> bool:
        """Waits for the fd, a wake or the time-out. Whether there is something to read on the fd."""
        poll = select.poll()
        poll.register(self._read_fd, select.POLLIN)
        if fd is not None:
            poll.register(fd, select.POLLIN | (select.POLLOUT if for_write else 0))
        ready = dict(poll.poll(max(0.0, timeout_s) * 1000))
        if self._read_fd in ready:
            with suppress(BlockingIOError):
                os.read(self._read_fd, 4096)
        return bool(ready.get(fd, 0) & ~select.POLLOUT) if fd is not None else False
