"""A rollup of readings that retention deleted is never replaced by one of those that are left, or come late."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.pipeline import expiry
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.pipeline.expiry import expire
from sensor_platform.pipeline.horizon import gone_days
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.reconciliation import reconcile
from sensor_platform.pipeline.retention import prune
from sensor_platform.pipeline.rollups import changed_days, roll_up
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, in_metric, load, rows, stage, value

#: Readings of September go, those of October stay.
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAYS = {"raw": 40.0}
SEPTEMBER = datetime(2026, 9, 30, 23, 58, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
NEXT_HOUR = HOUR + timedelta(hours=1)
TABLES = ("metrics_minute", "metrics_hourly", "metrics_daily")


def counts(database: Database, table: str = "metrics_minute") -> list[tuple[Any, ...]]:
    return rows(database, f"SELECT bucket, count FROM {table} ORDER BY 1")


def rollups(database: Database) -> list[list[tuple[Any, ...]]]:
    return [counts(database, table) for table in TABLES]


def roll_up_changed(database: Database, mode: Mode = Mode.NEW) -> int:
    """Buckets that were left."""
    return sum(roll_up(database, first=day, last=day, mode=mode).left for day in changed_days(database))


def days_gone(database: Database) -> dict[str, int]:
    with database.connect() as connection:
        return gone_days(connection)


@pytest.fixture
def loaded(database: Database, staging: LocalStaging) -> Database:
    """Three readings of a minute of September, of two received hours, and one of today."""
    stage(staging, "a", [value(1, SEPTEMBER), value(2, SEPTEMBER + SECOND)])
    stage(staging, "b", [value(3, SEPTEMBER + 2 * SECOND), value(4, HOUR)], hour=NEXT_HOUR, first_sequence=10)
    load(staging, database)
    roll_up_changed(database)
    return database


@pytest.fixture
def gone(loaded: Database) -> Database:
    """September was deleted, and then more was to be kept: of one day of it the ledger says that something lacks."""
    expire(loaded, DAYS, now=NOW)
    assert days_gone(loaded) == {"raw": 30}
    expire(loaded, {}, now=NOW)
    return loaded


def come_late(database: Database, staging: LocalStaging, number: float = 8, at: datetime = SEPTEMBER) -> int:
    """Buckets that were left."""
    stage(staging, f"late-{number}", [value(number, at + 3 * SECOND)], first_sequence=40)
    load(staging, database)
    return roll_up_changed(database)


def test_a_late_reading_is_kept_and_leaves_the_rollups_of_what_is_gone(gone: Database, staging: LocalStaging) -> None:
    before = rollups(gone)
    assert before[0] == [(SEPTEMBER, 3), (HOUR, 1)]
    assert come_late(gone, staging) == 1
    assert rollups(gone) == before
    assert in_metric(gone) == [(8.0, None, 40), (4.0, None, 11)]
    assert changed_days(gone) == []
    assert days_gone(gone) == {"raw": 1}


def test_its_day_made_again_leaves_them_too(gone: Database, staging: LocalStaging) -> None:
    before = rollups(gone)
    come_late(gone, staging)
    report = roll_up(gone, first=date(2026, 9, 1), last=date(2026, 11, 30), mode=Mode.AGAIN)
    assert (report.left, report.rows) == (1, {"minute": 1, "hour": 2, "day": 2})
    assert rollups(gone) == before


def test_its_day_is_not_held_against_the_readings(gone: Database, staging: LocalStaging) -> None:
    come_late(gone, staging)
    days = rows(gone, "SELECT series, bucket FROM metrics_daily")
    found = reconcile(gone, made=days)
    assert (len(days), found.days, found.differences) == (2, 1, [])


def test_a_backfill_brings_it_back_and_the_next_run_makes_its_rollups_anew(
    gone: Database, staging: LocalStaging
) -> None:
    come_late(gone, staging)
    load(staging, gone, mode=Mode.AGAIN)
    assert roll_up_changed(gone) == 1
    assert counts(gone)[0] == (SEPTEMBER, 3)
    assert expire(gone, {}, now=NOW).brought_back == 1
    assert [found[0][1] for found in rollups(gone)] == [4, 4, 4]
    assert days_gone(gone) == {}
    assert come_late(gone, staging, 9) == 0
    assert counts(gone)[0] == (SEPTEMBER, 5)
    assert mismatches(gone) == []


def test_so_does_the_day_made_again_at_once(gone: Database, staging: LocalStaging) -> None:
    come_late(gone, staging)
    load(staging, gone, mode=Mode.AGAIN)
    report = roll_up(gone, first=SEPTEMBER.date(), last=SEPTEMBER.date(), mode=Mode.AGAIN)
    assert (report.left, counts(gone)[0]) == (0, (SEPTEMBER, 4))
    assert days_gone(gone) == {}


def test_a_backfill_of_some_of_its_hours_leaves_the_rollups(gone: Database, staging: LocalStaging) -> None:
    before = rollups(gone)
    load(staging, gone, mode=Mode.AGAIN, hour=HOUR)
    roll_up_changed(gone)
    assert expire(gone, {}, now=NOW).brought_back == 0
    roll_up(gone, first=SEPTEMBER.date(), last=SEPTEMBER.date(), mode=Mode.AGAIN)
    assert rollups(gone) == before
    load(staging, gone, mode=Mode.AGAIN, hour=NEXT_HOUR)
    assert expire(gone, {}, now=NOW).brought_back == 1


def test_what_has_no_bytes_any_more_is_never_replaced(loaded: Database, staging: LocalStaging) -> None:
    before = rollups(loaded)
    prune(staging, loaded, days=1, now=HOUR + timedelta(days=1, hours=1))
    expire(loaded, DAYS, now=NOW)
    expire(loaded, {}, now=NOW)
    assert load(staging, loaded, mode=Mode.AGAIN).bytes_deleted == 1
    come_late(loaded, staging)
    assert expire(loaded, {}, now=NOW).brought_back == 0
    assert days_gone(loaded) == {"raw": 1}
    assert rollups(loaded) == before


def test_what_is_too_old_even_now_does_not_hold_up_what_was_brought_back(
    loaded: Database, staging: LocalStaging
) -> None:
    expire(loaded, DAYS, now=NOW)
    stage(staging, "c", [value(9, datetime(2016, 1, 1, tzinfo=UTC)), value(5, HOUR + MINUTE)], first_sequence=20)
    load(staging, loaded)
    longer = {"raw": 365.0}
    assert expire(loaded, longer, now=NOW).brought_back == 0
    load(staging, loaded, mode=Mode.AGAIN)
    assert rows(loaded, "SELECT name, expired FROM ledger ORDER BY 1") == [("a", 0), ("b", 0), ("c", 1)]
    assert expire(loaded, longer, now=NOW).brought_back == 30
    assert mismatches(loaded) == []


def test_days_of_which_nothing_was_deleted_are_rolled_up_as_ever(gone: Database, staging: LocalStaging) -> None:
    long_ago = datetime(2016, 2, 29, 12, tzinfo=UTC)
    assert come_late(gone, staging, 7, long_ago) == 0
    assert [found[0] for found in rollups(gone)] == [
        (long_ago, 1),
        (long_ago, 1),
        (long_ago.replace(hour=0), 1),
    ]


def test_an_hour_of_which_minutes_are_gone_stays_until_its_day_is_made_again(
    loaded: Database, staging: LocalStaging
) -> None:
    before = rollups(loaded)
    expire(loaded, {"minute": 40}, now=NOW)
    expire(loaded, {}, now=NOW)
    assert days_gone(loaded) == {"minute": 1}
    other_minute = SEPTEMBER + MINUTE
    assert come_late(loaded, staging, 8, other_minute) == 1
    assert rollups(loaded) == [[(other_minute, 1), (HOUR, 1)], *before[1:]]
    roll_up(loaded, first=SEPTEMBER.date(), last=SEPTEMBER.date(), mode=Mode.AGAIN)
    assert [found[0][1] for found in rollups(loaded)] == [3, 4, 4]
    assert days_gone(loaded) == {}


def test_what_a_backfill_brought_back_is_not_dropped_by_who_planned_to_before(
    gone: Database, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(staging, gone, mode=Mode.AGAIN)
    before = in_metric(gone)
    monkeypatch.setattr(expiry, "kept_from", _once(NOW.replace(day=1), expiry.kept_from))  # as it was asked then
    assert expiry._delete_readings(gone) == expiry._Deleted([], [], 0)
    assert in_metric(gone) == before
    assert len(before) == 4


def _once(first: datetime, real: Any) -> Any:
    """Answers `first`, and from then on what holds."""
    answers = iter([first])
    return lambda *asked, **how: next(answers, None) or real(*asked, **how)
