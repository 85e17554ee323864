"""One collector a folder: a file lock, which the kernel frees when its holder dies in whatever way."""

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path

from sensor_platform.errors import CollectorBusyError

LOCK_FILE = "lock"


class FolderLock:
    """Held from `acquire` to `release`; the file says by whom."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_FILE
        self._fd: int | None = None

    def acquire(self) -> None:
        """Raises CollectorBusyError, naming the holder, when another one has it."""
        if self._fd is not None:
            return
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            holder = os.pread(fd, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(fd)
            raise CollectorBusyError(
                f"{self._path.parent}: a collector is running here already ({holder}). "
                "Stop it, or give this one another name."
            ) from err
        with suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        self._fd = fd

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
