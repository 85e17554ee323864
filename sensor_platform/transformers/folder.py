"""The folder whose *.py files bring formats. What is dropped there runs, so nobody else may be able to drop it.

A file is read once, through the descriptor whose owner and mode were looked at; compiled files beside it are not used.
"""

import importlib.util
import os
import stat
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

from sensor_platform.errors import ConfigurationError

SETTING = "SENSOR_PLATFORM_TRANSFORMERS"
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def import_folder(folder: Path) -> None:
    """Imports every *.py of the folder, by name; each stands for itself.

    Raises:
        ConfigurationError: there is no such folder; somebody else may write it or a file of it; a file raises.
    """
    for path in checked_files(folder):
        _import_file(path)


def checked_files(folder: Path) -> list[Path]:
    """The folder's files, links followed. Raises ConfigurationError where anybody else could change what they hold."""
    folder = folder.absolute()
    if not folder.is_dir():
        raise ConfigurationError(f"{SETTING}={folder}: there is no such folder")
    files = sorted(path.resolve() for path in folder.glob("*.py"))
    for holder in sorted({folder.resolve(), *(file.parent for file in files)}):
        _check(holder, holder.stat())
        for above in holder.parents:  # whoever may rename a folder above puts another one in its place
            _check(above, above.stat(), sticky_is_enough=True)
    for file in files:
        _check(file, file.stat())
    return files


def _check(path: Path, found: os.stat_result, *, sticky_is_enough: bool = False) -> None:
    if found.st_uid not in {0, os.geteuid()}:
        raise ConfigurationError(f"{SETTING}: {path} belongs to user {found.st_uid}: only you or root may own it")
    if found.st_mode & WRITABLE_BY_OTHERS and not (sticky_is_enough and found.st_mode & stat.S_ISVTX):
        raise ConfigurationError(f"{SETTING}: others may write {path}, and run code as you: chmod go-w {path}")


def _import_file(path: Path) -> None:
    name = f"transformer_file_{path.stem}"
    with path.open("rb") as file:
        _check(path, os.fstat(file.fileno()))
        source = file.read()
    module = importlib.util.module_from_spec(ModuleSpec(name, None, origin=str(path)))
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102  # the point of the folder
    except Exception as err:
        raise ConfigurationError(f"{SETTING}: {path} cannot be imported: {type(err).__name__}: {err}") from err
