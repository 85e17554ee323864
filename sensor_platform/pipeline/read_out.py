"""Readings and rollups as fast as PostgreSQL gives them: one COPY, parsed to Arrow some megabytes at a time.

Not rows through a driver, which makes a Python object of each cell, and not one query a page, which sorts again and
again. Memory stays bounded by `CHUNK_BYTES`, whatever the number of readings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import pandas as pd
import pyarrow as pa
from psycopg import sql
from pyarrow import csv

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import cursor
from sensor_platform.database.tables import SCHEMA
from sensor_platform.pipeline.readings import find_sensor

#: Text of so many bytes is parsed together.
CHUNK_BYTES = 4 * 1024 * 1024

#: A null `value`: the reading is text alone; NaN is a value.
READINGS = pa.schema(
    [
        pa.field("work_unit", pa.string(), nullable=False),
        pa.field("sensor", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("text", pa.string()),
        pa.field("unit", pa.string()),
        pa.field("quality", pa.string(), nullable=False),
    ]
)

_TIME = pa.timestamp("us", "UTC")
#: What they mean: docs/rollups.md. A null figure: there is none.
ROLLUPS = pa.schema(
    [
        pa.field("work_unit", pa.string(), nullable=False),
        pa.field("sensor", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("unit", pa.string()),
        pa.field("bucket", _TIME, nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        *(pa.field(name, pa.float64()) for name in ("min", "max", "mean", "stddev", "time_weighted_mean", "known_s")),
        pa.field("first", pa.float64()),
        pa.field("first_time", _TIME),
        pa.field("last", pa.float64()),
        pa.field("last_time", _TIME),
        pa.field("good_share", pa.float64()),
    ]
)

_CELLS = csv.ParseOptions(newlines_in_values=True)


@dataclass(frozen=True, slots=True)
class Level:
    """A view that is read out: its columns, the one of its times, and the order of its rows."""

    view: str
    schema: pa.Schema
    time: str
    order: tuple[str, ...]


_BY_BUCKET = ("bucket", "metric")
LEVELS = {
    "readings": Level("reading", READINGS, "time", ("time", "metric", "micro_batch", "sequence", "ordinal")),
    "minute": Level("rollup_minute", ROLLUPS, "bucket", _BY_BUCKET),
    "hour": Level("rollup_hour", ROLLUPS, "bucket", _BY_BUCKET),
    "day": Level("rollup_day", ROLLUPS, "bucket", _BY_BUCKET),
}


def stream_readings(
    database: Database,
    *,
    sensor: str,
    metric: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    level: str = "readings",
) -> Iterator[pa.Table]:
    """Readings of one sensor in [start, end), oldest first, with the policy of their series applied; never empty parts.

    level: readings, or the rollups by minute, hour or day, whose buckets begin in [start, end). Yields tables of the
    schema READINGS, or ROLLUPS. The database's snapshot is that of the start, however long the reading takes.

    Raises:
        UnknownSensorError: no sensor, or more than one, goes by that name.
    """
    with database.connect() as connection:
        work_unit, name = find_sensor(connection, sensor)
        chosen = LEVELS[level]
        wanted: dict[tuple[str, LiteralString], object] = {
            ("work_unit", "="): work_unit,
            ("sensor", "="): name,
            ("metric", "="): metric,
            (chosen.time, ">="): start,
            (chosen.time, "<"): end,
        }
        query = _query(chosen, {test: value for test, value in wanted.items() if value is not None})
        with cursor(connection) as cur, cur.copy(query) as copy:
            lines: list[bytes] = []
            size_bytes = 0
            for line in copy:
                lines.append(bytes(line))
                size_bytes += len(line)
                if size_bytes >= CHUNK_BYTES:
                    yield _parsed(lines, chosen.schema)
                    lines, size_bytes = [], 0
            if lines:
                yield _parsed(lines, chosen.schema)


def read_arrow(
    database: Database,
    *,
    sensor: str,
    metric: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    level: str = "readings",
) -> pa.Table:
    """The same as one table."""
    parts = list(stream_readings(database, sensor=sensor, metric=metric, start=start, end=end, level=level))
    return pa.concat_tables(parts) if parts else LEVELS[level].schema.empty_table()


def read_metrics(
    database: Database,
    *,
    sensor: str,
    metric: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    level: str = "readings",
) -> pd.DataFrame:
    """The same for pandas; see `frame_of`."""
    return frame_of(read_arrow(database, sensor=sensor, metric=metric, start=start, end=end, level=level))


def frame_of(readings: pa.Table) -> pd.DataFrame:
    """Readings for pandas: texts or None, `time` datetime64[us, UTC], `value` float64 (NaN beside a text)."""
    columns = {}
    for name, column in zip(readings.column_names, readings.columns, strict=True):
        # pandas would take a column of texts and None for one of its own, with NaN for None.
        is_text = pa.types.is_string(column.type)
        columns[name] = pd.Series(column.to_numpy(), dtype=object) if is_text else column.to_pandas()
    return pd.DataFrame(columns)


def _query(level: Level, wanted: dict[tuple[str, LiteralString], object]) -> sql.Composed:
    """COPY takes no parameters: they become literals."""
    tests = [
        sql.SQL(" ").join([sql.Identifier(column), sql.SQL(test), sql.Literal(value)])
        for (column, test), value in wanted.items()
    ]
    return sql.SQL("COPY (SELECT {columns} FROM {view} WHERE {tests} ORDER BY {order}) TO STDOUT (FORMAT csv)").format(
        columns=sql.SQL(", ").join(map(sql.Identifier, level.schema.names)),
        view=sql.Identifier(SCHEMA, level.view),
        tests=sql.SQL(" AND ").join(tests),
        order=sql.SQL(", ").join(map(sql.Identifier, level.order)),
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
