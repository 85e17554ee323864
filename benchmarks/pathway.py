"""Pathway in an environment of its own: it wants gigabytes that nobody needs who does not measure it."""

import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.processes import ROOT

PLACE = ROOT / "build" / "pathway"
INSTALL_LIMIT_S = 900


class PathwayUnavailableError(Exception):
    """It could not be installed, or does not start; the text says why."""


def pathway_python() -> str:
    """The interpreter that has Pathway. The first call installs it below `build/`, which takes minutes."""
    python = PLACE / "bin" / "python"
    if not _starts(python):
        print(f"installing pathway into {PLACE}", file=sys.stderr, flush=True)
        venv.create(PLACE, with_pip=True, clear=True)
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pathway"])
        _run([str(python), "-c", "import pathway"])
    return str(python)


def pathway_version(python: str) -> str:
    return _run([python, "-c", "import pathway; print(pathway.__version__)"]).strip()


def _starts(python: Path) -> bool:
    try:
        _run([str(python), "-c", "import pathway"])
    except PathwayUnavailableError:
        return False
    return True


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise PathwayUnavailableError(str(err)) from err
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise PathwayUnavailableError(last)
    return done.stdout
