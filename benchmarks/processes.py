"""Processes that are started beside each other, spoken with by lines, and gone at the end."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import IO, Literal

import psutil

#: The longest that anything here may stay silent.
LIMIT_S = 120
ROOT = Path(__file__).parents[1]

Process = AbstractContextManager[subprocess.Popen[str]]


def feed(name: str, *arguments: str) -> Process:
    """A module of this package that says `ready`, waits for a line and begins."""
    return process([sys.executable, "-m", f"benchmarks.{name}", *arguments], says="stdout")


@contextmanager
def process(
    command: list[str], *, says: Literal["stdout", "stderr"], environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Gone at the end, whatever happened. Its words are read from one stream."""
    environ = {**os.environ, **(environment or {})}
    streams = {"stdin": PIPE, "stdout": DEVNULL, "stderr": None, says: PIPE}
    started = subprocess.Popen(command, cwd=ROOT, env=environ, text=True, **streams)  # type: ignore[call-overload]
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def go(process: subprocess.Popen[str]) -> None:
    """What it waits for."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def next_line(stream: IO[str] | None, *expected: str) -> str:
    """The next line, which is one of those expected, if any are; "" at the end of the stream."""
    assert stream is not None
    if not select.select([stream], [], [], LIMIT_S)[0]:
        raise TimeoutError(f"nothing happened for {LIMIT_S} s")
    said = stream.readline().strip()
    if expected and said not in expected:
        raise RuntimeError(f"{said}\n{stream.read()}")
    return said


def cpu_s(process: subprocess.Popen[str]) -> float:
    """User and system time until now; one that ended tells it too, until somebody waits for it."""
    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system
