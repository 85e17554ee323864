"""Starts parts in order, each when those that it needs answer, and starts them again when they die.

One thread does it all, from the first fork to the last wait: the death signal of a part is tied to the thread that
started it. Why not circus or supervisord: docs/decisions/0001-supervisor.md.
"""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sensor_platform.embedded.process import Child, Command
from sensor_platform.errors import EXIT_CONFIGURATION, ConfigurationError, SensorPlatformError

TURN_S = 0.1
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
#: After so long in one piece, the next death counts as the first one again.
STEADY_S = 60.0
#: A part that never answered and died so often will not answer at all.
MOST_FAILED_STARTS = 5
LONGEST_LOG_BYTES = 20_000_000


class PartFailedError(SensorPlatformError):
    """A part does not start."""


class State(StrEnum):
    """Of a part. WAITING: for parts that it needs. BACKOFF: for its next start."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Part:
    """What to run, and how to know that it answers. `needs` counts at its first start only: the collector comes back
    without a database."""

    name: str
    command: Callable[[], Command]
    answers: Callable[[Child], bool]
    needs: tuple[str, ...] = ()
    port: int = 0
    start_within_s: float = 120.0
    stop_within_s: float = 15.0


class Supervised:
    """One part under supervision, and what has become of it."""

    def __init__(self, part: Part, log: Path) -> None:
        self.part = part
        self.log = log
        self.state = State.WAITING
        self.child: Child | None = None
        self.restarts = 0
        self.was_ready = False
        self._failures = 0
        self._since = 0.0

    def start(self) -> None:
        self.child = Child(self.part.command(), log=self.log)
        self._enter(State.STARTING)

    def looks_ready(self) -> bool:
        """Asks a starting part; True once, when it answers."""
        if self.child is None or not self.part.answers(self.child):
            return False
        self.was_ready = True
        self._enter(State.RUNNING)
        return True

    def seconds_in_state(self) -> float:
        return time.monotonic() - self._since

    def failed(self) -> float:
        """Goes to BACKOFF after a death or a start that failed; the seconds until the next start."""
        if self.state is State.RUNNING and self.seconds_in_state() > STEADY_S:
            self._failures = 0
        self._failures += 1
        self._enter(State.BACKOFF)
        return self.backoff_s

    @property
    def backoff_s(self) -> float:
        return min(FIRST_BACKOFF_S * 2.0 ** (self._failures - 1), LONGEST_BACKOFF_S)

    @property
    def never_starts(self) -> bool:
        return not self.was_ready and self._failures >= MOST_FAILED_STARTS

    def _enter(self, state: State) -> None:
        self.state = state
        self._since = time.monotonic()


class Supervisor:
    """Runs `parts` until it is told to stop; `stop_order` names groups that are stopped together."""

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        logs: Path,
        stop_order: Sequence[Sequence[str]],
        on_event: Callable[[str], None],
        on_change: Callable[["Supervisor"], None],
    ) -> None:
        self.parts = {part.name: Supervised(part, logs / f"{part.name}.log") for part in parts}
        self._stop_order = stop_order
        self._on_event = on_event
        self._on_change = on_change

    @property
    def all_run(self) -> bool:
        return all(one.state is State.RUNNING for one in self.parts.values())

    def run(self, stop: threading.Event) -> None:
        """Supervises until `stop` is set, then stops every part in order, also when it fails.

        Raises:
            PartFailedError: a part does not start.
            ConfigurationError: a part says that its settings are bad.
        """
        try:
            while not stop.is_set():
                for one in self.parts.values():
                    self._turn(one)
                stop.wait(TURN_S)
        finally:
            self._stop()

    def _turn(self, one: Supervised) -> None:
        match one.state:
            case State.WAITING:
                if all(self.parts[name].was_ready for name in one.part.needs if name in self.parts):
                    self._start(one)
            case State.STARTING:
                if self._is_dead(one) or one.seconds_in_state() > one.part.start_within_s:
                    self._bury(one)
                elif one.looks_ready():
                    if one.restarts:
                        self._on_event(f"{one.part.name}: answers again")
                    self._on_change(self)
            case State.RUNNING:
                if self._is_dead(one):
                    self._bury(one)
                elif one.child is not None:
                    one.child.cut_log(at_bytes=LONGEST_LOG_BYTES)
            case State.BACKOFF:
                if one.seconds_in_state() >= one.backoff_s:
                    one.restarts += 1
                    self._start(one)

    def _is_dead(self, one: Supervised) -> bool:
        return one.child is not None and one.child.exit_code() is not None

    def _start(self, one: Supervised) -> None:
        try:
            one.start()
        except OSError as err:  # a full disk, or no room for a process: it may pass, and the others go on
            self._again_later(one, f"{one.part.name}: cannot be started: {err}")
        else:
            self._on_change(self)

    def _bury(self, one: Supervised) -> None:
        child = one.child
        assert child is not None
        code = child.exit_code()
        if code is None:
            how = f"did not answer within {one.part.start_within_s:.0f} s"
            child.stop(grace_s=5)
        else:
            how = how_it_ended(code)
        words = child.last_words()
        said = f"{one.part.name}: {how}" + (f": {words}" if words else "")
        if code == EXIT_CONFIGURATION and not one.was_ready:
            raise ConfigurationError(said)
        # Workers of a dead code server would hold Dagster's pool with nobody to say how their runs ended. Their
        # transactions roll back; the sensors see that the run's process is gone and ask for the work again.
        child.end_rest()
        self._again_later(one, said)

    def _again_later(self, one: Supervised, said: str) -> None:
        backoff_s = one.failed()
        if one.never_starts:
            raise PartFailedError(f"{said}. It failed {MOST_FAILED_STARTS} times; see {one.log}")
        self._on_event(f"{said}. Starts again in {backoff_s:.1f} s")
        self._on_change(self)

    def _stop(self) -> None:
        for group in self._stop_order:
            members = [self.parts[name] for name in group if name in self.parts]
            for one in members:
                if one.child is not None:
                    one.child.ask_to_stop()
            for one in members:
                if one.child is not None:
                    one.child.stop(grace_s=one.part.stop_within_s)
                one.state = State.STOPPED


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
