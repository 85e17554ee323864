"""A disk that refuses one operation, chosen by its number: what a full or a dying disk does, at any step there is."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

#: Those that need room, or make something durable.
OPERATIONS = ("write", "fsync", "fdatasync", "link", "mkdir", "open", "replace")
SYNCS = ("fsync", "fdatasync")


class FailingDisk:
    """Counts what is done below `root`, and refuses operation number `fails_at`, and the `for_more` after it.

    What an fsync has refused must not be synced again: the kernel may have dropped the pages and would say yes.
    """

    def __init__(self, root: Path, *, fails_at: int = -1, for_more: int = 0, code: int = errno.ENOSPC) -> None:
        self._root = str(root)
        self._refused_from, self._refused_to = fails_at, fails_at + for_more
        self._code = code
        self._refused_files: list[int] = []  # kept open, so that no other file gets their number
        self.log: list[str] = []
        self.done: list[str] = []
        self.synced_again: list[str] = []

    @contextmanager
    def __call__(self) -> Iterator["FailingDisk"]:
        patches = [mock.patch.object(os, name, self._guarded(name, getattr(os, name))) for name in OPERATIONS]
        for patch in patches:
            patch.start()
        try:
            yield self
        finally:
            for patch in patches:
                patch.stop()
            for fd in self._refused_files:
                os.close(fd)

    def _guarded(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(first: Any, *rest: Any, **options: Any) -> Any:
            path = str(Path(f"/proc/self/fd/{first}").readlink() if isinstance(first, int) else first)
            creates = name != "open" or (rest and rest[0] & os.O_CREAT)
            if not path.startswith(self._root) or not creates:
                return real(first, *rest, **options)
            return self._counted(name, path, first, lambda: real(first, *rest, **options))

        return operation

    def _counted(self, name: str, path: str, first: Any, go_on: Callable[[], Any]) -> Any:
        number = len(self.log)
        self.log.append(f"{name} {path.removeprefix(self._root)}")
        is_file_sync = name in SYNCS and not Path(path).is_dir()
        if is_file_sync and any(os.path.sameopenfile(first, fd) for fd in self._refused_files):
            self.synced_again.append(self.log[-1])
        if self._refused_from <= number <= self._refused_to:
            if is_file_sync:
                self._refused_files.append(os.dup(first))
            raise OSError(self._code, os.strerror(self._code))
        result = go_on()
        self.done.append(self.log[number])
        return result
