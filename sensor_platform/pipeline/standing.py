"""Which readings stand in `metric` and which are kept aside in `metric_duplicate`. Called by the load, under its lock.

The invariant: of each identity (series, time, value, text, quality; timed by receipt: none) exactly one reading stands,
the first in received order, and all others are aside. Most readings are newer than anything of their series: they go
in by plain COPY. The rest are compared, in a temporary table.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from psycopg import sql

from sensor_platform.database.copy import ReadingRows, copy_readings
from sensor_platform.database.raw import cursor, statement
from sensor_platform.database.tables import SCHEMA
from sensor_platform.pipeline.equals import split_equals

METRIC = sql.Identifier(SCHEMA, "metric")
METRIC_DUPLICATE = sql.Identifier(SCHEMA, "metric_duplicate")

#: For a few rows the planner's guess will do; from here on it is worth counting them first.
ANALYZE_FROM_ROWS = 500

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEVER = np.iinfo(np.int64).min


def remove(connection: sa.Connection, micro_batches: list[int], sequences: list[int | None]) -> None:
    """Takes the readings of these messages (None: of the whole micro-batch) out of both tables, into `removed`."""
    connection.execute(_TEMPORARY_TABLES)
    with cursor(connection) as cur, cur.copy("COPY scope (micro_batch, sequence) FROM STDIN") as copy:
        for row in zip(micro_batches, sequences, strict=True):
            copy.write_row(row)
    connection.execute(_REMOVE, {"micro_batches": sorted(set(micro_batches))})


def insert(connection: sa.Connection, rows: ReadingRows, *, after_removal: bool) -> tuple[np.ndarray, np.ndarray]:
    """Puts `rows`, in received order, where they belong. Tells which of them stand, and which beside another value."""
    split = split_equals(rows)
    stands = np.ones(len(rows), dtype=bool)
    stands[split.repeats] = False
    conflicting = split.conflicting.copy()
    known = rows.time[split.first] <= _marks(connection, rows.series)[split.first]
    # Both sorted by (series, time), as the index likes it: twice as fast, and smaller.
    compared, newest = split.first[known], split.first[~known]
    if len(compared) or after_removal:
        aside, conflicts = _compare(connection, rows, compared)
        stands[aside] = False
        conflicting[conflicts] = True
    with cursor(connection) as cur:
        copy_readings(cur, METRIC, rows.take(newest))
        if len(split.repeats):
            copy_readings(cur, METRIC_DUPLICATE, rows.take(split.repeats))
    _raise_marks(connection, rows)
    _mark_loaded(connection, rows.take(newest))
    return stands, conflicting & stands


def _compare(connection: sa.Connection, rows: ReadingRows, places: np.ndarray) -> tuple[list[int], list[int]]:
    """Settles the rows at `places` with what stands. Tells which went aside, and which met another value."""
    connection.execute(_TEMPORARY_TABLES)
    incoming = rows.take(places)
    with cursor(connection) as cur:
        copy_readings(cur, sql.Identifier("incoming"), incoming, places)
    if len(places) >= ANALYZE_FROM_ROWS:
        connection.execute(_MANY_ROWS)
    connection.execute(_PROMOTE)
    aside: list[int] = []
    conflicts: list[int] = []
    if len(places):
        bounds = {"least": as_time(incoming.time.min()), "greatest": as_time(incoming.time.max())}
        connection.execute(_DEMOTE, bounds)
        aside = list(connection.execute(_SET_ASIDE, bounds).scalars())
        conflicts = list(connection.execute(_FIND_CONFLICTS, bounds).scalars())
        connection.execute(_STAND)
    connection.execute(_MARK_DIFFERENCES)
    connection.execute(_ADJUST_LEDGER)
    return aside, conflicts


def _marks(connection: sa.Connection, series: np.ndarray) -> np.ndarray:
    """The newest time ever loaded of each row's series, in microseconds."""
    of, unique = pd.factorize(series, sort=True)
    marks = np.full(len(unique), NEVER)
    found = connection.execute(_READ_MARKS, {"series": unique.tolist()}).all()
    if found:
        ids, times = zip(*found, strict=True)
        marks[np.searchsorted(unique, ids)] = [(time - EPOCH) // timedelta(microseconds=1) for time in times]
    return marks[of]


def _raise_marks(connection: sa.Connection, rows: ReadingRows) -> None:
    if not len(rows):
        return
    of, series = pd.factorize(rows.series, sort=True)  # sorted: two loads lock them in one order
    newest = np.full(len(series), NEVER)
    np.maximum.at(newest, of, rows.time)
    connection.execute(_RAISE_MARKS, {"series": series.tolist(), "times": as_times(newest)})


def _mark_loaded(connection: sa.Connection, rows: ReadingRows) -> None:
    """Marks the minutes of rows that went in uncompared, sorted by (series, time). The rest is in MARK_DIFFERENCES."""
    if not len(rows):
        return
    series, minute = rows.series, rows.time // 60_000_000
    first = np.append(True, (series[1:] != series[:-1]) | (minute[1:] != minute[:-1]))
    buckets = as_times(minute[first] * 60_000_000)
    connection.execute(_MARK_LOADED, {"series": series[first].tolist(), "buckets": buckets})


def as_time(microseconds: Any) -> datetime | None:
    """Microseconds since 1970 as a time; None stays None."""
    return None if microseconds is None else EPOCH + timedelta(microseconds=int(microseconds))


def as_times(microseconds: np.ndarray) -> list[datetime]:
    """The same for a column."""
    return [EPOCH + timedelta(microseconds=value) for value in microseconds.tolist()]


#: Of a group of 100,000 readings, joins and sums fit into this; with PostgreSQL's 4 MB they go through files.
_MANY_ROWS = sa.text("SET LOCAL work_mem = '64MB'; ANALYZE incoming (series, time, micro_batch)")
_TEMPORARY_TABLES = statement("sensor_platform.pipeline", "temporary_tables")
_REMOVE = statement("sensor_platform.pipeline", "remove")
_PROMOTE = statement("sensor_platform.pipeline", "promote")
_DEMOTE = statement("sensor_platform.pipeline", "demote")
_SET_ASIDE = statement("sensor_platform.pipeline", "set_aside")
_FIND_CONFLICTS = statement("sensor_platform.pipeline", "find_conflicts")
_STAND = statement("sensor_platform.pipeline", "stand")
_MARK_DIFFERENCES = statement("sensor_platform.pipeline", "mark_differences")
_ADJUST_LEDGER = statement("sensor_platform.pipeline", "adjust_ledger")
_READ_MARKS = statement("sensor_platform.pipeline", "read_marks")
_RAISE_MARKS = statement("sensor_platform.pipeline", "raise_marks")
_MARK_LOADED = statement("sensor_platform.pipeline", "mark_loaded")
