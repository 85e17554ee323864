"""Another unit reaches the rollups of readings that retention deleted: they are as if the readings were still there."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.expiry import expire
from sensor_platform.pipeline.registry import set_sensor
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, load, rows, stage, value
from sensor_platform_tests.pipeline.test_any_order import roll_up_marked
from sensor_platform_tests.pipeline.test_units import in_unit, unit_of

#: Readings of September go, those of October stay.
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SEPTEMBER = datetime(2026, 9, 30, 22, 58, tzinfo=UTC)
LEVELS = {"minute": "metrics_minute", "hour": "metrics_hourly", "day": "metrics_daily"}


def sent(**named: Any) -> list[Any]:
    """Three minutes of two hours of September, and one of today."""
    seconds = {0: 1, 7: -40, 30: 21.37, 70: 3, 95: 1e-7, 3600: 68.25, 3661: 5}
    past = [value(number, SEPTEMBER + timedelta(seconds=second), **named) for second, number in seconds.items()]
    return [*past, value(4, HOUR, **named)]


def set_unit(database: Database, unit: str, **more: Any) -> None:
    set_sensor(database, "p1", metric="value", unit=unit, **more)
    roll_up_marked(database)


def rolled_up(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    columns = "bucket, readings, good, count, first_time, last_time, min, max, sum, mean, m2, first, last, area"
    return {level: rows(database, f"SELECT {columns} FROM {table} ORDER BY 1") for level, table in LEVELS.items()}


def assert_same(found: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> None:
    assert [row[:6] for row in found] == [row[:6] for row in expected]
    assert [row[6:] for row in found] == [pytest.approx(row[6:], rel=1e-9, abs=1e-6) for row in expected]


@pytest.fixture
def named(database: Database, staging: LocalStaging) -> Database:
    stage(staging, "a", sent(unit="degC"))
    load(staging, database)
    roll_up_marked(database)
    return database


@pytest.mark.parametrize("days", [{"raw": 40.0}, {"minute": 40.0}, {"raw": 40.0, "minute": 40.0}, {"hour": 40.0}])
@pytest.mark.parametrize("more_again", [True, False])
def test_a_wish_reaches_rollups_that_cannot_be_made_anew(
    named: Database, days: dict[str, float], more_again: bool
) -> None:
    set_unit(named, "°F")
    expected = rolled_up(named)
    set_unit(named, "degC")
    expire(named, days, now=NOW)
    if more_again:
        expire(named, {}, now=NOW)
    left = {level: [row[0] for row in found] for level, found in rolled_up(named).items()}
    set_unit(named, "K")
    set_unit(named, "°F")
    for level, found in rolled_up(named).items():
        # Minutes whose readings are still there come back with their change, once they are wanted again.
        stay = [row for row in found if row[0] in left[level]]
        assert len(stay) == len(left[level]) > 0
        assert_same(stay, [row for row in expected[level] if row[0] in left[level]])


def test_where_nothing_is_gone_every_bit_is_that_of_the_readings(named: Database) -> None:
    expected = rolled_up(named)
    expire(named, {"raw": 400.0}, now=NOW)
    set_unit(named, "K")
    set_unit(named, "degC")
    assert rolled_up(named) == expected


def test_a_route_that_says_what_unnamed_readings_were_leaves_their_numbers(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "a", sent())
    load(staging, database, using=in_unit("degC"))
    roll_up_marked(database)
    expire(database, {"raw": 40.0}, now=NOW)
    expected = rolled_up(database)
    stage(staging, "b", [value(3, HOUR - timedelta(days=1))], first_sequence=40)
    load(staging, database, using=in_unit("°F"))
    assert unit_of(database) == ("°F", "data")
    assert rolled_up(database) == expected


def test_a_label_that_was_wrong_leaves_the_numbers_of_what_is_gone(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", sent()[:-1])
    load(staging, database)
    set_unit(database, "degC")
    roll_up_marked(database)
    expire(database, {"raw": 40.0}, now=NOW)
    expected = rolled_up(database)
    set_unit(database, "°F", relabel=True)
    assert (unit_of(database), rolled_up(database)) == (("°F", "a person"), expected)


def test_what_a_float_does_not_hold_hinders_nobody(database: Database, staging: LocalStaging) -> None:
    numbers = [1.7e308, -1.7e308, 1e-320, 2.0]
    stage(staging, "a", [value(n, SEPTEMBER + timedelta(minutes=i), unit="kW") for i, n in enumerate(numbers)])
    load(staging, database)
    roll_up_marked(database)
    expire(database, {"raw": 40.0}, now=NOW)
    set_unit(database, "mW")
    least = [row[6] for row in rolled_up(database)["minute"]]
    assert least == [float("inf"), float("-inf"), 0.0, 2e6]
