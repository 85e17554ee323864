"""The worker as a process of the system: how it is started, what it uses, and that it ends with all that it started.

Not a fork: a process with threads that forks may hang in its child. Not multiprocessing: it unpickles what comes back,
and imports the main script again.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import psutil

from sensor_platform.errors import WorkerUnavailableError
from sensor_platform.transformers.worker.framing import PROGRESS_BYTES, Progress

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]);"
    "from sensor_platform.transformers.worker.main import main; main()"
)


class WorkerProcess:
    """A process that runs `main`, our connection to it, and the progress that it shares with us.

    All its methods but `interrupt` are called by one thread.

    Raises:
        WorkerUnavailableError: the system does not start a process: too many of them, or of open files, no memory.
    """

    connection: socket.socket
    progress: Progress

    def __init__(self) -> None:
        with contextlib.ExitStack() as opened:
            try:
                self._start(opened)
            except OSError as err:
                problem = f"the process for transformers of your own cannot be started, try again later: {err}"
                raise WorkerUnavailableError(problem) from err
            opened.pop_all()
        self._ending = threading.Lock()

    def _start(self, opened: contextlib.ExitStack) -> None:
        """The process, and what we share with it, which `opened` closes if it does not come to that."""
        self.connection, theirs = socket.socketpair()
        opened.callback(self.connection.close)
        with theirs, tempfile.TemporaryFile() as shared:
            shared.truncate(PROGRESS_BYTES)
            self.progress = Progress(shared.fileno())
            opened.callback(self.progress.close)
            inherited = (theirs.fileno(), shared.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, json.dumps(sys.path), *map(str, (os.getpid(), *inherited))],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a transformer prints goes where errors go: stdout of a command is data
                pass_fds=inherited,
                process_group=0,  # Ctrl-C is for us; and what it starts is killed with it
            )

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None and not self._is_over()

    @property
    def exit_status(self) -> int | None:
        """As of `subprocess`, once it was killed: negative for a signal."""
        return self._process.returncode

    def memory_bytes(self) -> int:
        """What it uses; 0 where it is gone."""
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def is_over_within(self, timeout_s: float) -> bool:
        """Whether it ends by itself in so many seconds."""
        deadline = time.monotonic() + timeout_s
        while not self._is_over() and time.monotonic() < deadline:
            time.sleep(0.001)
        return self._is_over()

    def interrupt(self) -> None:
        """From any thread: ends the process and all that it started. Who waits for its answer notices at once."""
        with self._ending:
            if self._process.returncode is None:  # until it is waited for, nobody else has its number
                with contextlib.suppress(OSError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Ends the process, whatever it is at, and all that it started."""
        self.interrupt()
        with self._ending:
            self._process.wait()
        self.connection.close()
        self.progress.close()

    def _is_over(self) -> bool:
        """Whether it has ended, without waiting for it: its number, and that of its group, stay its own."""
        try:
            return psutil.Process(self._process.pid).status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            return True
