"""Received times only go up, whatever the wall clock does."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor_platform.staging.clock import ReceivedClock
from sensor_platform.staging.format import HOUR_US

SECOND = 1_000_000


class Clocks:
    """A wall clock and a monotonic clock, set by hand; microseconds."""

    def __init__(self, wall_us: int = 1_800_000_000 * SECOND) -> None:
        self.wall_us = wall_us
        self.monotonic_us = 0

    def pass_us(self, us: int) -> None:
        self.wall_us += us
        self.monotonic_us += us

    def clock(self, after_us: int = 0) -> ReceivedClock:
        return ReceivedClock(
            after_us=after_us, wall_ns=lambda: self.wall_us * 1000, monotonic_ns=lambda: self.monotonic_us * 1000
        )


def test_a_group_gets_times_one_microsecond_apart() -> None:
    clocks = Clocks()
    clock = clocks.clock()
    assert clock.take(3) == clocks.wall_us
    assert clock.take() == clocks.wall_us + 3


def test_after_the_machine_slept_the_wall_clock_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Where the system has a clock that goes on while it sleeps: `time.monotonic` does not.
    real, asleep_ns = time.clock_gettime_ns, 0
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: real(clock) + asleep_ns)
    wall = Clocks()
    clock = ReceivedClock(wall_ns=lambda: wall.wall_us * 1000 + asleep_ns)
    asleep_ns = 8 * HOUR_US * 1000
    assert clock.take() == wall.wall_us + 8 * HOUR_US


def test_a_clock_set_back_does_not_go_back() -> None:
    clocks = Clocks()
    clock = clocks.clock()
    first = clock.take()
    clocks.wall_us -= 3 * HOUR_US
    assert clock.take() == first + 1
    assert clock.next_us == first + 2


def test_a_clock_that_jumps_ahead_leads_by_an_hour_at_most() -> None:
    clocks = Clocks()
    clock = clocks.clock()
    began = clock.take()
    clocks.wall_us += 70 * 365 * 24 * HOUR_US
    clocks.pass_us(10 * SECOND)
    assert clock.take() == began + 10 * SECOND + HOUR_US


def test_a_clock_that_was_never_set_is_believed_once_it_is() -> None:
    clocks = Clocks(wall_us=12 * SECOND)
    clock = clocks.clock()
    assert clock.take() == 12 * SECOND
    clocks.wall_us = 1_800_000_000 * SECOND
    assert clock.take() == clocks.wall_us
    clocks.wall_us += 24 * HOUR_US
    assert clock.take() == 1_800_000_000 * SECOND + HOUR_US, "believed once, and held to it from then on"


def test_a_restart_goes_on_after_what_was_handed_out() -> None:
    clocks = Clocks()
    later = clocks.wall_us + 5 * SECOND
    assert clocks.clock(after_us=later).take() == later + 1


@given(st.lists(st.tuples(st.integers(-(10**13), 10**13), st.integers(0, 10**10), st.integers(1, 1000)), max_size=30))
def test_times_are_strictly_increasing(steps: list[tuple[int, int, int]]) -> None:
    clocks = Clocks()
    clock = clocks.clock()
    last = 0
    for wall_jump_us, passed_us, count in steps:
        clocks.wall_us = max(0, clocks.wall_us + wall_jump_us)
        clocks.pass_us(passed_us)
        first = clock.take(count)
        assert first > last
        last = first + count - 1
        assert clock.last_us == last
