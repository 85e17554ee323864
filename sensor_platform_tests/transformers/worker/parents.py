"""Processes that have a worker, for tests of what becomes of it when they fork or end."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os, sys
from pathlib import Path
from sensor_platform_tests.transformers.formats import decoded_by, routes_of, worker_pid
routes = routes_of(Path({folder!r}), "trouble")
print(worker_pid(routes), flush=True)
{then}
"""


def run_script(folder: Path, then: str) -> "subprocess.Popen[str]":
    script = SCRIPT.format(folder=str(folder), then=then)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
