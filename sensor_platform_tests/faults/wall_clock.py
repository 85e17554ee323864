"""A wall clock that a test sets while a process runs; its monotonic clocks go on as they are (libfaketime)."""

import shutil
import subprocess
from pathlib import Path

from sensor_platform_tests.conftest import missing_tool


class WallClock:
    """Of processes started with `environment`: `set_s` moves it, at once."""

    def __init__(self, folder: Path, *, offset_s: float = 0) -> None:
        self._stamp = folder / "wall clock"
        self.set_s(offset_s)
        self.environment = {
            "LD_PRELOAD": _library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._stamp),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set_s(self, offset_s: float) -> None:
        """Seconds by which it leads the true time."""
        part = self._stamp.with_suffix(".new")
        part.write_text(f"{offset_s:+.0f}\n")
        part.replace(self._stamp)


def _library() -> str:
    """The library that `faketime` preloads, as it says itself."""
    if shutil.which("faketime") is None:
        missing_tool("faketime is not installed")
    command = ["faketime", "-m", "-f", "+0", "printenv", "LD_PRELOAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
