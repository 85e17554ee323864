"""The supervisor with real child processes: order, restarts, giving up, stopping."""

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sensor_platform.embedded.process import Child, Command
from sensor_platform.embedded.supervisor import Part, PartFailedError, State, Supervisor, how_it_ended
from sensor_platform.errors import ConfigurationError

SLEEPER = "import time; time.sleep(600)"


def part(name: str, code: str = SLEEPER, *, needs: tuple[str, ...] = (), answers: bool = True) -> Part:
    return Part(name, lambda: Command((sys.executable, "-c", code)), lambda _: answers, needs=needs)


class Watched:
    """A supervisor in its thread, and what it says."""

    def __init__(self, parts: list[Part], logs: Path) -> None:
        self.events: list[str] = []
        self.started: list[str] = []
        self.changed = threading.Condition()
        self.stop = threading.Event()
        self.failure: BaseException | None = None
        order = [[one.name] for one in reversed(parts)]
        self.supervisor = Supervisor(
            parts, logs=logs, stop_order=order, on_event=self.events.append, on_change=self._on_change
        )
        self.thread = threading.Thread(target=self._run, name="supervisor")

    def _on_change(self, supervisor: Supervisor) -> None:
        with self.changed:
            for name, one in supervisor.parts.items():
                if one.state is not State.WAITING and name not in self.started:
                    self.started.append(name)
            self.changed.notify_all()

    def _run(self) -> None:
        try:
            self.supervisor.run(self.stop)
        except BaseException as err:
            self.failure = err
        with self.changed:
            self.changed.notify_all()

    def wait(self, condition: Callable[[], bool], *, timeout_s: float = 20) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, timeout_s), (self.events, self.failure)

    def child(self, name: str) -> Child:
        child = self.supervisor.parts[name].child
        assert child is not None
        return child


@contextmanager
def watched(parts: list[Part], logs: Path) -> Iterator[Watched]:
    found = Watched(parts, logs)
    found.thread.start()
    try:
        yield found
    finally:
        found.stop.set()
        found.thread.join(30)


def test_a_part_waits_for_those_that_it_needs(tmp_path: Path) -> None:
    parts = [part("late", needs=("early",)), part("early"), part("never", needs=("mute",)), part("mute", answers=False)]
    with watched(parts, tmp_path) as found:
        found.wait(lambda: found.supervisor.parts["late"].state is State.RUNNING)
        assert found.started.index("early") < found.started.index("late")
        assert found.supervisor.parts["never"].state is State.WAITING


def test_a_killed_part_is_started_again_and_it_is_said(tmp_path: Path) -> None:
    with watched([part("one", f"print('last line', flush=True); {SLEEPER}")], tmp_path) as found:
        one = found.supervisor.parts["one"]
        found.wait(lambda: found.supervisor.all_run)
        log = tmp_path / "one.log"
        pause = threading.Event()
        while "last line" not in log.read_text():
            pause.wait(0.05)
        first = found.child("one").pid
        os.kill(first, signal.SIGKILL)
        found.wait(lambda: one.restarts == 1 and one.state is State.RUNNING)
        assert found.child("one").pid != first
        assert found.events == ["one: ended by SIGKILL: last line. Starts again in 0.5 s", "one: answers again"]


def test_the_backoff_doubles_and_a_part_that_never_starts_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sensor_platform.embedded.supervisor.FIRST_BACKOFF_S", 0.05)
    with watched([part("good"), part("bad", "raise SystemExit('no licence')", answers=False)], tmp_path) as found:
        found.thread.join(30)
        assert isinstance(found.failure, PartFailedError)
        assert "bad: ended with exit code 1: no licence. It failed 5 times" in str(found.failure)
        assert [event.rpartition("in ")[2] for event in found.events] == ["0.1 s", "0.1 s", "0.2 s", "0.4 s"]
        assert found.child("good").exit_code() == -signal.SIGTERM


def test_bad_settings_end_the_platform_at_once(tmp_path: Path) -> None:
    with watched([part("bad", "raise SystemExit(78)", answers=False)], tmp_path) as found:
        found.thread.join(30)
        assert isinstance(found.failure, ConfigurationError)
        assert found.events == []


def test_stop_goes_backwards(tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = (
        "import signal, sys, time\n"
        "def stop(*_):\n    open({path!r}, 'a').write({name!r} + '\\n'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop); print('up', flush=True); time.sleep(600)"
    )

    def says_up(child: Child) -> bool:
        return child.last_words() == "up"

    parts = [
        Part(name, lambda n=name: Command((sys.executable, "-c", code.format(path=str(order), name=n))), says_up)  # type: ignore[misc]
        for name in ("first", "second", "third")
    ]
    with watched(parts, tmp_path) as found:
        found.wait(lambda: found.supervisor.all_run)
    assert order.read_text().split() == ["third", "second", "first"]
    assert all(one.state is State.STOPPED for one in found.supervisor.parts.values())


@pytest.mark.parametrize(("code", "words"), [(-9, "ended by SIGKILL"), (3, "ended with exit code 3")])
def test_an_end_is_said_in_words(code: int, words: str) -> None:
    assert how_it_ended(code) == words


def test_a_part_that_cannot_be_started_for_now_is_tried_again_and_the_others_stay(tmp_path: Path) -> None:
    """As on a full disk, when a part is to write its configuration."""
    attempts: list[str] = []

    def command() -> Command:
        attempts.append("one more")
        if len(attempts) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return Command((sys.executable, "-c", SLEEPER))

    with watched([part("first"), Part("second", command, lambda _: True)], tmp_path) as found:
        found.wait(lambda: found.supervisor.all_run)
        assert found.supervisor.parts["first"].restarts == 0
        assert found.supervisor.parts["second"].restarts == 2
        assert "No space left on device" in found.events[0]
