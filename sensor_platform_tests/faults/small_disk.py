"""A disk for the staging area that a test can fill: a tmpfs that only the collector sees, mounted without root.

The other way needs no rights at all: a limit on the size of files, below which the process can write nothing any more.
"""

import os
import resource
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from sensor_platform.staging.store import LocalStaging

SIZE_BYTES = 4 * 1024 * 1024
MOUNT = f'mount -t tmpfs -o size={SIZE_BYTES} tmpfs "$0" && exec "$@"'


@dataclass
class PrivateTmpfs:
    """In a mount namespace: seen from outside through the process that lives in it, and kept by an open folder."""

    folder: Path
    prefix: list[str] = field(init=False)
    _root: Path = field(init=False)

    def __post_init__(self) -> None:
        self.prefix = ["unshare", "-rm", "sh", "-c", MOUNT, str(self.folder)]

    def opened(self, pid: int) -> LocalStaging:
        self._root = Path(f"/proc/self/fd/{os.open(f'/proc/{pid}/root{self.folder}', os.O_RDONLY)}")
        return LocalStaging(self._root)

    def fill(self) -> None:
        room = os.statvfs(self._root)
        (self._root / "ballast").write_bytes(bytes(room.f_bavail * room.f_frsize))

    def make_room(self) -> None:
        (self._root / "ballast").unlink()


@dataclass
class FileSizeLimit:
    """No file of the process may grow."""

    folder: Path
    prefix: list[str] = field(default_factory=list)
    _pid: int = 0

    def opened(self, pid: int) -> LocalStaging:
        self._pid = pid
        return LocalStaging(self.folder)

    def fill(self) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def make_room(self) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def may_mount(folder: Path) -> bool:
    """Whether a process may have a tmpfs of its own here."""
    if shutil.which("unshare") is None:
        return False
    done = subprocess.run([*PrivateTmpfs(folder).prefix, "true"], capture_output=True, check=False, timeout=20)
    return done.returncode == 0
