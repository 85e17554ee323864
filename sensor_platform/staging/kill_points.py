"""Where a test can have this process die by SIGKILL, as if the power had gone at that very line.

Off unless the environment names a point when the process starts: `after_sync`, or `after_sync:5` for the fifth time
that it is passed.
"""

import os
import signal
from collections import Counter

VARIABLE = "SENSOR_PLATFORM_TEST_KILL_AT"
_WANTED = os.environ.get(VARIABLE)
_passed: Counter[str] = Counter()


def kill_point(name: str) -> None:
    """Dies here when the environment names this point."""
    if _WANTED is None:
        return
    _passed[name] += 1
    if _WANTED in (name, f"{name}:{_passed[name]}"):
        os.kill(os.getpid(), signal.SIGKILL)
