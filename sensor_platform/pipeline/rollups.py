"""Rollups by minute, hour and day of event time, each made from the level below.

Loads mark the minutes whose values changed; a run recomputes the marked buckets, clears their marks in the same
transaction and marks the level above. What is rolled up is what the view `reading` shows, without readings of bad
quality, text and NaN. Recomputing a bucket, rather than adding to it, makes any number of repeats harmless.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.database.tables import (
    SCHEMA,
    Timestamp,
    changed_bucket,
    metrics_daily,
    metrics_hourly,
    metrics_minute,
)
from sensor_platform.pipeline.mode import Mode

LEVELS = ("minute", "hour", "day")
#: 10^18 readings of the greatest size have a sum that a float holds, and of the least one a mean.
GREATEST_SUMMABLE, LEAST_SUMMABLE = 1e290, 1e-280

#: level -> its table and the level above
_TABLES = {"minute": metrics_minute, "hour": metrics_hourly, "day": metrics_daily}
_ABOVE = {"minute": "hour", "hour": "day"}
_LENGTHS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}

_reading = sa.table(
    "reading",
    sa.column("series", sa.Integer),
    sa.column("time", Timestamp),
    sa.column("value", sa.Double),
    sa.column("quality", sa.Text),
    schema=SCHEMA,
)
#: Buckets of this transaction, so that the marks are read once.
_recomputed = sa.table("recomputed", sa.column("series", sa.Integer), sa.column("bucket", Timestamp))
_MAKE_RECOMPUTED = sa.text(
    "CREATE TEMPORARY TABLE IF NOT EXISTS recomputed (series integer NOT NULL, bucket timestamptz NOT NULL)"
    " ON COMMIT DELETE ROWS"
)


@dataclass(frozen=True, slots=True)
class RollupReport:
    """Rows made, by level, and buckets looked at, in all: more than rows where a bucket became empty."""

    rows: dict[str, int] = field(default_factory=dict)
    buckets: int = 0


def changed_days(database: Database) -> list[date]:
    """Event days with marked buckets of any level, oldest first."""
    day = sa.cast(sa.func.timezone("UTC", changed_bucket.c.bucket), sa.Date)
    with database.connect() as connection:
        return list(connection.execute(sa.select(day).distinct().order_by(day)).scalars())


def roll_up(
    database: Database, *, first: date, last: date, levels: Sequence[str] = LEVELS, mode: Mode = Mode.NEW
) -> RollupReport:
    """Recomputes the marked buckets of the days from `first` to `last`, or all of them with Mode.AGAIN."""
    start = datetime.combine(first, time(), UTC)
    end = datetime.combine(last, time(), UTC) + timedelta(days=1)
    buckets, rows = 0, {}
    for level in sorted(levels, key=LEVELS.index):
        with database.begin() as connection:
            locks.take(connection, locks.ROLLUP)
            connection.execute(_MAKE_RECOMPUTED)
            buckets += _take_marks(connection, level, start, end)
            if mode is Mode.AGAIN:
                buckets += _take_all(connection, level, start, end)
            rows[level] = _recompute(connection, level, start, end)
    return RollupReport(rows, buckets)


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
    """Adds every bucket that has a row, or has something to make one of."""
    source, at = _source(level)
    table = _TABLES[level]
    has = sa.select(source.c.series, _bucket(level, at).label("bucket")).where(at >= start, at < end)
    had = sa.select(table.c.series, table.c.bucket).where(table.c.bucket >= start, table.c.bucket < end)
    marked = sa.select(_recomputed.c.series, _recomputed.c.bucket)
    more = sa.union(has, had).subquery()
    wanted = sa.except_(sa.select(more.c.series, more.c.bucket), marked)
    return _insert(connection, sa.insert(_recomputed).from_select(["series", "bucket"], wanted))


def _recompute(connection: sa.Connection, level: str, start: datetime, end: datetime) -> int:
    """Makes the rows of `recomputed` anew and marks the level above."""
    table = _TABLES[level]
    same = sa.and_(table.c.series == _recomputed.c.series, table.c.bucket == _recomputed.c.bucket)
    connection.execute(sa.delete(table).where(same))
    made = _aggregate(level, start, end)
    values = sa.select(_recomputed.c.series, _recomputed.c.bucket, *made.c).join_from(_recomputed, made, sa.true())
    names = ["series", "bucket", "count", "min", "max", "sum"]
    rows = _insert(connection, sa.insert(table).from_select(names, values.where(made.c.count > 0)))
    if level in _ABOVE:
        above = _ABOVE[level]
        marks = sa.select(
            sa.literal(above), _recomputed.c.series, _bucket(above, _recomputed.c.bucket).label("bucket")
        ).distinct()
        connection.execute(sa.insert(changed_bucket).from_select(["level", "series", "bucket"], marks))
    return rows


def _aggregate(level: str, start: datetime, end: datetime) -> sa.FromClause:
    """count, min, max and sum of one bucket. Lateral: an index scan a bucket, whatever the planner believes."""
    source, at = _source(level)
    if level == "minute":
        value = source.c.value
        columns: tuple[sa.ColumnElement[Any], ...] = (
            sa.func.count(),
            sa.func.min(value),
            sa.func.max(value),
            sa.func.sum(_summable(value)),
        )
        counted = sa.and_(source.c.quality != "bad", value != sa.cast("NaN", sa.Double))
    else:
        c = source.c
        columns = (sa.func.sum(c.count), sa.func.min(c.min), sa.func.max(c.max), sa.func.sum(c.sum))
        counted = sa.true()
    labelled = [column.label(name) for column, name in zip(columns, ("count", "min", "max", "sum"), strict=True)]
    in_bucket = sa.and_(at >= _recomputed.c.bucket, at < _recomputed.c.bucket + _LENGTHS[level])
    # The days are in it a second time, as constants, so that partitions are left out when planning.
    return (
        sa.select(*labelled)
        .where(source.c.series == _recomputed.c.series, in_bucket, at >= start, at < end, counted)
        .correlate(_recomputed)
        .lateral("made")
    )


def _summable(value: sa.ColumnElement[float]) -> sa.ColumnElement[float]:
    """The value; infinity or 0 where it is beyond all measure: an overflow, or underflow, would fail every series."""
    infinity, size = sa.cast("Infinity", sa.Double), sa.func.abs(value)
    return sa.case(
        (size < LEAST_SUMMABLE, 0.0),
        (size <= GREATEST_SUMMABLE, value),
        (value > 0, infinity),
        else_=-infinity,
    )


def _insert(connection: sa.Connection, statement: sa.Insert) -> int:
    """Runs `statement` and tells how many rows it made; SQLAlchemy forgets that of an INSERT unless asked."""
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount


def _source(level: str) -> tuple[sa.FromClause, sa.ColumnElement[datetime]]:
    """What a level is made of, and the column of its times."""
    if level == "minute":
        return _reading, _reading.c.time
    below = metrics_minute if level == "hour" else metrics_hourly
    return below, below.c.bucket


def _bucket(level: str, at: sa.ColumnElement[datetime]) -> sa.ColumnElement[datetime]:
    return sa.func.date_trunc(level, at, "UTC")
