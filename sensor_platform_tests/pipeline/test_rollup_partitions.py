"""Minutes and hours lie in partitions by month: a run makes those that it needs, and looks at no others."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.partitions import make_partitions
from sensor_platform.database.tables import metrics_hourly, metrics_minute
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.rollups import changed_days, roll_up
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import load, rows, stage, value

OCTOBER = datetime(2026, 10, 31, 23, 59, tzinfo=UTC)
MONTHS = [(year, month) for year in (2024, 2025, 2026) for month in range(1, 13)]
LOCKED = """
    SELECT relname FROM pg_locks JOIN pg_class ON pg_class.oid = relation
    WHERE pid = pg_backend_pid() AND relispartition AND relkind = 'r' AND relname ~ '^metrics'"""
WHERE = "SELECT tableoid::regclass::text, count FROM {} ORDER BY bucket"


@pytest.fixture
def loaded(database: Database, staging: LocalStaging) -> Database:
    """Readings on both sides of a turn of the month."""
    stage(staging, "a", [value(n, OCTOBER + timedelta(seconds=30 * n)) for n in range(4)])
    load(staging, database)
    return database


def test_a_run_over_the_turn_of_a_month_fills_both(loaded: Database) -> None:
    roll_up(loaded, first=date(2026, 10, 31), last=date(2026, 11, 1))
    for table in ("metrics_minute", "metrics_hourly"):
        assert rows(loaded, WHERE.format(table)) == [(f"{table}_2026_10", 2), (f"{table}_2026_11", 2)]


def test_runs_at_once_make_each_partition_once(loaded: Database) -> None:
    days = [date(2026, 10, 31), date(2026, 11, 1)] * 2
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(roll_up, loaded, first=day, last=day, mode=Mode.AGAIN) for day in days]:
            done.result(timeout=120)
    assert [count for _, count in rows(loaded, WHERE.format("metrics_minute"))] == [2, 2]
    assert changed_days(loaded) == []


@pytest.mark.parametrize("mode", list(Mode))
def test_the_partitions_of_other_months_are_left_out_of_every_plan(loaded: Database, mode: Mode) -> None:
    """What is planned is locked: so the locks of a transaction tell all that its plans could have read or written."""
    roll_up(loaded, first=date(2026, 10, 31), last=date(2026, 10, 31))
    with loaded.begin() as connection:
        for table in (metrics_minute, metrics_hourly):
            make_partitions(connection, table, MONTHS)
        marks = "INSERT INTO changed_bucket (level, series, bucket) SELECT 'minute', series, bucket FROM metrics_minute"
        connection.execute(sa.text("SET LOCAL search_path TO sensor_platform"))
        connection.execute(sa.text(marks))
    locked: set[str] = set()

    def ends(connection: sa.Connection) -> None:
        locked.update(connection.exec_driver_sql(LOCKED).scalars())

    sa.event.listen(loaded.engine, "commit", ends)
    made: Any = roll_up(loaded, first=date(2026, 10, 31), last=date(2026, 10, 31), mode=mode).rows
    assert made == {"minute": 1, "hour": 1, "day": 1}
    assert sorted(locked) == ["metrics_hourly_2026_10", "metrics_minute_2026_10"]
