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
    ],
)
def test_each_figure_that_differs_is_told(
    database: Database, staging: LocalStaging, statement: str, difference: str
) -> None:
    report = rolled(staging, database)
    alter(database, statement)
    differences = reconcile(database, made=report.days).differences
    assert any(one.startswith(f"press/p1 value on 2026-11-20: {difference}") for one in differences), differences


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


def test_no_more_readings_are_looked_at_than_the_bound(
    database: Database, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = rolled(staging, database)
    monkeypatch.setattr(reconciliation, "MOST_READINGS", 2)  # the first and the last day have three
    assert {day.day for _, day in sorted(report.days)} == {20, 21, 22}
    alter(database, "UPDATE metrics_daily SET min = 9")
    differences = reconcile(database, made=report.days).differences
    assert {one.split(":")[0] for one in differences} == {"press/p1 value on 2026-11-21"}
