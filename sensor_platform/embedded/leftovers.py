"""What a platform that was killed left behind, and its end.

`home/processes.json` names every process of the platform from its first moment on, unlike run.json, which appears when
all of them answer. Only processes whose pid and start time match are touched, with their sessions and descendants.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from sensor_platform.embedded import process
from sensor_platform.embedded.postgres import EmbeddedPostgres
from sensor_platform.embedded.run_file import remove_run_file
from sensor_platform.embedded.secrets import private_folder, write_private
from sensor_platform.errors import SensorPlatformError


class PlatformRunningError(SensorPlatformError):
    """Another platform runs in this home."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A process: its pid and when it started."""

    pid: int
    started_at: float

    @property
    def lives(self) -> bool:
        return process.is_alive(self.pid, self.started_at)


@dataclass(frozen=True, slots=True)
class Processes:
    """Who started the parts, and the parts."""

    platform: Identity
    parts: dict[str, Identity] = field(default_factory=dict)

    def write(self, home: Path) -> None:
        write_private(_file(home), json.dumps(asdict(self), indent=2) + "\n")


def read_processes(home: Path) -> Processes | None:
    """The record of the last platform of this home; None after a clean stop."""
    try:
        values = json.loads(_file(home).read_text(encoding="utf-8"))
        parts = {name: Identity(**identity) for name, identity in values["parts"].items()}
        return Processes(Identity(**values["platform"]), parts)
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def forget_processes(home: Path) -> None:
    _file(home).unlink(missing_ok=True)


def end_leftovers(home: Path, *, grace_s: float = 5) -> list[str]:
    """Ends what is left of the last platform of this home; the names of the parts that were. Hold the lock."""
    record = read_processes(home)
    members = {name: _members(home, identity) for name, identity in (record.parts if record else {}).items()}
    ended = [name for name, found in members.items() if found]
    # All at once: one after the other, each with its grace, would take longer than people are promised.
    process.end([member for found in members.values() for member in found], grace_s=grace_s)
    # Its backends have sessions of their own, and outlive a killed postmaster while they are busy.
    if EmbeddedPostgres(home).end_leftovers():
        ended.append("postgres")
    remove_run_file(home)
    forget_processes(home)
    return sorted(set(ended))


@contextmanager
def platform_lock(home: Path, *, patience_s: float = 10) -> Iterator[None]:
    """One platform a home. Waits a little for the watchdog of one that was killed.

    Raises:
        PlatformRunningError: it runs.
    """
    with (private_folder(home) / "lock").open("a") as file:
        deadline = time.monotonic() + patience_s
        while not _try_lock(file.fileno()):
            record = read_processes(home)
            if record is None or record.platform.lives or time.monotonic() > deadline:
                who = f"pid {record.platform.pid}" if record else "it is just starting or stopping"
                raise PlatformRunningError(
                    f"a platform already runs in {home} ({who}). Stop it first, "
                    "or set SENSOR_PLATFORM_HOME to another folder"
                )
            time.sleep(0.1)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _file(home: Path) -> Path:
    return home / "processes.json"


def _members(home: Path, identity: Identity) -> list[psutil.Process]:
    """The recorded process with its session and descendants; without it, what of its session has our home."""
    members = process.session_members(identity.pid)
    with suppress(psutil.NoSuchProcess, ProcessLookupError):  # it may end just now: its session is there all the same
        if identity.lives:
            return [psutil.Process(identity.pid), *members]
        if psutil.pid_exists(identity.pid) and os.getsid(identity.pid) == identity.pid:
            return []  # the pid came again, for another session
    return [member for member in members if _home_of(member) == str(home)]


def _home_of(member: psutil.Process) -> str | None:
    try:
        return member.environ().get("SENSOR_PLATFORM_HOME")
    except psutil.Error:
        return None
