"""Deletes readings and rollups that are older than their level is kept. The ledger, and what was made of them, stay.

In two steps, for each level. First it is decided, in one transaction: the horizon moves, and the ledger counts what is
older as expired. From then on loads keep nothing older, rollups make nothing of it anew, and checks do not look for it.
Then it is deleted: readings by dropping whole partitions, which takes as long as deleting a file; rollups, which have
no partitions since all of them together are a fraction of the readings, and duplicates, some rows at a time. A crash
between leaves rows too many, which nobody counts, and which the next call deletes.

A longer time, or none, moves the horizon back: what is gone stays gone, until a backfill brings it again.
"""

import calendar
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.database.partitions import drop_partition, partitions_before
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import (
    changed_bucket,
    metric_duplicate,
    metrics_daily,
    metrics_hourly,
    metrics_minute,
    retention,
)
from sensor_platform.log import get_logger
from sensor_platform.pipeline.horizon import DAY, EPOCH, HOUR, LEVELS, MINUTE, RAW, kept_from
from sensor_platform.pipeline.rollups import changed_days, roll_up

_TABLES = {MINUTE: metrics_minute, HOUR: metrics_hourly, DAY: metrics_daily}
#: Rows of one statement: short enough that nobody waits for it.
BATCH = 50_000
#: Readers that come meanwhile wait as long.
LOCK_TIMEOUT_MS = 3000
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Expired:
    """What was deleted, or, of a dry run, which partitions would be. `partitions_left`: somebody was reading them."""

    dry_run: bool
    kept_from: dict[str, datetime] = field(default_factory=dict)  # by level; a level that keeps everything is not in it
    readings: int = 0  # counted as expired
    partitions: tuple[str, ...] = ()
    partitions_left: tuple[str, ...] = ()
    duplicates: int = 0
    rollups: dict[str, int] = field(default_factory=dict)  # rows, by level


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
    dropped, left, duplicates = _delete_readings(database)  # of before a crash, or while it was read
    # Back only when it is all gone: otherwise what is counted as expired would stand there again.
    readings = _move_raw_horizon(database, wanted.get(RAW), may_go_back=not left)
    more = _delete_readings(database)
    rollups = {level: _expire_rollups(database, level, wanted.get(level)) for level in _TABLES}
    done = Expired(False, wanted, readings, dropped + more[0], more[1], duplicates + more[2], rollups)
    if done.partitions or any(rollups.values()):
        get_logger().info("expired", partitions=list(done.partitions), readings=readings, rollups=rollups)
    return done


def _move_raw_horizon(database: Database, horizon: datetime | None, *, may_go_back: bool) -> int:
    """How many readings expired."""
    for _ in range(ATTEMPTS):
        _roll_up_before(database, horizon)
        with database.begin() as connection:
            locks.take(connection, locks.LOAD)
            before = kept_from(connection, RAW)
            if horizon is None or (before is not None and horizon <= before):
                if may_go_back:
                    _set(connection, RAW, horizon)
                return 0
            if _is_marked(connection, horizon):
                continue  # a load marked it meanwhile: first it is rolled up
            bounds = {"kept_from": horizon, "kept_before": before or EPOCH - timedelta(days=365_000)}
            readings: int = connection.execute(_EXPIRE_READINGS, bounds).scalar_one()
            _set(connection, RAW, horizon)
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


def _set(connection: sa.Connection, level: str, horizon: datetime | None) -> None:
    if horizon is None:
        connection.execute(sa.delete(retention).where(retention.c.level == level))
        return
    new = insert(retention).values(level=level, kept_from=horizon)
    changed = {"kept_from": horizon, "changed_at": sa.func.now()}
    connection.execute(
        new.on_conflict_do_update(index_elements=["level"], set_=changed, where=retention.c.kept_from != horizon)
    )


def _partitions(connection: sa.Connection, horizon: datetime | None) -> list[str]:
    return [] if horizon is None else partitions_before(connection, horizon)


def _delete_readings(database: Database) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """Partitions dropped, partitions left, and duplicates deleted: what the horizon says, as it stands."""
    with database.connect() as connection:
        horizon = kept_from(connection, RAW)
        partitions = _partitions(connection, horizon)
    if horizon is None:
        return (), (), 0
    dropped = tuple(name for name in partitions if _drop(database, name))
    left = tuple(name for name in partitions if name not in dropped)
    return dropped, left, _delete_before(database, metric_duplicate, metric_duplicate.c.time, horizon)


def _drop(database: Database, name: str) -> bool:
    """Whether it is gone. Waits for runs of the rollups, which may still be reading what the horizon was before."""
    for _ in range(ATTEMPTS):
        try:
            with database.begin() as connection:
                locks.take(connection, locks.ROLLUP)
                drop_partition(connection, name, lock_timeout_ms=LOCK_TIMEOUT_MS)
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
        _set(connection, level, horizon)
    table = _TABLES[level]
    return 0 if horizon is None else _delete_before(database, table, table.c.bucket, horizon)


def _delete_before(database: Database, table: sa.Table, at: sa.ColumnElement[datetime], horizon: datetime) -> int:
    """Rows deleted, a batch a transaction."""
    row: sa.ColumnElement[Any] = sa.literal_column("ctid")
    some = sa.select(row).select_from(table).where(at < horizon).limit(BATCH)
    deleted = 0
    while True:
        with database.begin() as connection:
            n = connection.execute(
                sa.delete(table).where(row == sa.any_(sa.func.array(some.scalar_subquery())))
            ).rowcount
        deleted += n
        if n < BATCH:
            return deleted


_EXPIRE_READINGS = statement("sensor_platform.pipeline", "expire_readings")
