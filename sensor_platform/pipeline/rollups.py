"""Rollups by minute, hour and day of event time: minutes from readings, hours from minutes, days from hours.

Loads mark the minutes whose values changed; a run recomputes the marked buckets, clears their marks in the same
transaction and marks the level above. What is rolled up is what the view `reading` shows, without texts; readings of
bad quality and NaN count in the share of good ones alone. Recomputing a bucket, rather than adding to it, makes any
number of repeats harmless, and a row says nothing that is not of its own readings: which were loaded first, or late,
or how often it was made, leaves no trace in any bit of it. What held at its start is looked up when it is read, by the
views `rollup_minute`, `rollup_hour` and `rollup_day`: so a late reading touches its own buckets alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import LiteralString

import sqlalchemy as sa
from psycopg import sql

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.database.partitions import make_partitions, missing_partitions
from sensor_platform.database.raw import cursor, text
from sensor_platform.database.tables import (
    SCHEMA,
    Timestamp,
    changed_bucket,
    metric,
    metrics_daily,
    metrics_hourly,
    metrics_minute,
)
from sensor_platform.log import get_logger
from sensor_platform.pipeline.horizon import MINUTE, RAW, brought_back, leave_expired, take_back, take_back_made
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.reconciliation import MOST_DAYS, Day

LEVELS = ("minute", "hour", "day")
#: PostgreSQL does not see that one connection of ours waits for another.
LOCK_TIMEOUT_MS = 30_000
GONE = "retention has deleted some of what they were made of; a backfill of the received hours brings it back"

#: level -> its table and the level above
_TABLES = {"minute": metrics_minute, "hour": metrics_hourly, "day": metrics_daily}
#: Those whose tables have a partition a month.
PARTITIONED = ("minute", "hour")
_ABOVE = {"minute": "hour", "hour": "day"}

#: Buckets of this transaction, so that the marks are read once.
_recomputed = sa.table("recomputed", sa.column("series", sa.Integer), sa.column("bucket", Timestamp))
_MAKE_RECOMPUTED = sa.text(
    "CREATE TEMPORARY TABLE IF NOT EXISTS recomputed (series integer NOT NULL, bucket timestamptz NOT NULL)"
    " ON COMMIT DELETE ROWS"
)


@dataclass(frozen=True, slots=True)
class RollupReport:
    """Rows made, by level, and buckets looked at, in all: more than rows where a bucket became empty.

    days: some of the days that were made anew, by chance, each a series and its start. left: buckets that changed, and
    stay as they are, since retention has deleted some of what they were made of.
    """

    rows: dict[str, int] = field(default_factory=dict)
    buckets: int = 0
    days: list[Day] = field(default_factory=list)
    left: int = 0

    def __add__(self, other: "RollupReport") -> "RollupReport":
        levels = {**self.rows, **other.rows}
        rows = {level: self.rows.get(level, 0) + other.rows.get(level, 0) for level in levels}
        days = [*self.days, *other.days]
        return RollupReport(rows, self.buckets + other.buckets, days, self.left + other.left)


def changed_days(database: Database) -> list[date]:
    """Event days with marked buckets of any level, oldest first."""
    day = sa.cast(sa.func.timezone("UTC", changed_bucket.c.bucket), sa.Date)
    with database.connect() as connection:
        return list(connection.execute(sa.select(day).distinct().order_by(day)).scalars())


def roll_up(
    database: Database, *, first: date, last: date, levels: Sequence[str] = LEVELS, mode: Mode = Mode.NEW
) -> RollupReport:
    """Recomputes the marked buckets of the days from `first` to `last`, or all of them with Mode.AGAIN.

    Days of which something is gone are left, unless a backfill brought it back: Mode.AGAIN looks whether it did.
    """
    start = datetime.combine(first, time(), UTC)
    end = datetime.combine(last, time(), UTC) + timedelta(days=1)
    buckets, left, rows = 0, 0, {}
    days: list[Day] = []
    for level in sorted(levels, key=LEVELS.index):
        with database.begin() as connection:
            locks.take(connection, locks.ROLLUP)
            connection.execute(_MAKE_RECOMPUTED)
            buckets += _take_marks(connection, level, start, end)
            if mode is Mode.AGAIN:
                buckets += _take_all(connection, level, start, end)
                if level == MINUTE:
                    take_back(connection, RAW, brought_back(connection, first, last))
            left += leave_expired(connection, level)
            _make_partitions(database, connection, level)
            rows[level] = _recompute(connection, level, start, end)
            if mode is Mode.AGAIN:
                take_back_made(connection, level, start, end)
            if level == "day":
                days = _some_days(connection)
    if left:
        get_logger().warning("rollups_left", buckets=left, first=str(first), last=str(last), since=GONE)
    return RollupReport(rows, buckets, days, left)


def _take_marks(connection: sa.Connection, level: str, start: datetime, end: datetime) -> int:
    """Moves the marks of `level` into `recomputed`. A load that commits later leaves its own for the next run."""
    taken = (
        sa.delete(changed_bucket)
        .where(changed_bucket.c.level == level, changed_bucket.c.bucket >= start, changed_bucket.c.bucket < end)
        .returning(changed_bucket.c.series, changed_bucket.c.bucket)
        .cte("taken")
    )
    chosen = sa.select(taken.c.series, taken.c.bucket).distinct()
    return _insert(connection, sa.insert(_recomputed).from_select(["series", "bucket"], chosen))


def _take_all(connection: sa.Connection, level: str, start: datetime, end: datetime) -> int:
    """Adds every bucket that has a row, or may have something to make one of."""
    source, at = _source(level)
    table = _TABLES[level]
    has = sa.select(source.c.series, _bucket(level, at).label("bucket")).where(at >= start, at < end)
    had = sa.select(table.c.series, table.c.bucket).where(table.c.bucket >= start, table.c.bucket < end)
    marked = sa.select(_recomputed.c.series, _recomputed.c.bucket)
    more = sa.union(has, had).subquery()
    wanted = sa.except_(sa.select(more.c.series, more.c.bucket), marked)
    return _insert(connection, sa.insert(_recomputed).from_select(["series", "bucket"], wanted))


def _make_partitions(database: Database, connection: sa.Connection, level: str) -> None:
    """Those that the rows of `recomputed` will lie in: in a transaction of their own, so that no load that wants one
    waits for ours to end.

    Raises:
        sqlalchemy.exc.OperationalError: somebody waits to have all of the table, and so for us.
    """
    if level not in PARTITIONED:
        return
    table = _TABLES[level]
    month = sa.func.date_trunc("month", _recomputed.c.bucket, "UTC")
    found = connection.execute(sa.select(month).distinct()).scalars()
    missing = missing_partitions(connection, table, [(each.year, each.month) for each in found])
    if missing:
        with database.begin() as other:
            other.execute(sa.text("SELECT set_config('lock_timeout', :ms, true)"), {"ms": str(LOCK_TIMEOUT_MS)})
            make_partitions(other, table, missing)


def _recompute(connection: sa.Connection, level: str, start: datetime, end: datetime) -> int:
    """Makes the rows of `recomputed` anew and marks the level above."""
    table = _TABLES[level]
    same = sa.and_(table.c.series == _recomputed.c.series, table.c.bucket == _recomputed.c.bucket)
    # The bounds once more, so that the partitions of other months are left out when planning.
    connection.execute(sa.delete(table).where(same, table.c.bucket >= start, table.c.bucket < end))
    with cursor(connection) as cur:
        rows = cur.execute(_MAKE[level], {"start": start, "end": end}).rowcount
    if level in _ABOVE:
        above = _ABOVE[level]
        marks = sa.select(
            sa.literal(above), _recomputed.c.series, _bucket(above, _recomputed.c.bucket).label("bucket")
        ).distinct()
        connection.execute(sa.insert(changed_bucket).from_select(["level", "series", "bucket"], marks))
    return rows


def _some_days(connection: sa.Connection) -> list[Day]:
    query = sa.select(_recomputed.c.series, _recomputed.c.bucket).order_by(sa.func.random()).limit(MOST_DAYS)
    return [(series, day) for series, day in connection.execute(query)]


def _insert(connection: sa.Connection, statement: sa.Insert) -> int:
    """Runs `statement` and tells how many rows it made; SQLAlchemy forgets that of an INSERT unless asked."""
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount


def _source(level: str) -> tuple[sa.FromClause, sa.ColumnElement[datetime]]:
    """What a level is made of, and the column of its times."""
    if level == "minute":
        return metric, metric.c.time
    below = metrics_minute if level == "hour" else metrics_hourly
    return below, below.c.bucket


def _bucket(level: str, at: sa.ColumnElement[datetime]) -> sa.ColumnElement[datetime]:
    return sa.func.date_trunc(level, at, "UTC")


def _from_parts(table: sa.Table, below: sa.Table, length: LiteralString) -> sql.Composed:
    names = {"table": sql.Identifier(SCHEMA, table.name), "below": sql.Identifier(SCHEMA, below.name)}
    return sql.SQL(text("sensor_platform.pipeline", "roll_up_parts")).format(**names, length=sql.SQL(length))


#: level -> the statement that makes the rows of `recomputed`. A day of a time zone may have 23 hours: ours has 24.
_MAKE: dict[str, sql.SQL | sql.Composed] = {
    "minute": sql.SQL(text("sensor_platform.pipeline", "roll_up_minutes")),
    "hour": _from_parts(metrics_hourly, metrics_minute, "interval '1 hour'"),
    "day": _from_parts(metrics_daily, metrics_hourly, "interval '24 hours'"),
}
