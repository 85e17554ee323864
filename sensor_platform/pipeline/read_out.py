"""Readings and rollups as fast as PostgreSQL gives them: one COPY, parsed to Arrow some megabytes at a time.

Not rows through a driver, which makes a Python object of each cell, and not one query a page, which sorts again and
again. Memory stays bounded by `CHUNK_BYTES`, whatever the number of readings.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import LiteralString, TypedDict, Unpack

import pandas as pd
import psycopg
import pyarrow as pa
import sqlalchemy as sa
from psycopg import sql
from pyarrow import csv

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import cursor
from sensor_platform.database.tables import SCHEMA
from sensor_platform.pipeline.known import find_metric, find_work_unit
from sensor_platform.pipeline.readings import find_sensor
from sensor_platform.pipeline.views import OF_SENSOR, OF_WORK_UNIT, View

#: Text of so many bytes is parsed together.
CHUNK_BYTES = 4 * 1024 * 1024

_CELLS = csv.ParseOptions(newlines_in_values=True)


class Wanted(TypedDict, total=False):
    """Of which sensor or work unit (one of the two), and what of it. What is left out or None: all.

    level: readings, or the rollups by minute, hour or day; of a work unit, with all that lies in it, these alone.
    """

    sensor: str | None
    work_unit: str | None
    metric: str | None
    start: datetime | None  # inclusive; a bucket is of the time when it begins
    end: datetime | None  # exclusive
    level: str


def view_of(wanted: Wanted) -> View:
    """What is read out.

    Raises:
        ValueError: both a sensor and a work unit are named, or neither, or there is no such level.
    """
    of_sensor = wanted.get("sensor") is not None
    if of_sensor == (wanted.get("work_unit") is not None):
        raise ValueError("name a sensor or a work unit")
    views, level = OF_SENSOR if of_sensor else OF_WORK_UNIT, wanted.get("level", "readings")
    if level not in views:
        raise ValueError(f"level {level!r}: a {'sensor' if of_sensor else 'work unit'} has {', '.join(views)}")
    return views[level]


def stream_readings(database: Database, **wanted: Unpack[Wanted]) -> Iterator[pa.Table]:
    """What is wanted, oldest first, readings with the policy of their series applied; never empty parts.

    Yields tables of the schema READINGS, ROLLUPS or WORK_UNIT_ROLLUPS (`pipeline.views`). The database's snapshot is
    that of the start, however long the reading takes.

    Raises:
        UnknownSensorError: no sensor, or more than one, goes by that name.
        UnknownWorkUnitError, UnknownMetricError: there is none of that name.
        ValueError: see `view_of`.
    """
    view = view_of(wanted)
    with _copied(database, view, map(sql.Identifier, view.schema.names), wanted) as copy:
        lines: list[bytes] = []
        size_bytes = 0
        for line in copy:
            lines.append(bytes(line))
            size_bytes += len(line)
            if size_bytes >= CHUNK_BYTES:
                yield _parsed(lines, view.schema)
                lines, size_bytes = [], 0
        if lines:
            yield _parsed(lines, view.schema)


def stream_csv(database: Database, **wanted: Unpack[Wanted]) -> Iterator[bytes]:
    """The same as the lines of a CSV file, as PostgreSQL writes them, the header first.

    Times are ISO 8601 in UTC; NULL is an empty cell, an empty text a quoted one; NaN, Infinity and -Infinity.
    """
    view = view_of(wanted)
    with _copied(database, view, map(_csv_column, view.schema), wanted) as copy:
        yield (",".join(view.schema.names) + "\n").encode()
        yield from map(bytes, copy)


def _csv_column(field: pa.Field) -> sql.Composable:
    name = sql.Identifier(field.name)
    if not pa.types.is_timestamp(field.type):
        return name
    return sql.SQL("""to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""").format(name)


@contextmanager
def _copied(
    database: Database, view: View, columns: Iterable[sql.Composable], wanted: Wanted
) -> Iterator[psycopg.Copy]:
    """Rows of what is named, once it is known that there is such a thing."""
    with database.connect() as connection:
        place = _found(connection, wanted)
        tests: dict[tuple[str, LiteralString], object] = {
            **{(column, "="): name for column, name in place.items()},
            ("metric", "="): wanted.get("metric"),
            (view.time, ">="): wanted.get("start"),
            (view.time, "<"): wanted.get("end"),
        }
        query = _query(view, columns, {test: value for test, value in tests.items() if value is not None})
        with cursor(connection) as cur, cur.copy(query) as copy:
            yield copy


def _found(connection: sa.Connection, wanted: Wanted) -> dict[str, str | None]:
    """The work unit, and the sensor where one is named."""
    name = wanted.get("sensor")
    if name is not None:
        work_unit, name = find_sensor(connection, name)
    else:
        work_unit = find_work_unit(connection, wanted.get("work_unit") or "")
    metric = wanted.get("metric")
    if metric is not None:
        find_metric(connection, metric, work_unit_name=work_unit, sensor_name=name)
    return {"work_unit": work_unit, "sensor": name}


def read_arrow(database: Database, **wanted: Unpack[Wanted]) -> pa.Table:
    """The same as one table."""
    parts = list(stream_readings(database, **wanted))
    return pa.concat_tables(parts) if parts else view_of(wanted).schema.empty_table()


def read_metrics(database: Database, **wanted: Unpack[Wanted]) -> pd.DataFrame:
    """The same for pandas; see `frame_of`."""
    return frame_of(read_arrow(database, **wanted))


def frame_of(readings: pa.Table) -> pd.DataFrame:
    """Readings for pandas: texts or None, `time` datetime64[us, UTC], `value` float64 (NaN beside a text)."""
    columns = {}
    for name, column in zip(readings.column_names, readings.columns, strict=True):
        # pandas would take a column of texts and None for one of its own, with NaN for None.
        is_text = pa.types.is_string(column.type)
        columns[name] = pd.Series(column.to_numpy(), dtype=object) if is_text else column.to_pandas()
    return pd.DataFrame(columns)


def _query(
    view: View, columns: Iterable[sql.Composable], wanted: dict[tuple[str, LiteralString], object]
) -> sql.Composed:
    """COPY takes no parameters: they become literals."""
    tests = [
        sql.SQL(" ").join([sql.Identifier(column), sql.SQL(test), sql.Literal(value)])
        for (column, test), value in wanted.items()
    ]
    return sql.SQL("COPY (SELECT {columns} FROM {view} WHERE {tests} ORDER BY {order}) TO STDOUT (FORMAT csv)").format(
        columns=sql.SQL(", ").join(columns),
        view=sql.Identifier(SCHEMA, view.name),
        tests=sql.SQL(" AND ").join(tests),
        order=sql.SQL(", ").join(map(sql.Identifier, view.order)),
    )


def _parsed(lines: list[bytes], schema: pa.Schema) -> pa.Table:
    text = b"".join(lines)
    # One block: a cell of megabytes must not lie across two.
    names = csv.ReadOptions(column_names=schema.names, block_size=len(text) + 1)
    # NULL is an empty cell, an empty text is a quoted one.
    as_written = csv.ConvertOptions(
        column_types={field.name: field.type for field in schema},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    return csv.read_csv(pa.BufferReader(text), names, _CELLS, as_written).cast(schema)
