"""Where a test can have this process die by SIGKILL, as if the power had gone at that very line.

Off, and one dictionary look-up long, unless the environment names a point.
"""

import os
import signal

VARIABLE = "SENSOR_PLATFORM_TEST_KILL_AT"


def kill_point(name: str) -> None:
    """Dies here when the environment names this point."""
    if os.environ.get(VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)
