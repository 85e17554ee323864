"""Old readings go a month at once; the ledger says so, rollups of them stay, and nothing brings them back by itself."""

import secrets
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.database.roles import Part, grant
from sensor_platform.database.tables import metric
from sensor_platform.dead_letters.retry import retry
from sensor_platform.pipeline import expiry
from sensor_platform.pipeline.accounting import mismatches, totals
from sensor_platform.pipeline.expiry import expire, horizons
from sensor_platform.pipeline.horizon import RAW, gone_days, keep_from
from sensor_platform.pipeline.lineage import became
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.reconciliation import reconcile
from sensor_platform.pipeline.rollups import changed_days, roll_up
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, Message, in_metric, load, routes, rows, stage, value
from sensor_platform_tests.waiting import wait_until

#: Readings of September go, those of October stay.
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAYS = {"raw": 40.0}
SEPTEMBER, OCTOBER = datetime(2026, 9, 30, 23, 59, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)
PARTITIONS = "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' AND relname ~ 'metrics' ORDER BY 1"
LEDGER = """SELECT name, accepted, partial, dead_lettered, duplicate, inserted, duplicate_readings, refused, expired
            FROM ledger ORDER BY 1"""

WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"""


def roll_up_all(database: Database, mode: Mode = Mode.NEW) -> None:
    for day in changed_days(database):
        roll_up(database, first=day, last=day, mode=mode)


def rollups(database: Database, table: str = "metrics_minute") -> list[Any]:
    return rows(database, f"SELECT bucket, count FROM {table} ORDER BY 1")


def days_gone(database: Database) -> dict[str, int]:
    with database.connect() as connection:
        return gone_days(connection)


@pytest.fixture
def loaded(database: Database, staging: LocalStaging) -> Database:
    """One micro-batch on each side, and one astride, each with a duplicate."""
    stage(staging, "a", [value(1, SEPTEMBER), value(1, SEPTEMBER)])
    stage(
        staging,
        "b",
        [value(2, SEPTEMBER - timedelta(minutes=5)), value(3, OCTOBER), value(3, OCTOBER)],
        first_sequence=10,
    )
    stage(staging, "c", [value(4, HOUR)], first_sequence=20)
    load(staging, database)
    roll_up_all(database)
    return database


def test_horizons_are_whole_months_and_whole_days_of_days() -> None:
    found = horizons({"raw": 40, "minute": 2, "hour": 0, "day": 2}, now=NOW)
    assert found == {"raw": OCTOBER, "minute": NOW.replace(day=1, hour=0), "day": NOW.replace(day=21, hour=0)}


def test_a_month_is_dropped_and_the_ledger_says_so(loaded: Database) -> None:
    would = expire(loaded, DAYS, now=NOW, dry_run=True)
    assert (would.partitions, would.readings) == (("metric_2026_09",), 0)
    before = totals(loaded)
    done = expire(loaded, DAYS, now=NOW)
    assert (done.partitions, done.readings, done.duplicates, done.kept_from) == (
        ("metric_2026_09",),
        3,
        1,
        {"raw": OCTOBER},
    )
    assert in_metric(loaded) == [(3.0, None, 11), (4.0, None, 20)]
    assert rows(loaded, LEDGER) == [
        ("a", 1, 0, 0, 1, 2, 0, 0, 2),
        ("b", 2, 0, 0, 1, 2, 1, 0, 1),
        ("c", 1, 0, 0, 0, 1, 0, 0, 0),
    ]
    after = totals(loaded)
    assert after[0] == before[0]
    assert (after[1].decoded, after[1].expired) == (before[1].decoded, 3)
    assert mismatches(loaded) == []
    again = expire(loaded, DAYS, now=NOW)
    assert (again.partitions, again.readings) == ((), 0)
    assert rows(loaded, "SELECT count(*) FROM pg_class WHERE relname = 'metric_2026_09'") == [(0,)]


def test_a_month_is_dropped_by_a_role_that_only_loads(loaded: Database) -> None:
    role = f"loader_{secrets.token_hex(4)}"
    with loaded.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
        grant(connection, role, Part.LOADER)
    with Database(sa.make_url(loaded.url).set(username=role, password="secret").render_as_string(False)) as loader:
        done = expire(loader, {**DAYS, "minute": 40, "hour": 40}, now=NOW)
        assert done.partitions == ("metric_2026_09", "metrics_minute_2026_09", "metrics_hourly_2026_09")
        made = roll_up(loader, first=date(2026, 11, 23), last=date(2026, 11, 23), mode=Mode.AGAIN)
        assert made.rows == {"minute": 1, "hour": 1, "day": 1}
    with loaded.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_by_default_everything_is_kept(loaded: Database) -> None:
    done = expire(loaded, {}, now=NOW + timedelta(days=9999))
    assert (done.partitions, done.readings, done.kept_from) == ((), 0, {})
    assert len(in_metric(loaded)) == 4
    assert len(rollups(loaded)) == 4


def test_a_backfill_does_not_bring_back_what_expired(loaded: Database, staging: LocalStaging) -> None:
    expire(loaded, DAYS, now=NOW)
    before, stood = rows(loaded, LEDGER), in_metric(loaded)
    report = load(staging, loaded, mode=Mode.AGAIN)
    assert (report.readings.inserted, report.readings.expired) == (5, 3)
    assert in_metric(loaded) == stood
    counts = [row[5:] for row in rows(loaded, LEDGER)]
    assert counts == [row[5:] for row in before]
    assert mismatches(loaded) == []


def test_what_became_of_a_message_is_told_without_its_readings(loaded: Database, staging: LocalStaging) -> None:
    expire(loaded, DAYS, now=NOW)
    found = became(loaded, staging, routes(), "a", 1, settings=Settings())
    assert (found["class"], found["readings"]) == ("accepted", [])
    assert found["why"].startswith("its readings are older than readings are kept")


def test_what_arrives_too_old_is_counted_and_not_kept(loaded: Database, staging: LocalStaging) -> None:
    expire(loaded, DAYS, now=NOW)
    stage(staging, "d", [value(9, SEPTEMBER - timedelta(days=900)), value(9, HOUR)], first_sequence=30)
    report = load(staging, loaded)
    assert (report.messages.accepted, report.readings.inserted, report.readings.expired) == (2, 2, 1)
    assert in_metric(loaded)[-1] == (9.0, None, 31)
    assert len(in_metric(loaded)) == 3
    assert mismatches(loaded) == []


def test_rollups_of_what_expired_stay(loaded: Database, staging: LocalStaging) -> None:
    before = [rollups(loaded, table) for table in ("metrics_minute", "metrics_hourly", "metrics_daily")]
    expire(loaded, DAYS, now=NOW)
    with loaded.begin() as connection:  # as a mark of before, that a run had not taken yet
        connection.execute(
            sa.text(
                "INSERT INTO sensor_platform.changed_bucket (level, series, bucket)"
                " SELECT 'minute', series, bucket FROM sensor_platform.metrics_minute"
            )
        )
    load(staging, loaded, mode=Mode.AGAIN)
    roll_up_all(loaded)
    roll_up(loaded, first=date(2026, 9, 1), last=date(2026, 11, 30), mode=Mode.AGAIN)
    assert [rollups(loaded, table) for table in ("metrics_minute", "metrics_hourly", "metrics_daily")] == before
    assert changed_days(loaded) == []


def test_days_whose_readings_expired_are_not_held_against_them(loaded: Database) -> None:
    days = rows(loaded, "SELECT series, bucket FROM metrics_daily")
    before = reconcile(loaded, made=days)
    expire(loaded, DAYS, now=NOW)
    after = reconcile(loaded, made=days)
    assert (before.days, before.differences) == (3, [])
    assert (after.days, after.differences) == (2, [])


def test_what_changed_is_rolled_up_before_it_is_dropped(loaded: Database, staging: LocalStaging) -> None:
    stage(staging, "late", [value(8, SEPTEMBER + timedelta(seconds=1))], first_sequence=40)
    load(staging, loaded)
    expire(loaded, DAYS, now=NOW)
    assert (SEPTEMBER, 2) in rollups(loaded)
    assert in_metric(loaded) == [(3.0, None, 11), (4.0, None, 20)]


def test_rollups_are_kept_by_level(loaded: Database, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "BATCH", 1)
    hours = rollups(loaded, "metrics_hourly")
    kept = {"minute": 40, "day": 53}
    assert expire(loaded, kept, now=NOW, dry_run=True).partitions == ("metrics_minute_2026_09",)
    done = expire(loaded, kept, now=NOW)
    assert (done.rollups, done.partitions) == ({"minute": 2, "hour": 0, "day": 1}, ("metrics_minute_2026_09",))
    assert [bucket for bucket, _ in rollups(loaded)] == [OCTOBER, HOUR]
    assert rollups(loaded, "metrics_hourly") == hours
    assert [bucket for bucket, _ in rollups(loaded, "metrics_daily")] == [OCTOBER, HOUR.replace(hour=0)]
    stage(staging, "late", [value(8, SEPTEMBER)], first_sequence=40)
    load(staging, loaded)
    roll_up_all(loaded)
    assert [bucket for bucket, _ in rollups(loaded)] == [OCTOBER, HOUR]
    assert rollups(loaded, "metrics_hourly") == hours
    assert rows(loaded, PARTITIONS) == [
        ("metrics_hourly_2026_09",),
        ("metrics_hourly_2026_10",),
        ("metrics_hourly_2026_11",),
        ("metrics_minute_2026_10",),
        ("metrics_minute_2026_11",),
    ]


def test_hours_that_somebody_reads_are_left_for_the_next_time(
    loaded: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "LOCK_TIMEOUT_MS", 20)
    with loaded.connect() as reader:
        reader.execute(sa.text("SELECT count(*) FROM sensor_platform.metrics_hourly")).all()
        done = expire(loaded, {"hour": 40}, now=NOW)
    assert (done.partitions, done.partitions_left) == ((), ("metrics_hourly_2026_09",))
    assert days_gone(loaded) == {}
    assert expire(loaded, {"hour": 40}, now=NOW).rollups["hour"] == 1
    assert days_gone(loaded) == {"hour": 1}


def test_a_longer_time_drops_first_what_was_left(loaded: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    drop = expiry._drop
    monkeypatch.setattr(expiry, "_drop", lambda *_of: None)  # as if it had died
    assert expire(loaded, {"hour": 40}, now=NOW).partitions_left == ("metrics_hourly_2026_09",)
    monkeypatch.setattr(expiry, "_drop", drop)
    assert expire(loaded, {}, now=NOW).partitions == ("metrics_hourly_2026_09",)
    assert days_gone(loaded) == {"hour": 1}


def test_what_changed_is_rolled_up_before_the_minutes_of_it_are_dropped(
    loaded: Database, staging: LocalStaging
) -> None:
    stage(staging, "late", [value(8, SEPTEMBER + timedelta(seconds=1))], first_sequence=40)
    load(staging, loaded)
    expire(loaded, {"minute": 40}, now=NOW)
    roll_up_all(loaded)
    assert [bucket for bucket, _ in rollups(loaded)] == [OCTOBER, HOUR]
    assert (SEPTEMBER.replace(minute=0), 3) in rollups(loaded, "metrics_hourly")
    assert (SEPTEMBER.replace(hour=0, minute=0), 3) in rollups(loaded, "metrics_daily")
    assert changed_days(loaded) == []


def test_a_longer_time_lets_a_backfill_bring_it_again(loaded: Database, staging: LocalStaging) -> None:
    before, ledger = in_metric(loaded), rows(loaded, LEDGER)
    expire(loaded, DAYS, now=NOW)
    expire(loaded, {}, now=NOW)
    assert mismatches(loaded) == []
    load(staging, loaded, mode=Mode.AGAIN)
    assert in_metric(loaded) == before
    assert rows(loaded, LEDGER) == ledger


def test_a_retry_of_a_message_whose_readings_expired_is_accounted_for(
    database: Database, staging: LocalStaging
) -> None:
    def pair(number: int, at: datetime) -> list[dict[str, Any]]:
        return [{"value": number, "timestamp": at.isoformat()}, {"value": "warm", "timestamp": at.isoformat()}]

    stage(staging, "a", [Message(pair(1, SEPTEMBER)), Message(pair(2, HOUR))])
    load(staging, database)
    expire(database, DAYS, now=NOW)
    assert mismatches(database) == []
    assert rows(database, LEDGER) == [("a", 0, 2, 0, 0, 2, 0, 2, 1)]
    later = datetime.now(UTC) + timedelta(hours=1)
    assert retry(database, routes(", text: true"), settings=Settings(), now=later).states == {"resolved": 2}
    assert rows(database, LEDGER) == [("a", 2, 0, 0, 0, 4, 0, 0, 2)]
    assert mismatches(database) == []
    assert in_metric(database) == [(2.0, None, 2), (None, "warm", 2)]


def test_a_partition_that_is_read_is_left_for_the_next_time(loaded: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "LOCK_TIMEOUT_MS", 20)
    with loaded.connect() as reader:
        reader.execute(sa.text("SELECT count(*) FROM sensor_platform.metric")).all()
        done = expire(loaded, DAYS, now=NOW)
        assert (done.partitions, done.partitions_left, done.readings) == ((), ("metric_2026_09",), 3)
    assert len(in_metric(loaded)) == 4
    assert mismatches(loaded) == []
    assert expire(loaded, DAYS, now=NOW).partitions == ("metric_2026_09",)
    assert mismatches(loaded) == []


def test_one_that_moves_the_horizon_and_one_that_drops_what_is_older_wait_for_each_other(
    loaded: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loaded.begin() as connection:
        keep_from(connection, RAW, OCTOBER)
    is_marked = expiry._is_marked
    november = OCTOBER + timedelta(days=31)
    with ThreadPoolExecutor(1) as thread:

        def meanwhile(connection: sa.Connection, horizon: datetime) -> bool:
            dropping.append(thread.submit(expiry._drop, loaded, RAW, "metric_2026_09"))
            connection.execute(sa.select(metric.c.time).limit(1))
            wait_until(lambda: rows(loaded, WAITING) == [(1,)], "the other to wait", 60)
            return is_marked(connection, horizon)

        dropping: list[Future[int | None]] = []
        monkeypatch.setattr(expiry, "_is_marked", meanwhile)
        assert expiry._move_raw_horizon(loaded, november) == 5
        assert dropping[0].result(timeout=60) is not None
    assert mismatches(loaded) == []


def test_a_partition_is_dropped_after_who_has_looked_at_it_and_then_waits_for_the_rollups(loaded: Database) -> None:
    with loaded.begin() as connection:
        keep_from(connection, RAW, OCTOBER)
    with ThreadPoolExecutor(1) as thread:
        with loaded.begin() as connection:
            connection.execute(sa.text("SET LOCAL deadlock_timeout = '60s'"))  # the other finds out first
            connection.execute(sa.select(metric.c.time).limit(1))
            dropping = thread.submit(expiry._drop, loaded, RAW, "metric_2026_09")
            wait_until(lambda: rows(loaded, WAITING) == [(1,)], "the other to wait", 60)
            locks.take(connection, locks.ROLLUP)
        assert dropping.result(timeout=60) is not None


def test_a_longer_time_brings_back_nothing_that_is_still_to_be_deleted(
    loaded: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "LOCK_TIMEOUT_MS", 20)
    with loaded.connect() as reader:
        reader.execute(sa.text("SELECT count(*) FROM sensor_platform.metric")).all()
        expire(loaded, DAYS, now=NOW)
        left = expire(loaded, {}, now=NOW).partitions_left
    assert left == ("metric_2026_09",)
    assert mismatches(loaded) == []
    assert expire(loaded, {}, now=NOW).partitions == ("metric_2026_09",)
    assert mismatches(loaded) == []
    assert rows(loaded, "SELECT level, kept_from FROM retention") == [("raw", None)]


def test_a_backfill_between_the_decision_and_the_deletion_is_accounted_for(
    loaded: Database, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "_drop", lambda *_of: None)  # as if it had died
    expire(loaded, DAYS, now=NOW)
    load(staging, loaded, mode=Mode.AGAIN)
    assert mismatches(loaded) == []
    assert totals(loaded)[1].expired == 3
    monkeypatch.undo()
    expire(loaded, DAYS, now=NOW)
    assert in_metric(loaded) == [(3.0, None, 11), (4.0, None, 20)]
    assert mismatches(loaded) == []


def test_loads_and_expiry_at_once_are_accounted_for(loaded: Database, staging: LocalStaging) -> None:
    failed: list[BaseException] = []

    def load_again() -> None:
        try:
            for _ in range(5):
                load(staging, loaded, mode=Mode.AGAIN)
        except BaseException as err:  # told below
            failed.append(err)

    loading = threading.Thread(target=load_again, name="loading")
    loading.start()
    for days in (DAYS, {}, DAYS, {}, DAYS):
        expire(loaded, days, now=NOW)
    loading.join(timeout=120)
    assert not loading.is_alive()
    assert failed == []
    expire(loaded, DAYS, now=NOW)
    assert mismatches(loaded) == []
    assert in_metric(loaded) == [(3.0, None, 11), (4.0, None, 20)]
