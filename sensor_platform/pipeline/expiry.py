"""Deletes readings and rollups that are older than their level is kept. The ledger, and what was made of them, stay.

In two steps, for each level. First it is decided, in one transaction: the horizon moves, and the ledger counts what is
older as expired. From then on loads keep nothing older, rollups make nothing of it anew, and checks do not look for it.
Then it is deleted: readings by dropping whole partitions, which takes as long as deleting a file; rollups, which have
no partitions since all of them together are a fraction of the readings, and duplicates, some rows at a time. A crash
between leaves rows too many, which nobody counts, and which the next call deletes.

A longer time, or none, moves the horizon back: what is gone stays gone, until a backfill brings it again. The days that
are gone are noted with their deletion: what was made of them is not made anew of what is left, or comes late.
"""

import calendar
from collections.abc import Mapping
from dataclasses import dataclass, field
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

_TABLES = {MINUTE: metrics_minute, HOUR: metrics_hourly, DAY: metrics_daily}
#: Rows of one statement: short enough that nobody waits for it.
BATCH = 50_000
#: Readers that come meanwhile wait as long.
LOCK_TIMEOUT_MS = 3000
ATTEMPTS = 3


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


def horizons(days: Mapping[str, float], *, now: datetime) -> dict[str, datetime]:
    """From when on each level is kept: readings from the beginning of a month, rollups from that of a day (UTC)."""
    found = {}
    for level in LEVELS:
        if days.get(level):
            at = (now - timedelta(days=days[level])).astimezone(UTC)
            midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
            found[level] = midnight.replace(day=1) if level == RAW else midnight
    return found


def expire(database: Database, days: Mapping[str, float], *, now: datetime, dry_run: bool = False) -> Expired:
    """Deletes what is older than `days`, by level (raw, minute, hour, day); 0, or none: nothing of it."""
    wanted = horizons(days, now=now)
    if dry_run:
        with database.connect() as connection:
            return Expired(True, wanted, partitions=tuple(_partitions(connection, wanted.get(RAW))))
    dropped, _, duplicates = _delete_readings(database)  # of before a crash, or while it was read
    readings = _move_raw_horizon(database, wanted.get(RAW))
    more = _delete_readings(database)
    rollups = {level: _expire_rollups(database, level, wanted.get(level)) for level in _TABLES}
    back = _roll_up_brought_back(database)
    done = Expired(False, wanted, readings, dropped + more[0], more[1], duplicates + more[2], rollups, back)
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
    return not _partitions(connection, horizon) and connection.execute(aside).first() is None


def _partitions(connection: sa.Connection, horizon: datetime | None) -> list[str]:
    return [] if horizon is None else partitions_before(connection, horizon)


def _delete_readings(database: Database) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """Partitions dropped, partitions left, and duplicates deleted: what the horizon says, as it stands."""
    with database.connect() as connection:
        partitions = _partitions(connection, kept_from(connection, RAW))
    dropped = tuple(name for name in partitions if _drop(database, name))
    with database.connect() as connection:
        left = tuple(_partitions(connection, kept_from(connection, RAW)))
    return dropped, left, _delete_old(database, RAW, metric_duplicate, metric_duplicate.c.time)


def _drop(database: Database, name: str) -> bool:
    """Whether this dropped it. Waits for runs of the rollups, which may be reading what the horizon was before."""
    for _ in range(ATTEMPTS):
        try:
            with database.begin() as connection:
                locks.take(connection, locks.ROLLUP)
                # Since it was listed, another process may have dropped it, or moved the horizon back.
                if name not in _partitions(connection, kept_from(connection, RAW, hold=True)):
                    return False
                drop_partition(connection, name, lock_timeout_ms=LOCK_TIMEOUT_MS)
                note_gone(connection, RAW, days_of_partition(name))
        except sa.exc.OperationalError as err:
            if not isinstance(err.orig, psycopg.errors.LockNotAvailable):
                raise
        else:
            return True
    get_logger().warning("partition_in_use", partition=name, going_on="the next call tries again")
    return False


def _expire_rollups(database: Database, level: str, horizon: datetime | None) -> int:
    """Rows deleted."""
    _roll_up_before(database, horizon)
    with database.begin() as connection:
        locks.take(connection, locks.ROLLUP)
        keep_from(connection, level, horizon)
    table = _TABLES[level]
    return _delete_old(database, level, table, table.c.bucket)


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
