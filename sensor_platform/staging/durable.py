"""The few file operations that hold after a power cut, each with the fsyncs that it needs."""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sensor_platform.staging.kill_points import kill_point

#: Folders whose names this process has synced; forgotten names are synced again.
_named_for_good: set[Path] = {Path("/")}
GREATEST_MEMORY = 1000
#: Each loss of the race needs somebody who removes the folder within the moment before it has a file.
RACES_LOST = 100


def sync_folder(folder: Path) -> None:
    """Makes names made, renamed or removed in the folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path, *, mode: int = 0o700) -> None:
    """The folder and its parents, with names that hold.

    A folder that is there proves nothing: who made it may have died, or been refused, before its name was synced. So
    each name is synced once a process, as far up as the folders are our own.
    """
    folder = folder.absolute()
    is_there = folder.is_dir()
    if is_there and (folder in _named_for_good or folder.stat().st_uid != os.geteuid()):
        return
    make_folder(folder.parent, mode=mode)
    if not is_there:
        with suppress(FileExistsError):
            folder.mkdir(mode=mode)
    sync_folder(folder.parent)
    if len(_named_for_good) >= GREATEST_MEMORY:
        _named_for_good.intersection_update({Path("/")})
    _named_for_good.add(folder)


def write_all(fd: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def replace_file(path: Path, data: bytes) -> None:
    """New content under an old name: either all of it is there after a crash, or all of the old."""
    scratch = path.with_name(f"{path.name}.new")
    fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    scratch.replace(path)
    sync_folder(path.parent)


def move_without_replacing(path: Path, target: Path) -> None:
    """Gives a synced file its final name. A target that is there already is the same file, moved before a crash.

    A hard link and an unlink, since a plain rename would replace what is there.
    """
    _link_into_folder(path, target)
    kill_point("after_link")
    sync_folder(target.parent)
    kill_point("between_link_and_unlink")
    path.unlink()
    kill_point("after_unlink")
    sync_folder(path.parent)
    kill_point("after_folder_sync")


def _link_into_folder(path: Path, target: Path) -> None:
    """Whoever empties the folder (an upload, retention) may remove it before the link is there: then once more."""
    for attempt in range(RACES_LOST + 1):
        try:
            make_folder(target.parent)
            with suppress(FileExistsError):
                os.link(path, target)
        except FileNotFoundError:
            if attempt == RACES_LOST or not path.exists():
                raise
        else:
            return


@contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """The bytes of a file, without a copy of them."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:  # made by hand: such a one cannot be mapped
            yield memoryview(b"")
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as data:
            yield data
