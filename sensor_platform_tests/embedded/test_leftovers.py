"""What a killed platform left is ended; what only has its number is not touched."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sensor_platform.embedded.leftovers import (
    Identity,
    PlatformRunningError,
    Processes,
    end_leftovers,
    platform_lock,
    read_processes,
)
from sensor_platform.embedded.process import Child, Command, is_alive, start_time
from sensor_platform_tests.embedded.test_process import first_line, gone

SLEEPER = "import time; time.sleep(600)"
DEAD = Identity(2**22 - 1, 1.0)


@pytest.fixture
def sleeper(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=True) as process:
        yield process
        process.kill()


def test_a_recorded_process_is_ended(home: Path, sleeper: subprocess.Popen[bytes]) -> None:
    Processes(DEAD, {"collector": Identity(sleeper.pid, start_time(sleeper.pid))}).write(home)
    assert end_leftovers(home) == ["collector"]
    assert sleeper.wait(5) != 0
    assert read_processes(home) is None


def test_a_process_that_only_has_the_pid_is_left_alone(home: Path, sleeper: subprocess.Popen[bytes]) -> None:
    started_at = start_time(sleeper.pid)
    Processes(DEAD, {"collector": Identity(sleeper.pid, started_at - 60)}).write(home)
    assert end_leftovers(home) == []
    assert is_alive(sleeper.pid, started_at)


def test_without_a_record_there_is_nothing_to_do(home: Path) -> None:
    assert end_leftovers(home) == []
    (home / "processes.json").write_text("{")
    assert read_processes(home) is None


def test_a_home_has_one_platform(home: Path) -> None:
    with platform_lock(home), pytest.raises(PlatformRunningError, match="already runs in"), platform_lock(home):
        pass
    with platform_lock(home):
        assert (home / "lock").exists()


def test_one_that_lives_is_not_waited_for(home: Path, sleeper: subprocess.Popen[bytes]) -> None:
    Processes(Identity(sleeper.pid, start_time(sleeper.pid))).write(home)
    refused = pytest.raises(PlatformRunningError, match=f"pid {sleeper.pid}")
    with platform_lock(home), refused, platform_lock(home, patience_s=600):
        pass


#: A part that starts a worker, as a code server does, and says the worker's pid.
WITH_WORKER = f"""
import subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}])
print(worker.pid, flush=True)
time.sleep(600)
"""


def test_the_watchdog_ends_the_workers_of_a_killed_platform(home: Path) -> None:
    command = Command((sys.executable, "-c", WITH_WORKER), environment={"SENSOR_PLATFORM_HOME": str(home)})
    part = Child(command, log=home / "log")
    worker = int(first_line(home / "log"))
    Processes(DEAD, {"code_server": Identity(part.pid, part.started_at)}).write(home)
    (home / "run.json").write_text("{}")
    part._process.kill()  # as the death signal does
    part._process.wait(5)
    arguments = [sys.executable, "-m", "sensor_platform.embedded.watchdog", str(home), str(DEAD.pid), "1.0"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE) as watchdog:
        assert watchdog.stdin is not None
        assert not gone(worker, within_s=0.5)  # its pipe is open: the platform lives
        watchdog.stdin.close()
        assert watchdog.wait(10) == 0
    assert gone(worker, within_s=1)
    assert not (home / "run.json").exists()
    assert read_processes(home) is None


def test_the_watchdog_of_an_old_platform_leaves_the_new_one_alone(home: Path, sleeper: subprocess.Popen[bytes]) -> None:
    started_at = start_time(sleeper.pid)
    Processes(Identity(1, 2.0), {"collector": Identity(sleeper.pid, started_at)}).write(home)
    arguments = [sys.executable, "-m", "sensor_platform.embedded.watchdog", str(home), str(DEAD.pid), "1.0"]
    assert subprocess.run(arguments, stdin=subprocess.DEVNULL, timeout=30, check=False).returncode == 0
    assert is_alive(sleeper.pid, started_at)
