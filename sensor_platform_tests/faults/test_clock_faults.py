"""The wall clock is set back and forward, or wrong from the start: nothing lost, overwritten or out of order."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform_tests.faults.plant import Plant
from sensor_platform_tests.faults.tally import hours, prove_each_once
from sensor_platform_tests.faults.wall_clock import WallClock
from sensor_platform_tests.waiting import wait_until

pytestmark = pytest.mark.slow
HOUR_S = 3600
IN_1970_S = 600 - datetime.now(UTC).timestamp()
IN_2099_S = (datetime(2099, 6, 1, tzinfo=UTC) - datetime.now(UTC)).total_seconds()


def test_a_clock_set_back_and_forward_while_collecting(own_broker: EmbeddedBroker, home: Path) -> None:
    clock, plant = WallClock(home), Plant(own_broker, home, "clock-set")
    with plant.collecting(**clock.environment):
        for offset_s in (0, -3 * HOUR_S, 2 * 60, 5 * HOUR_S, IN_2099_S, IN_1970_S, 0):
            clock.set_s(offset_s)
            plant.publish()
            plant.wait_staged()
    prove_each_once("wall clock set while collecting", plant.confirmed, plant.staging)
    newest = plant.staging.micro_batches()[-1].hour
    print(f"received hours: {hours(plant.staging)}")
    assert newest <= datetime.now(UTC) + timedelta(hours=1), "never more than an hour ahead of the time that passed"


def test_a_clock_that_is_set_back_between_two_starts(own_broker: EmbeddedBroker, home: Path) -> None:
    clock, plant = WallClock(home), Plant(own_broker, home, "clock-starts")
    for offset_s in (0, -3 * HOUR_S, -2 * HOUR_S, 0):
        clock.set_s(offset_s)
        with plant.collecting(**clock.environment):
            plant.publish()
            plant.wait_staged()
    prove_each_once("wall clock set between starts", plant.confirmed, plant.staging)
    assert plant.log.count("received_times_ahead") == 2, "told at each of the starts that were too early"


@pytest.mark.parametrize(
    ("offset_s", "refused", "told", "told_later"),
    [
        # 50 readings timed by receipt are dead letters, which wait for a person.
        pytest.param(IN_1970_S, 50, ["clock_never_set"], [], id="1970"),
        pytest.param(IN_2099_S, 0, ["clock_differs"], ["received_times_ahead"], id="2099"),
    ],
)
def test_a_clock_that_is_wrong_at_the_start_loses_nothing(
    own_broker: EmbeddedBroker,
    home: Path,
    database: Database,
    offset_s: float,
    refused: int,
    told: list[str],
    told_later: list[str],
) -> None:
    clock = WallClock(home, offset_s=offset_s)
    plant = Plant(own_broker, home, f"clock-{refused}", database_url=database.url)
    began = datetime.now(UTC) + timedelta(seconds=offset_s)
    with plant.collecting(**clock.environment) as collector:
        plant.publish()
        plant.wait_staged()
        wait_until(lambda: plant.warnings(collector) == told, f"{told} in the heartbeat")
        clock.set_s(0)  # by hand, or by NTP
        plant.publish()
        plant.wait_staged()
        wait_until(lambda: plant.warnings(collector) == told_later, f"{told_later} in the heartbeat")
    with plant.collecting(**clock.environment):
        plant.publish()
        plant.wait_staged()
    values = plant.prove_loaded(f"wall clock in {began:%Y} at the start", database)
    found = hours(plant.staging)
    print(f"received hours: {found}")
    assert found[0].startswith(f"{began:%Y}")
    assert found[-1].startswith(f"{max(began, datetime.now(UTC)):%Y}"), "set for the first time, or never back again"
    assert values == dict.fromkeys(range(refused, 150), 1)
    letters = plant.cli("dead-letters", "list")
    assert [(each["stage"], each["code"]) for each in letters] == [("time", "before_valid_time")] * refused


def test_received_times_that_are_ahead_begin_anew_as_the_warning_says(
    own_broker: EmbeddedBroker, home: Path, database: Database
) -> None:
    clock = WallClock(home, offset_s=IN_2099_S)
    plant = Plant(own_broker, home, "clock-anew", database_url=database.url)
    with plant.collecting(**clock.environment):
        plant.publish()
        plant.wait_staged()
    clock.set_s(0)
    (state,) = home.glob("staging/_open/*/state")
    state.rename(home / "state")
    with plant.collecting(**clock.environment):
        plant.publish()
        plant.wait_staged()
    found = hours(plant.staging)
    print(f"received hours: {found}")
    assert [hour[:4] for hour in found] == [f"{datetime.now(UTC):%Y}", "2099"]
    assert plant.load(database) == dict.fromkeys(range(100), 1)
