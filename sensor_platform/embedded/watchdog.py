"""Ends the parts when `up` was killed: `python -m ...watchdog HOME PID STARTED_AT`, its stdin a pipe from `up`.

The death signal reaches each part itself; this reaches what they started, such as the workers of Dagster's runs, and
what is too slow. A process of its own, since nothing in a process survives its SIGKILL.
"""

import os
import signal
import sys
import time
from pathlib import Path

from sensor_platform.embedded.leftovers import (
    Identity,
    PlatformRunningError,
    end_leftovers,
    platform_lock,
    read_processes,
)

#: What the parts have to end by themselves: collectors seal, PostgreSQL writes its checkpoint.
GRACE_S = 4.0


def main(home: Path, platform: Identity) -> None:
    """Waits until the pipe closes, which it does however `up` ends."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    while os.read(sys.stdin.fileno(), 1):
        pass
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline:
        record = read_processes(home)
        if record is None or record.platform != platform:
            return  # a clean stop, or a new platform that has seen to it
        if not any(part.lives for part in record.parts.values()):
            break
        time.sleep(0.1)
    try:
        with platform_lock(home, patience_s=0):
            record = read_processes(home)
            if record is not None and record.platform == platform:
                end_leftovers(home, grace_s=1)
    except PlatformRunningError:
        return


if __name__ == "__main__":
    main(Path(sys.argv[1]), Identity(int(sys.argv[2]), float(sys.argv[3])))
