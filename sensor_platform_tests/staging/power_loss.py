"""A disk of which only synced bytes survive a power cut. The code works on real files, and its calls are recorded.

What was not synced may survive or not, each piece by itself: bytes of a file in part, torn, or as zeros, since its size
may outlive its data; names made, replaced or removed in a folder, each call as a whole. What an fsync refused is synced
by no later one.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

SECTOR = 512


class PowerCut(BaseException):
    """The machine is off."""


class Killed(BaseException):
    """The process is gone, the machine goes on: nothing is lost, and nothing is synced."""


class Chance(Protocol):
    """What a power cut leaves, decided piece by piece."""

    def survives(self) -> bool: ...
    def torn(self, data: bytes) -> bytes: ...


@dataclass
class _Piece:
    """One write at its place, or one call that changed names."""

    what: Any
    offset: int = 0
    synced: bool = False
    refused: bool = False


@dataclass
class _File:
    pieces: list[_Piece] = field(default_factory=list)
    size: int = 0

    def write(self, data: bytes) -> None:
        self.pieces.append(_Piece(data, self.size))
        self.size += len(data)

    def sync(self) -> None:
        for piece in self.pieces:
            piece.synced = piece.synced or not piece.refused

    def refuse(self) -> None:
        for piece in self.pieces:
            piece.refused = not piece.synced

    def after(self, chance: Chance) -> bytes:
        content = bytearray()
        for piece in self.pieces:
            data = piece.what if piece.synced else chance.torn(piece.what)
            if data:
                content.extend(bytes(piece.offset - len(content)))
                content[piece.offset : piece.offset + len(data)] = data
        return bytes(content)


@dataclass
class _Folder:
    live: dict[str, "_File | _Folder"] = field(default_factory=dict)
    pieces: list[_Piece] = field(default_factory=list)

    def change(self, names: dict[str, "_File | _Folder | None"]) -> None:
        self.pieces.append(_Piece(names))
        _apply(self.live, names)

    def sync(self) -> None:
        for piece in self.pieces:
            piece.synced = True

    def after(self, chance: Chance) -> dict[str, "_File | _Folder"]:
        left: dict[str, _File | _Folder] = {}
        for piece in self.pieces:
            if piece.synced or chance.survives():
                _apply(left, piece.what)
        return left


def _apply(names: dict[str, "_File | _Folder"], change: dict[str, "_File | _Folder | None"]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


class Disk:
    """Everything below `root`. `skips` names an fsync, as `sites` has them, that is left out: a bug to be found."""

    def __init__(self, root: Path, *, skips: str | None = None) -> None:
        root.mkdir(exist_ok=True)
        self.root = root
        self.skips = skips
        self.sites: set[str] = set()
        self._top = _read(root)
        self._descriptors: dict[int, tuple[_File | _Folder, Path]] = {}
        self.plan()

    def plan(
        self, *, ends_at: int = 0, ending: type[BaseException] = PowerCut, fails_at: frozenset[int] = frozenset()
    ) -> None:
        """Which of the operations from now on is the last, and which are refused by the disk."""
        self._number = 0
        self._ends_at, self._ending, self._fails_at = ends_at, ending, fails_at

    @contextmanager
    def recording(self) -> Iterator[None]:
        with ExitStack() as patches:
            for name in ("open", "close", "write", "fsync", "fdatasync", "link", "unlink", "replace", "mkdir"):
                patches.enter_context(mock.patch.object(os, name, getattr(self, f"_{name}")(getattr(os, name))))
            yield

    def after_power_cut(self, root: Path, chance: Chance) -> "Disk":
        """What is found when the power is back, in a folder of its own."""
        written: dict[int, Path] = {}

        def restore(node: _Folder, folder: Path) -> None:
            folder.mkdir()
            for name, child in node.after(chance).items():
                path = folder / name
                if isinstance(child, _Folder):
                    restore(child, path)
                elif id(child) in written:
                    os.link(written[id(child)], path)
                else:
                    path.write_bytes(child.after(chance))
                    written[id(child)] = path

        restore(self._top, root)
        return Disk(root, skips=self.skips)

    def _step(self) -> bool:
        """Counts an operation; whether the disk refuses it."""
        self._number += 1
        if self._ends_at and self._number >= self._ends_at:
            raise self._ending
        return self._number in self._fails_at

    def _folder(self, path: Path) -> _Folder:
        node: _File | _Folder = self._top
        for part in path.relative_to(self.root).parts:
            assert isinstance(node, _Folder)
            node = node.live[part]
        assert isinstance(node, _Folder)
        return node

    def _is_ours(self, path: Any) -> bool:
        return not isinstance(path, int) and Path(path).is_relative_to(self.root)

    # Each returns what stands in for a function of os.

    def _named(self, real: Callable[..., Any], change: Callable[..., None]) -> Callable[..., Any]:
        def operation(path: Any, *more: Any, **options: Any) -> Any:
            if not self._is_ours(path):
                return real(path, *more, **options)
            if self._step():
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            result = real(path, *more, **options)
            change(Path(path), *more)
            return result

        return operation

    def _link(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def change(path: Path, target: Any) -> None:
            self._folder(Path(target).parent).change({Path(target).name: self._folder(path.parent).live[path.name]})

        return self._named(real, change)

    def _unlink(self, real: Callable[..., Any]) -> Callable[..., Any]:
        return self._named(real, lambda path: self._folder(path.parent).change({path.name: None}))

    def _replace(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def change(path: Path, target: Any) -> None:
            assert path.parent == Path(target).parent, "between folders it is not one piece"
            folder = self._folder(path.parent)
            folder.change({path.name: None, Path(target).name: folder.live[path.name]})

        return self._named(real, change)

    def _mkdir(self, real: Callable[..., Any]) -> Callable[..., Any]:
        return self._named(real, lambda path, *_: self._folder(path.parent).change({path.name: _Folder()}))

    def _open(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(path: Any, flags: int, *more: Any, **options: Any) -> int:
            if not self._is_ours(path):
                return real(path, flags, *more, **options)  # type: ignore[no-any-return]
            path = Path(path)
            if not flags & os.O_CREAT:
                fd = int(real(path, flags, *more, **options))
                self._descriptors[fd] = (self._folder(path), path)
                return fd
            if self._step():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fd = int(real(path, flags, *more, **options))
            names = self._folder(path.parent)
            if path.name not in names.live:
                names.change({path.name: _File()})
            node = names.live[path.name]
            assert isinstance(node, _File)
            assert not (flags & os.O_TRUNC and node.size), "cutting a file is not modelled"
            self._descriptors[fd] = (node, path)
            return fd

        return operation

    def _close(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(fd: int) -> None:
            self._descriptors.pop(fd, None)
            real(fd)

        return operation

    def _write(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(fd: int, data: Any) -> int:
            if fd not in self._descriptors:
                return real(fd, data)  # type: ignore[no-any-return]
            is_full = self._step()
            data = bytes(data)[: len(data) // 2] if is_full else bytes(data)  # a full disk takes what still fits
            node, _ = self._descriptors[fd]
            assert isinstance(node, _File)
            assert real(fd, data) == len(data)
            node.write(data)
            if is_full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return len(data)

        return operation

    def _fsync(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(fd: int) -> None:
            if fd not in self._descriptors:
                real(fd)
                return
            node, path = self._descriptors[fd]
            site = self._site(path, node)
            self.sites.add(site)
            if self._step():
                if isinstance(node, _File):
                    node.refuse()
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if site != self.skips:
                node.sync()

        return operation

    _fdatasync = _fsync

    def _site(self, path: Path, node: "_File | _Folder") -> str:
        """Which fsync of the code it is: by the function that asks for it, and what it syncs."""
        frame = sys._getframe(2)
        if frame.f_code.co_name == "sync_folder":
            assert frame.f_back is not None
            frame = frame.f_back
        if isinstance(node, _File):
            what = "file again" if any(piece.synced for piece in node.pieces) else "file"
        else:
            what = "open folder" if "_open" in path.parts else "staging folder"
        return f"{frame.f_code.co_name}: {what}"


def _read(folder: Path) -> _Folder:
    """What is there, as something that was synced long ago. Two names of one file stay one file."""
    files: dict[int, _File] = {}

    def read(folder: Path) -> _Folder:
        node = _Folder()
        for path in sorted(folder.iterdir()):
            if path.is_dir():
                node.change({path.name: read(path)})
            else:
                file = files.setdefault(path.stat().st_ino, _File())
                if not file.pieces:
                    file.write(path.read_bytes())
                    file.sync()
                node.change({path.name: file})
        node.sync()
        return node

    return read(folder)
