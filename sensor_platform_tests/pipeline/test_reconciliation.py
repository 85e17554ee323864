"""What is wrong with the rollups of a day is found, and what is only waiting to be made anew is not."""

from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.pipeline import reconciliation
from sensor_platform.pipeline.reconciliation import reconcile
from sensor_platform.pipeline.rollups import RollupReport, roll_up
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import Message, load, stage, value

FIRST, LAST = date(2026, 11, 20), date(2026, 11, 22)
DAY = datetime(2026, 11, 20, tzinfo=UTC)


def rolled(staging: LocalStaging, database: Database) -> RollupReport:
    """Three days of a sensor: two readings a day, one of them huge on the last."""
    huge = value(-1.7e308, DAY + timedelta(days=2))
    messages = [value(n, DAY + timedelta(days=n // 2, hours=n % 2)) for n in range(6)]
    stage(staging, "a", [*messages, value(7, DAY, quality="bad"), huge])
    load(staging, database)
    return roll_up(database, first=FIRST, last=LAST)


def alter(database: Database, statement: str) -> None:
    with database.begin() as connection:
        connection.execute(sa.text("SET LOCAL search_path TO sensor_platform"))
        connection.execute(sa.text(statement))


def test_rollups_that_are_right_differ_in_nothing(database: Database, staging: LocalStaging) -> None:
    report = rolled(staging, database)
    assert sorted(day for _, day in report.days) == [DAY + timedelta(days=n) for n in range(3)]
    found = reconcile(database, made=report.days)
    assert (found.days, found.differences) == (3, [])


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        ("UPDATE metrics_daily SET sum = sum + 1e-6 WHERE bucket = '2026-11-20Z'", "sum: metrics_daily says 1.000001"),
        (
            "UPDATE metrics_daily SET count = 3 WHERE bucket = '2026-11-20Z'",
            "count: metrics_daily says 3.0, the readings 2",
        ),
        ("UPDATE metrics_daily SET min = 1.7e308 WHERE bucket = '2026-11-20Z'", "min: metrics_daily says 1.7e+308"),
        ("UPDATE metrics_daily SET good = 3 WHERE bucket = '2026-11-20Z'", "good: metrics_daily says 3.0"),
        ("DELETE FROM metrics_daily WHERE bucket = '2026-11-20Z'", "count: metrics_daily says 0.0, the readings 2"),
        ("DELETE FROM metric WHERE value = 1", "max: metrics_daily says 1.0, the readings 0.0"),
        ("UPDATE metrics_daily SET first = 0.5 WHERE bucket = '2026-11-20Z'", "first: metrics_daily says 0.5"),
        ("UPDATE metrics_daily SET last = first WHERE bucket = '2026-11-20Z'", "last: metrics_daily says 0.0"),
        (
            "UPDATE metrics_daily SET first_time = last_time WHERE bucket = '2026-11-20Z'",
            "first_time: metrics_daily says 3600.0, the readings 0.0",
        ),
        ("UPDATE metrics_daily SET last_time = first_time WHERE bucket = '2026-11-20Z'", "last_time: metrics_daily"),
        ("UPDATE metrics_daily SET m2 = m2 + 1e-6 WHERE bucket = '2026-11-20Z'", "m2: metrics_daily says 0.500001"),
        ("UPDATE metrics_daily SET area = 0.01 WHERE bucket = '2026-11-20Z'", "area: metrics_daily says 0.01"),
    ],
)
def test_each_figure_that_differs_is_told(
    database: Database, staging: LocalStaging, statement: str, difference: str
) -> None:
    report = rolled(staging, database)
    alter(database, statement)
    differences = reconcile(database, made=report.days).differences
    assert any(one.startswith(f"press/p1 value on 2026-11-20: {difference}") for one in differences), differences


@pytest.mark.parametrize(
    ("table", "hours"), [("metrics_hourly", ("00:00 to 01:00", "01:00 to 02:00")), ("metrics_minute", (":00 to 0",))]
)
def test_an_hour_and_a_minute_of_each_day_are_looked_at(
    database: Database, staging: LocalStaging, table: str, hours: tuple[str, ...]
) -> None:
    report = rolled(staging, database)
    alter(database, f"UPDATE {table} SET max = 12.5")
    (first,) = [day for day in report.days if day[1] == DAY]
    differences = reconcile(database, made=[first]).differences
    of_first = [one for one in differences if one.startswith("press/p1 value on 2026-11-20 from ")]
    assert len(of_first) == 1, differences
    assert f"max: {table} says 12.5, the readings " in of_first[0]
    assert any(hour in of_first[0] for hour in hours), of_first


def test_all_figures_of_many_readings_agree(database: Database, staging: LocalStaging) -> None:
    """Large values that differ little, some at one time, infinite ones, and those whose squares nothing holds."""
    content = [
        value(
            number,
            DAY + timedelta(seconds=47 * (n // 2)),
            metric=f"m{place}",
            quality="bad" if n % 9 == 4 else "good",
        )
        for n in range(600)
        for place, number in enumerate((1e9 + 1e-3 * (n * 7919 % 100), 0.1, (-1) ** n * 1e200, 1e-200 * n))
    ]
    stage(staging, "a", content)
    load(staging, database)
    report = roll_up(database, first=FIRST, last=FIRST)
    assert reconcile(database, made=report.days).differences == []
    alter(database, "UPDATE metrics_hourly SET m2 = m2 * (1 + 1e-5), area = area * (1 + 1e-5)")
    said = reconcile(database, made=report.days).differences
    assert {"m0", "m1"} <= {one.split()[1] for one in said}


def test_older_days_are_looked_at_too(database: Database, staging: LocalStaging) -> None:
    rolled(staging, database)
    alter(database, "UPDATE metrics_daily SET count = 9")
    found = reconcile(database, made=[])
    assert found.days == 1  # one of each series
    assert len(found.differences) == 1


def test_a_day_that_is_to_be_made_anew_is_no_difference(database: Database, staging: LocalStaging) -> None:
    report = rolled(staging, database)
    stage(staging, "b", [Message({"value": 5, "timestamp": DAY.isoformat()})], first_sequence=100)
    load(staging, database)
    assert reconcile(database, made=report.days).differences == []


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first and the last day have three readings in two minutes."""
    monkeypatch.setattr(reconciliation, "MOST_READINGS", 2)


@pytest.mark.usefixtures("_few")
def test_of_a_day_with_more_readings_than_the_bound_a_stretch_is_looked_at(
    database: Database, staging: LocalStaging
) -> None:
    report = rolled(staging, database)
    for made in report.days:
        found = reconcile(database, made=[made])
        assert (found.in_part >= (made[1].day != 21), found.differences) == (True, [])


@pytest.mark.usefixtures("_few")
@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        (
            "UPDATE metrics_daily SET min = 9",
            "press/p1 value on 2026-11-20: min: metrics_daily says 9.0, metrics_minute 0",
        ),
        ("DELETE FROM metrics_minute", "press/p1 value on 2026-11-20: count: metrics_daily says 2.0, metrics_minute 0"),
        ("UPDATE metrics_minute SET good = 7", ": good: metrics_minute says 7.0, the readings 1"),
        ("UPDATE metric SET value = value + 9", ": max: metrics_minute says "),
    ],
)
def test_what_is_wrong_with_such_a_day_is_told(
    database: Database, staging: LocalStaging, statement: str, difference: str
) -> None:
    report = rolled(staging, database)
    alter(database, statement)
    (first,) = [day for day in report.days if day[1] == DAY]
    differences = reconcile(database, made=[first]).differences
    assert any(difference in one and "2026-11-20" in one for one in differences), differences


@pytest.mark.usefixtures("_few")
def test_no_more_readings_are_looked_at_than_the_bound(database: Database, staging: LocalStaging) -> None:
    """The second day takes all of them."""
    report = rolled(staging, database)
    in_order = sorted(report.days, key=lambda day: day[1].day != 21)
    alter(database, "UPDATE metrics_daily SET min = 9")
    found = reconciliation.reconcile(database, made=in_order)
    of_made = {one.split(":")[0] for one in found.differences if "metrics_minute" not in one}
    assert of_made == {"press/p1 value on 2026-11-21"}
