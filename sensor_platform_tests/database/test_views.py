"""The views show what people ask for: the last reading of each series, and where readings are missing."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.rollups import changed_days, roll_up
from sensor_platform_tests.pipeline.staged import HOUR, load, new_staging, rows, stage, value

EVENT = HOUR - timedelta(hours=5)
GAPS = "SELECT sensor, metric, since, until, seconds, allowed_s FROM gap WHERE until IS NOT NULL ORDER BY since"


def _loaded(database: Database, folder: Path, minutes: list[float], *, quality: str = "good") -> None:
    staging = new_staging(folder)
    content = [value(n, EVENT + timedelta(minutes=at), quality=quality) for n, at in enumerate(minutes)]
    stage(staging, f"c-{quality}", content)
    load(staging, database)
    for day in changed_days(database):
        roll_up(database, first=day, last=day)


def test_a_gap_is_longer_than_five_minutes_where_no_interval_is_declared(database: Database, tmp_path: Path) -> None:
    _loaded(database, tmp_path, [0, 1, 2, 6.9, 12, 13])
    at = [EVENT + timedelta(minutes=minutes) for minutes in (6.9, 12)]
    assert rows(database, GAPS) == [("p1", "value", *at, 306.0, 300.0)]


def test_a_gap_is_three_declared_intervals(database: Database, tmp_path: Path) -> None:
    _loaded(database, tmp_path, [0, 1, 2, 6.9, 12, 13])
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE sensor_platform.sensor SET expected_interval_s = 60")
    assert [(found[4], found[5]) for found in rows(database, GAPS)] == [(294.0, 180.0), (306.0, 180.0)]


def test_readings_of_bad_quality_fill_no_gap(database: Database, tmp_path: Path) -> None:
    _loaded(database, tmp_path, [0, 20])
    _loaded(database, tmp_path, [5, 10, 15], quality="bad")
    assert [found[4] for found in rows(database, GAPS)] == [1200.0]


def test_a_gap_that_lasts_has_no_end(database: Database, tmp_path: Path) -> None:
    _loaded(database, tmp_path, [0, 1])
    (since, until, seconds), *others = rows(database, "SELECT since, until, seconds FROM gap")
    assert (since, until, others) == (EVENT + timedelta(minutes=1), None, [])
    assert seconds >= (datetime.now(UTC) - since).total_seconds() - 60


def test_who_asks_for_the_gaps_of_a_sensor_reads_no_others(database: Database, tmp_path: Path) -> None:
    _loaded(database, tmp_path, [0, 1, 20])
    others = """
        INSERT INTO sensor_platform.metrics_minute (series, bucket, count, min, max, sum, first_time, last_time)
        SELECT series, bucket, 1, 0, 0, 0, bucket, bucket
        FROM generate_series(1001, 1050) AS series,
             generate_series(timestamptz '2026-11-01Z', '2026-11-02Z', '1 minute') AS bucket"""
    question = "EXPLAIN SELECT * FROM sensor_platform.gap WHERE work_unit = 'press' AND sensor = 'p1'"
    with database.begin() as connection:
        connection.exec_driver_sql(others)
        connection.exec_driver_sql("ANALYZE sensor_platform.metrics_minute")
        plan = list(connection.exec_driver_sql(question).scalars())
    scans = [line for line in plan if "metrics_minute" in line]
    assert scans, plan
    assert not any("Seq Scan" in line for line in scans), plan
    assert any("Index Cond: (series = series.id)" in line for line in plan), plan


def test_the_last_reading_of_each_series(database: Database, tmp_path: Path) -> None:
    _loaded(database, tmp_path, [0, 3, 2])
    query = "SELECT work_unit, sensor, metric, time, value, quality FROM last_reading"
    assert rows(database, query) == [("press", "p1", "value", EVENT + timedelta(minutes=3), 1.0, "good")]
