"""What is said of a wall clock, by where it stands beside the received times and the database's clock."""

import pytest

from sensor_platform.mqtt.findings import of_clock
from sensor_platform.staging.clock import ReceivedClock
from sensor_platform.staging.format import HOUR_US

NOW_US = 1_800_000_000_000_000


@pytest.mark.parametrize(
    ("began_us", "wall_us", "after_us", "database_off_s", "kind"),
    [
        (NOW_US, NOW_US, 0, 0.0, None),
        (NOW_US, NOW_US + 30_000_000, 0, 30.0, None),
        (12_000_000, 12_000_000, 0, -1.8e9, "clock_never_set"),
        (NOW_US, NOW_US, 0, 120.0, "clock_differs"),
        (NOW_US, NOW_US, 0, -120.0, "clock_differs"),
        (NOW_US, NOW_US, NOW_US + 3 * HOUR_US, 0.0, "received_times_ahead"),
        (NOW_US, NOW_US + 9 * HOUR_US, 0, 0.0, "received_times_behind"),
    ],
)
def test_a_wrong_clock_is_told_by_what_is_wrong(
    began_us: int, wall_us: int, after_us: int, database_off_s: float, kind: str | None
) -> None:
    wall = [began_us]
    clock = ReceivedClock(after_us=after_us, wall_ns=lambda: wall[0] * 1000, monotonic_ns=lambda: 0)
    wall[0] = wall_us
    found = of_clock(clock, database_off_s=database_off_s)
    assert (found and found.kind) == kind


def test_it_says_by_how_much() -> None:
    clock = ReceivedClock(after_us=NOW_US + 3 * HOUR_US, wall_ns=lambda: NOW_US * 1000, monotonic_ns=lambda: 0)
    found = of_clock(clock, database_off_s=0)
    assert found is not None
    assert "received 3:00:00 ahead of this machine's clock" in found.detail
