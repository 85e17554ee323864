"""When a message was received: UTC microseconds that only go up, and hours that never run ahead of time that passed.

A wall clock may be wrong, or be set right while we run. What comes out of here never repeats and never goes back, and
within a process it leads the time that passed by an hour at most: a clock that jumps to 2099 makes no such files. One
that was never set, as on a machine that keeps no time while it is off, is believed once it is set.
"""

import time
from collections.abc import Callable

from sensor_platform.staging.format import HOUR_US

#: Goes on while the machine sleeps: after that the wall clock is ahead of `time.monotonic`, and right.
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

#: 2001-01-01, the earliest valid time: a clock before it was never set.
SET_FROM_US = 978_307_200_000_000


def _passed_ns() -> int:
    return time.clock_gettime_ns(CLOCK)


class ReceivedClock:
    """One an incarnation. `after_us`: the last time handed out before this process began."""

    def __init__(
        self,
        *,
        after_us: int = 0,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = _passed_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._last_us = after_us
        self._offset_us = self._offset_now_us()

    @property
    def last_us(self) -> int:
        """The newest time handed out."""
        return self._last_us

    @property
    def wall_us(self) -> int:
        """What the wall clock says."""
        return self._wall_ns() // 1000

    @property
    def next_us(self) -> int:
        """What a message gets that comes now; another time than the wall clock's when that is, or was, wrong."""
        return max(self._now_us(), self._last_us + 1)

    def take(self, count: int = 1) -> int:
        """The first of `count` times, one microsecond apart; none of them was handed out before."""
        first = self.next_us
        self._last_us = first + count - 1
        return first

    def _now_us(self) -> int:
        wall, passed = self.wall_us, self._offset_us + self._monotonic_ns() // 1000
        if passed < SET_FROM_US <= wall:
            self._offset_us, passed = self._offset_now_us(), wall
        return min(wall, passed + HOUR_US)

    def _offset_now_us(self) -> int:
        """With the time that passes it gives what the wall clock says if nobody touches it from now on."""
        return self.wall_us - self._monotonic_ns() // 1000
