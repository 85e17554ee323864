"""Real processes: a part ends with everything that it started, and with its parent."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from sensor_platform.embedded.process import Child, Command, end, is_alive, session_members, start_time
from sensor_platform_tests.waiting import wait_until

SLEEPER = "import time; time.sleep(600)"
#: A part with a child of its own; it says both pids.
FAMILY = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""
#: A parent that starts a part as `up` does, and waits to be killed.
PARENT = f"""
import sys, time
from pathlib import Path
from sensor_platform.embedded.process import Child, Command
child = Child(Command((sys.executable, "-c", {SLEEPER!r})), log=Path(sys.argv[1]))
print(child.pid, flush=True)
time.sleep(600)
"""


def python(code: str) -> Command:
    return Command((sys.executable, "-c", code))


def first_line(path: Path) -> str:
    """The first whole line of a file that a process writes."""
    wait_until(lambda: path.exists() and "\n" in path.read_text(), f"a line in {path}")
    return path.read_text().splitlines()[0]


def gone(pid: int, *, within_s: float = 10) -> bool:
    """Whether it ended in time; an orphan that its new parent has not reaped yet has ended."""
    pause, deadline = threading.Event(), time.monotonic() + within_s
    while is_alive(pid, start_time(pid)):
        if time.monotonic() > deadline:
            return False
        pause.wait(0.05)
    return True


def test_a_part_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent:
        part = int(parent.stdout.readline())
        assert psutil.pid_exists(part)
        parent.kill()
        assert gone(part)


def test_stop_ends_the_children_of_a_part_too(tmp_path: Path) -> None:
    child = Child(python(FAMILY), log=tmp_path / "log")
    _, grandchild = map(int, first_line(tmp_path / "log").split())
    assert child.stop() == -signal.SIGTERM
    assert gone(grandchild, within_s=1)


def test_what_a_killed_part_leaves_is_ended(tmp_path: Path) -> None:
    child = Child(python(FAMILY), log=tmp_path / "log")
    pid, grandchild = map(int, first_line(tmp_path / "log").split())
    os.kill(pid, signal.SIGKILL)
    assert child._process.wait(5) == -signal.SIGKILL
    assert psutil.pid_exists(grandchild)
    assert child.end_rest() == 1
    assert gone(grandchild, within_s=1)


def test_a_part_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    deaf = f"{ignore}; print('deaf', flush=True); {SLEEPER}"
    child = Child(python(deaf), log=tmp_path / "log")
    assert first_line(tmp_path / "log") == "deaf"
    assert child.stop(grace_s=0.2) == -signal.SIGKILL


def test_last_words_are_of_this_start_only(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("of an earlier start\n")
    child = Child(python("print('one'); print('two')"), log=tmp_path / "log")
    child._process.wait(10)
    assert child.last_words() == "two"
    silent = Child(python(""), log=tmp_path / "log")
    silent._process.wait(10)
    assert silent.last_words() == ""


def test_a_long_log_is_cut_while_its_process_writes_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = Child(python(f"import sys; print('x' * 5000, flush=True); sys.stdin.read(); {SLEEPER}"), log=log)
    assert first_line(log) == "x" * 5000
    child.cut_log(at_bytes=6000)
    assert log.stat().st_size == 5001
    child.cut_log(at_bytes=1000)
    assert log.stat().st_size == 0
    assert (tmp_path / "log.1").stat().st_size == 5001
    with log.open("a") as same:
        same.write("and on\n")
    assert child.last_words() == "and on"
    child.stop()


def test_a_pid_with_another_start_time_is_another_process() -> None:
    assert is_alive(os.getpid(), start_time(os.getpid()))
    assert not is_alive(os.getpid(), start_time(os.getpid()) - 100)


def test_ending_nothing_is_quick() -> None:
    end([], grace_s=60)
    assert session_members(2**22 + 1) == []


def test_a_part_that_is_asked_and_then_stopped_hears_one_signal(tmp_path: Path) -> None:
    code = (
        "import signal, time; heard = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: heard.append(1)); print('ready', flush=True)\n"
        "while not heard: time.sleep(0.01)\n"
        "time.sleep(0.5); print(len(heard), flush=True)"
    )
    part = Child(python(code), log=tmp_path / "log")
    assert first_line(part.log) == "ready"
    part.ask_to_stop()  # a second one would end a collector at once
    assert part.stop() == 0
    assert part.last_words() == "1"
