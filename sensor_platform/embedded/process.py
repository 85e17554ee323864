"""One part as a process: a session of its own, ended with everything that it started, and ended when we die.

A process is named by its pid and its start time: pids come again, the pair does not.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

GUARD = Path(__file__).with_name("guard.py")


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `stop_signal` asks it to end well; the same one reaches it when its parent dies."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)  # on top of ours
    stop_signal: signal.Signals = signal.SIGTERM
    prefix: tuple[str, ...] = ()  # changes the account before anything else
    folder: Path | None = None


class Child:
    """A started command. The death signal is tied to the thread that starts it: let that one live as long."""

    def __init__(self, command: Command, *, log: Path) -> None:
        self.command = command
        self.log = log
        self._is_asked = False
        guard = (sys.executable, "-I", "-S", str(GUARD), command.stop_signal.name, str(os.getpid()), "--")
        with log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                [*command.prefix, *guard, *command.arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **command.environment},
                cwd=command.folder,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.started_at = start_time(self.pid)

    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def last_words(self) -> str:
        """The last line that it logged since its start, shortened."""
        with self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, size - 8192))
            lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip()[:300] if lines else ""

    def cut_log(self, *, at_bytes: int) -> None:
        """Moves the log's text aside when it has grown past `at_bytes`: two of that size are kept, no more.

        Copied and emptied, since the process goes on writing to the same open file, at its end.
        """
        if self.log.stat().st_size > at_bytes:
            with contextlib.suppress(OSError):  # on a full disk the text goes, and makes room
                shutil.copyfile(self.log, self.log.with_name(f"{self.log.name}.1"))
            os.truncate(self.log, 0)
            self._log_start = 0

    def ask_to_stop(self) -> None:
        """Sends the stop signal to the process, once: a second one means at once. It ends its own children."""
        if not self._is_asked:
            self._is_asked = True
            self.hurry()

    def hurry(self) -> None:
        """Sends the stop signal, again if it was sent."""
        if self._process.poll() is None:
            self._process.send_signal(self.command.stop_signal)

    def stop(self, *, grace_s: float = 15) -> int:
        """Asks, waits, and kills what is still there; its children too."""
        members = session_members(self.pid)
        self.ask_to_stop()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        # A stopped part may have left workers: they end with it.
        end([*members, *session_members(self.pid)], grace_s=2)
        return self._process.wait()

    def end_rest(self) -> int:
        """After its death: ends what it left behind, and says how many processes that were."""
        rest = session_members(self.pid)
        end(rest, grace_s=2)
        return len(rest)


def start_time(pid: int) -> float:
    """When the process started; 0 when it is gone."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return 0


def is_alive(pid: int, started_at: float) -> bool:
    """Whether that very process still runs (a zombie does not)."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started_at) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def session_members(leader: int) -> list[psutil.Process]:
    """The living processes of the session that `leader` opened, and its other descendants; never `leader` itself."""
    found: dict[int, psutil.Process] = {}
    with contextlib.suppress(psutil.Error):
        found = {child.pid: child for child in psutil.Process(leader).children(recursive=True)}
    for process in psutil.process_iter():
        try:
            if process.pid != leader and os.getsid(process.pid) == leader:
                found[process.pid] = process
        except OSError:
            continue
    return list(found.values())


def end(processes: Iterable[psutil.Process], *, grace_s: float, first: signal.Signals = signal.SIGTERM) -> None:
    """Asks each process to end, waits, kills the rest, and waits for those too."""
    alive = [process for process in processes if _runs(process)]
    for sign, patience_s in ((first, grace_s), (signal.SIGKILL, 5.0)):
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.send_signal(sign)
        deadline = time.monotonic() + patience_s
        # Not psutil.wait_procs: it waits for the reaping of orphans too, which a container's init may never do.
        while alive and time.monotonic() < deadline:
            time.sleep(0.02)
            alive = [process for process in alive if _runs(process)]
        if not alive:
            return


def _runs(process: psutil.Process) -> bool:
    try:
        # is_running compares start times.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
