"""Waiting for what other threads and processes do: looked at again and again, never longer than a deadline."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")


def wait_until(condition: Callable[[], T | None], what: str, timeout_s: float = 20, *, every_s: float = 0.05) -> T:
    """The first true answer of `condition`; fails the test with `what` when none comes in `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s} s for: {what}; last answer {answer!r}")
        threading.Event().wait(every_s)
    return answer
