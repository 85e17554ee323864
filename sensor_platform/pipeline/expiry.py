"""Deletes readings and rollups that are older than their level is kept. The ledger, and what was made of them, stay.

In two steps, for each level. First it is decided, in one transaction: the horizon moves, and the ledger counts what is
older as expired. From then on loads keep nothing older, rollups make nothing of it anew, and checks do not look for it.
Then it is deleted: readings, minutes and hours by dropping whole partitions, which takes as long as deleting a file;
days, which are few, and duplicates, some rows at a time. A crash between leaves rows too many, which nobody counts, and
which the next call deletes.

A longer time, or none, moves the horizon back: what is gone stays gone, until a backfill brings it again. The days that
are gone are noted with their deletion: what was made of them is not made anew of what is left, or comes late.
"""

import calendar
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.database.partitions import days_of_partition, drop_partition, partitions_before
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import (
    changed_bucket,
    metric,
    metric_duplicate,
    metrics_daily,
    metrics_hourly,
    metrics_minute,
)
from sensor_platform.log import get_logger
from sensor_platform.pipeline.horizon import (
    DAY,
    EPOCH,
    HOUR,
    LEVELS,
    MINUTE,
    RAW,
    brought_back,
    keep_from,
    kept_from,
    note_gone,
)
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.rollups import changed_days, roll_up

#: Those that have a partition a month.
_PARTITIONED = {RAW: metric, MINUTE: metrics_minute, HOUR: metrics_hourly}
#: Rows of one statement: short enough that nobody waits for it.
BATCH = 50_000
#: Readers that come meanwhile wait as long.
LOCK_TIMEOUT_MS = 3000
ATTEMPTS = 3
#: A change of unit that has looked at readings may wait for what we hold.
IN_USE = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


@dataclass(frozen=True, slots=True)
class Expired:
    """What was deleted, or, of a dry run, which partitions would be. `partitions_left`: somebody was reading them.

    brought_back: days that were gone, and are whole again since a backfill, so that their rollups were made anew.
    """

    dry_run: bool
    kept_from: dict[str, datetime] = field(default_factory=dict)  # by level; a level that keeps everything is not in it
    readings: int = 0  # counted as expired
    partitions: tuple[str, ...] = ()
    partitions_left: tuple[str, ...] = ()
    duplicates: int = 0
    rollups: dict[str, int] = field(default_factory=dict)  # rows, by level
    brought_back: int = 0


@dataclass(frozen=True, slots=True)
class _Deleted:
    """Partitions, and rows."""

    dropped: list[str]
    left: list[str]
    rows: int


def horizons(days: Mapping[str, float], *, now: datetime) -> dict[str, datetime]:
    """From when on each level is kept: from the beginning of a month, days from that of a day (UTC)."""
    found = {}
    for level in LEVELS:
        if days.get(level):
            at = (now - timedelta(days=days[level])).astimezone(UTC)
            midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
            found[level] = midnight.replace(day=1) if level in _PARTITIONED else midnight
    return found


def expire(database: Database, days: Mapping[str, float], *, now: datetime, dry_run: bool = False) -> Expired:
    """Deletes what is older than `days`, by level (raw, minute, hour, day); 0, or none: nothing of it."""
    wanted = horizons(days, now=now)
    if dry_run:
        with database.connect() as connection:
            partitions = [name for level in _PARTITIONED for name in _partitions(connection, level, wanted.get(level))]
            return Expired(True, wanted, partitions=tuple(partitions))
    before = _delete_readings(database)  # of before a crash, or while it was read
    readings = _move_raw_horizon(database, wanted.get(RAW))
    after = _delete_readings(database)
    dropped, left, rollups = [*before.dropped, *after.dropped], after.left, {}
    for level in (MINUTE, HOUR):
        gone = _expire_rollups(database, level, wanted.get(level))
        dropped, left, rollups[level] = dropped + gone.dropped, left + gone.left, gone.rows
    rollups[DAY] = _expire_days(database, wanted.get(DAY))
    back = _roll_up_brought_back(database)
    duplicates = before.rows + after.rows
    done = Expired(False, wanted, readings, tuple(dropped), tuple(left), duplicates, rollups, back)
    if done.partitions or any(rollups.values()):
        get_logger().info("expired", partitions=list(done.partitions), readings=readings, rollups=rollups)
    return done


def _move_raw_horizon(database: Database, horizon: datetime | None) -> int:
    """How many readings expired."""
    for _ in range(ATTEMPTS):
        _roll_up_before(database, horizon)
        with database.begin() as connection:
            locks.take(connection, locks.LOAD)
            # Held before readings are looked at: who drops a partition holds it, and then waits for who looks at them.
            before = kept_from(connection, RAW, hold=True)
            if before == horizon:
                return 0
            if before is not None and (horizon is None or horizon < before):
                # Back only when it is all gone: otherwise what is counted as expired would stand there again.
                if _is_deleted(connection, before):
                    keep_from(connection, RAW, horizon)
                return 0
            assert horizon is not None
            if _is_marked(connection, horizon):
                continue  # a load marked it meanwhile: first it is rolled up
            bounds = {"kept_from": horizon, "kept_before": before or EPOCH - timedelta(days=365_000)}
            readings: int = connection.execute(_EXPIRE_READINGS, bounds).scalar_one()
            keep_from(connection, RAW, horizon)
            return readings
    get_logger().warning("expiry_waits", reason="loads go on marking rollups of what is about to be deleted")
    return 0


def _roll_up_before(database: Database, horizon: datetime | None) -> None:
    """What changed in old readings gets into all levels while it can still be read."""
    days = [] if horizon is None else [day for day in changed_days(database) if day < horizon.date()]
    for first in sorted({date(day.year, day.month, 1) for day in days}):
        last = first.replace(day=calendar.monthrange(first.year, first.month)[1])
        roll_up(database, first=first, last=last)


def _is_marked(connection: sa.Connection, horizon: datetime) -> bool:
    marks = sa.select(changed_bucket.c.id).where(changed_bucket.c.level == MINUTE, changed_bucket.c.bucket < horizon)
    return connection.execute(marks.limit(1)).first() is not None


def _is_deleted(connection: sa.Connection, horizon: datetime) -> bool:
    """Whether nothing stands that is older."""
    aside = sa.select(metric_duplicate.c.time).where(metric_duplicate.c.time < horizon).limit(1)
    return not _partitions(connection, RAW, horizon) and connection.execute(aside).first() is None


def _partitions(connection: sa.Connection, level: str, horizon: datetime | None) -> list[str]:
    return [] if horizon is None else partitions_before(connection, _PARTITIONED[level], horizon)


def _delete_readings(database: Database) -> _Deleted:
    """And duplicates, which are its `rows`."""
    gone = _drop_old(database, RAW)
    duplicates = _delete_old(database, RAW, metric_duplicate, metric_duplicate.c.time)
    return replace(gone, rows=duplicates)


def _expire_rollups(database: Database, level: str, horizon: datetime | None) -> _Deleted:
    """Minutes, or hours."""
    before = _drop_old(database, level)  # of before a crash, or while it was read
    _move_rollup_horizon(database, level, horizon)
    after = _drop_old(database, level)
    return _Deleted(before.dropped + after.dropped, after.left, before.rows + after.rows)


def _expire_days(database: Database, horizon: datetime | None) -> int:
    """Rows deleted."""
    _move_rollup_horizon(database, DAY, horizon)
    return _delete_old(database, DAY, metrics_daily, metrics_daily.c.bucket)


def _move_rollup_horizon(database: Database, level: str, horizon: datetime | None) -> None:
    _roll_up_before(database, horizon)
    with database.begin() as connection:
        locks.take(connection, locks.ROLLUP)
        keep_from(connection, level, horizon)


def _drop_old(database: Database, level: str) -> _Deleted:
    """What the horizon says, as it stands; `rows` only of rollups: the ledger knows those of readings."""
    with database.connect() as connection:
        partitions = _partitions(connection, level, kept_from(connection, level))
    rows = {name: _drop(database, level, name) for name in partitions}
    with database.connect() as connection:
        left = _partitions(connection, level, kept_from(connection, level))
    dropped = {name: number for name, number in rows.items() if number is not None}
    return _Deleted(list(dropped), left, sum(dropped.values()))


def _drop(database: Database, level: str, name: str) -> int | None:
    """The rows of it that this dropped; None: it did not. Waits for runs of the rollups, which may be reading what the
    horizon was before."""
    for _ in range(ATTEMPTS):
        try:
            with database.begin() as connection:
                locks.take(connection, locks.ROLLUP)
                # Since it was listed, another process may have dropped it, or moved the horizon back.
                if name not in _partitions(connection, level, kept_from(connection, level, hold=True)):
                    return None
                days = _days(connection, level, name)
                drop_partition(connection, _PARTITIONED[level], name, lock_timeout_ms=LOCK_TIMEOUT_MS)
                note_gone(connection, level, days)
        except sa.exc.OperationalError as err:
            if not isinstance(err.orig, IN_USE):
                raise
        else:
            return sum(days.values())
    get_logger().warning("partition_in_use", partition=name, going_on="the next call tries again")
    return None


def _days(connection: sa.Connection, level: str, name: str) -> dict[datetime, int]:
    """The days of a partition that are gone with it, and their rows: of rollups those that have some. Nobody counts a
    month of readings: whether something lacks of a day of theirs the ledger says."""
    days = days_of_partition(name)
    if level == RAW:
        return dict.fromkeys(days, 0)
    bucket = _PARTITIONED[level].c.bucket
    day = sa.func.date_trunc("day", bucket, "UTC")
    query = sa.select(day, sa.func.count()).where(bucket >= days[0], bucket < days[-1] + timedelta(days=1))
    return dict(connection.execute(query.group_by(day)).tuples().all())


def _delete_old(database: Database, level: str, table: sa.Table, at: sa.ColumnElement[datetime]) -> int:
    """Rows deleted, a batch a transaction: what the horizon of the level says, as it stands in each of them."""
    row: sa.ColumnElement[Any] = sa.literal_column("ctid")
    deleted = 0
    while True:
        with database.begin() as connection:
            horizon = kept_from(connection, level, hold=True)
            if horizon is None:
                return deleted
            some = sa.select(row).select_from(table).where(at < horizon).limit(BATCH)
            this = sa.delete(table).where(row == sa.any_(sa.func.array(some.scalar_subquery()))).returning(at).cte()
            day = sa.func.date_trunc("day", this.c[str(at.key)], "UTC")
            days = dict(connection.execute(sa.select(day, sa.func.count()).group_by(day)).tuples().all())
            note_gone(connection, level, days)
        deleted += sum(days.values())
        if sum(days.values()) < BATCH:
            return deleted


def _roll_up_brought_back(database: Database) -> int:
    """How many days: what came late meanwhile, or is otherwise since the backfill, gets into their rollups."""
    with database.connect() as connection:
        days = [day.date() for day in brought_back(connection)]
    for day in days:
        roll_up(database, first=day, last=day, mode=Mode.AGAIN)
    return len(days)


_EXPIRE_READINGS = statement("sensor_platform.pipeline", "expire_readings")
