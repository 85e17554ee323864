"""Rollups: by hand-counted figures, by marks, and without what does not belong in them."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from sensor_platform.database.engine import Database
from sensor_platform.pipeline import rollups
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.rollups import changed_days, roll_up
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import load, routes, rows, stage, value

DAY = date(2026, 11, 23)
NINE = datetime(2026, 11, 23, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def table(database: Database, name: str) -> list[tuple[Any, ...]]:
    return rows(database, f"SELECT bucket, count, min, max, sum, mean FROM {name} ORDER BY bucket")


def test_each_level_is_made_of_the_one_below(database: Database, staging: LocalStaging) -> None:
    numbers = [(1, NINE), (2, NINE + MINUTE / 2), (6, NINE + MINUTE), (-3, NINE + 60 * MINUTE)]
    stage(staging, "a", [value(number, at) for number, at in numbers])
    load(staging, database)
    assert changed_days(database) == [DAY]
    report = roll_up(database, first=DAY, last=DAY)
    assert report.rows == {"minute": 3, "hour": 2, "day": 1}
    assert table(database, "metrics_minute") == [
        (NINE, 2, 1.0, 2.0, 3.0, 1.5),
        (NINE + MINUTE, 1, 6.0, 6.0, 6.0, 6.0),
        (NINE + 60 * MINUTE, 1, -3.0, -3.0, -3.0, -3.0),
    ]
    assert table(database, "metrics_hourly") == [
        (NINE, 3, 1.0, 6.0, 9.0, 3.0),
        (NINE + 60 * MINUTE, 1, -3.0, -3.0, -3.0, -3.0),
    ]
    assert table(database, "metrics_daily") == [(NINE.replace(hour=0), 4, -3.0, 6.0, 6.0, 1.5)]
    assert changed_days(database) == []


def test_bad_quality_text_and_nan_are_left_out(database: Database, staging: LocalStaging) -> None:
    content = [value(1, NINE), value(5, NINE, quality="bad"), value("warm", NINE), value("NaN", NINE)]
    stage(staging, "a", [*content, value(3, NINE, quality="uncertain")])
    load(staging, database, using=routes(", text: true, allow_nan: true"))
    roll_up(database, first=DAY, last=DAY)
    assert table(database, "metrics_daily") == [(NINE.replace(hour=0), 2, 1.0, 3.0, 4.0, 2.0)]


def test_a_sum_beyond_all_measure_stops_nobody(database: Database, staging: LocalStaging) -> None:
    huge = [value(1.7e308, NINE), value(1.6e308, NINE), value(-1.5e308, NINE + MINUTE, metric="b")]
    tiny = [value(5e-324, NINE, metric="c"), value(5e-324, NINE, metric="c", quality="uncertain")]
    stage(staging, "a", [*huge, *tiny])
    load(staging, database)
    roll_up(database, first=DAY, last=DAY)
    assert sorted(row[1:5] for row in table(database, "metrics_daily")) == [
        (1, -1.5e308, -1.5e308, float("-inf")),
        (2, 5e-324, 5e-324, 0.0),
        (2, 1.6e308, 1.7e308, float("inf")),
    ]


@pytest.mark.parametrize(("policy", "expected"), [("all", 6.0), ("first", 1.0), ("last", 3.0)])
def test_the_policy_of_the_series_chooses(
    database: Database, staging: LocalStaging, policy: str, expected: float
) -> None:
    stage(staging, "a", [value(1, NINE), value(2, NINE), value(3, NINE)])
    load(staging, database, using=routes(f", conflicts: {policy}"))
    roll_up(database, first=DAY, last=DAY)
    assert [row[4] for row in table(database, "metrics_daily")] == [expected]


def test_buckets_that_became_empty_go(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1, NINE)])
    load(staging, database)
    roll_up(database, first=DAY, last=DAY)
    load(staging, database, mode=Mode.AGAIN, using=routes(", ignore: true"))
    report = roll_up(database, first=DAY, last=DAY)
    assert report.rows == {"minute": 0, "hour": 0, "day": 0}
    assert table(database, "metrics_minute") == table(database, "metrics_daily") == []


def test_only_marked_buckets_are_made_again_unless_all_are(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1, NINE), value(2, NINE + MINUTE)])
    load(staging, database)
    roll_up(database, first=DAY, last=DAY)
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE sensor_platform.metrics_minute SET sum = 99"))
        connection.execute(sa.text("DELETE FROM sensor_platform.metrics_hourly"))
    stage(staging, "b", [value(3, NINE)], first_sequence=3)
    load(staging, database)
    roll_up(database, first=DAY, last=DAY)
    assert [row[4] for row in table(database, "metrics_minute")] == [4.0, 99.0]
    roll_up(database, first=DAY, last=DAY, mode=Mode.AGAIN)
    assert [row[4] for row in table(database, "metrics_minute")] == [4.0, 2.0]
    assert [row[4] for row in table(database, "metrics_hourly")] == [6.0]


def test_a_load_that_commits_during_a_rollup_leaves_its_mark(
    database: Database, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(staging, "a", [value(1, NINE)])
    load(staging, database)
    recompute = rollups._recompute

    def after_a_load(*arguments: Any) -> int:
        monkeypatch.undo()
        stage(staging, "b", [value(2, NINE)], first_sequence=2)
        load(staging, database)
        return recompute(*arguments)

    monkeypatch.setattr(rollups, "_recompute", after_a_load)  # between the marks and what is made of them
    roll_up(database, first=DAY, last=DAY)
    assert changed_days(database) == [DAY]
    roll_up(database, first=DAY, last=DAY)
    assert [row[1] for row in table(database, "metrics_daily")] == [2]
    assert changed_days(database) == []


def test_a_rollup_that_fails_leaves_its_marks(
    database: Database, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(staging, "a", [value(1, NINE)])
    load(staging, database)
    monkeypatch.setitem(rollups._MAKE, "minute", sql.SQL("SELECT 1 / 0"))
    with pytest.raises(psycopg.errors.DivisionByZero):
        roll_up(database, first=DAY, last=DAY)
    assert changed_days(database) == [DAY]


def test_days_outside_are_left_alone_and_levels_may_wait(database: Database, staging: LocalStaging) -> None:
    before = NINE - timedelta(days=1)
    stage(staging, "a", [value(1, NINE), value(2, before)])
    load(staging, database)
    assert changed_days(database) == [before.date(), DAY]
    roll_up(database, first=DAY, last=DAY, levels=("minute",))
    assert [row[0] for row in table(database, "metrics_minute")] == [NINE]
    assert table(database, "metrics_hourly") == []
    assert rows(database, "SELECT level, bucket FROM changed_bucket ORDER BY level") == [
        ("hour", NINE),
        ("minute", before),
    ]
    roll_up(database, first=DAY, last=DAY, levels=("hour", "day"))
    assert [row[0] for row in table(database, "metrics_daily")] == [NINE.replace(hour=0)]
    assert changed_days(database) == [before.date()]
