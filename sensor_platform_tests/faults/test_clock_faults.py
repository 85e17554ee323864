"""The wall clock is set back and forward, or wrong from the start: nothing lost, overwritten or out of order."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.pipeline.process import process
from sensor_platform.routes.file import load_routes
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging, open_staging
from sensor_platform_tests.faults.tally import hours, prove_each_once
from sensor_platform_tests.faults.wall_clock import WallClock
from sensor_platform_tests.mqtt.collecting import collector_process, make_settings, publish, publisher
from sensor_platform_tests.waiting import wait_until

pytestmark = pytest.mark.slow
HOUR_S = 3600
IN_1970_S = 600 - datetime.now(UTC).timestamp()
IN_2099_S = (datetime(2099, 6, 1, tzinfo=UTC) - datetime.now(UTC)).total_seconds()


class Plant:
    """Publishes numbered messages without a time of their own, and waits until each is staged."""

    def __init__(self, broker: Any, settings: Settings, root: str) -> None:
        self._broker = broker
        self._topic = f"{root}/press/force"
        self.staging: LocalStaging = open_staging(settings)
        self.confirmed: list[bytes] = []

    def publish(self, count: int = 50) -> None:
        first = len(self.confirmed)
        payloads = [b'{"value": %d}' % n for n in range(first, first + count)]
        with publisher(self._broker) as client:
            publish(client, [(self._topic, payload) for payload in payloads])
        self.confirmed += payloads
        wait_until(lambda: self._sealed() >= len(self.confirmed), f"{len(self.confirmed)} messages", 60)

    def _sealed(self) -> int:
        return sum(map(self.staging.count, self.staging.micro_batches()))


@contextmanager
def collecting_by(clock: WallClock, settings: Settings) -> Iterator[None]:
    """A collector process that believes this clock; stopped in order, so that the next one finds nothing open."""
    with collector_process(settings, **clock.environment) as collector:
        wait_until(lambda: next(settings.home.glob("staging/_open/c0/subscriptions"), None), "granted filters", 60)
        yield
        collector.terminate()
        assert collector.wait(30) == 0, (settings.home / "collector.log").read_text()[-2000:]


def test_a_clock_set_back_and_forward_while_collecting(broker: Any, home: Path) -> None:
    settings = make_settings(broker, home, "clock-set")
    clock, plant = WallClock(home), Plant(broker, settings, "clock-set")
    with collecting_by(clock, settings):
        for offset_s in (0, -3 * HOUR_S, 2 * 60, 5 * HOUR_S, IN_2099_S, IN_1970_S, 0):
            clock.set_s(offset_s)
            plant.publish()
    prove_each_once("wall clock set while collecting", plant.confirmed, plant.staging)
    newest = plant.staging.micro_batches()[-1].hour
    print(f"received hours: {hours(plant.staging)}")
    assert newest <= datetime.now(UTC) + timedelta(hours=1), "never more than an hour ahead of the time that passed"


def test_a_clock_that_is_set_back_between_two_starts(broker: Any, home: Path) -> None:
    settings = make_settings(broker, home, "clock-starts")
    clock, plant = WallClock(home), Plant(broker, settings, "clock-starts")
    for offset_s in (0, -3 * HOUR_S, -2 * HOUR_S, 0):
        clock.set_s(offset_s)
        with collecting_by(clock, settings):
            plant.publish()
    prove_each_once("wall clock set between starts", plant.confirmed, plant.staging)
    assert "clock_is_behind" in (home / "collector.log").read_text()


@pytest.mark.parametrize(
    ("offset_s", "refused"),
    [
        pytest.param(IN_1970_S, 50, id="1970"),  # 50 readings timed by receipt: dead letters, which wait for a person
        pytest.param(IN_2099_S, 0, id="2099"),
    ],
)
def test_a_clock_that_is_wrong_at_the_start_loses_nothing(
    broker: Any, home: Path, database: Database, offset_s: float, refused: int
) -> None:
    root = f"clock-{refused}"
    settings = make_settings(broker, home, root)
    clock, plant = WallClock(home, offset_s=offset_s), Plant(broker, settings, root)
    began = datetime.now(UTC) + timedelta(seconds=offset_s)
    with collecting_by(clock, settings):
        plant.publish()
        clock.set_s(0)  # by hand, or by NTP
        plant.publish()
    with collecting_by(clock, settings):
        plant.publish()
    prove_each_once(f"wall clock in {began:%Y} at the start", plant.confirmed, plant.staging)
    report = process(plant.staging, database, load_routes(settings), settings=settings)
    found = hours(plant.staging)
    print(f"received hours: {found}; {report.messages}")
    assert found[0].startswith(f"{began:%Y}")
    assert found[-1].startswith(f"{max(began, datetime.now(UTC)):%Y}"), "set for the first time, or never back again"
    assert report.messages.staged == len(plant.confirmed)
    assert report.messages.accepted == len(plant.confirmed) - refused
    assert report.refused_by_code == ({"before_valid_time": refused} if refused else {})
    assert mismatches(database) == []
