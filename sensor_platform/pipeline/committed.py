"""What stands of whole micro-batches: their readings, open dead letters and thinned counts. Read before they go.

By one COPY, parsed to columns: a driver would make a Python object of each cell.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, LiteralString

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from psycopg import sql
from pyarrow import csv

from sensor_platform.database.copy import ReadingRows
from sensor_platform.database.raw import cursor
from sensor_platform.database.tables import SCHEMA, dead_letter, ledger
from sensor_platform.pipeline.horizon import EPOCH, RAW, kept_from
from sensor_platform.pipeline.standing import NEVER

#: (ledger id, sequence, ordinal)
Place = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Committed:
    """`readings` hold those that stand and those kept aside; `letters` are the open ones, with their codes."""

    ids: dict[str, int]  # name of the micro-batch -> ledger id; those that are not loaded are left out
    readings: ReadingRows
    letters: dict[Place, str] = field(default_factory=dict)
    thinned: int = 0
    kept_from: int = NEVER  # readings before are not kept, in microseconds since 1970
    routes: dict[str, dict[str, str]] = field(default_factory=dict)  # those that made them


def committed(connection: sa.Connection, names: Collection[str]) -> Committed:
    """What stands of the micro-batches of these names."""
    stands = around(connection, names)
    if not stands.ids:
        return stands
    bounds = sa.select(sa.func.min(ledger.c.least_time), sa.func.max(ledger.c.greatest_time))
    least, greatest = connection.execute(bounds.where(ledger.c.id.in_(stands.ids.values()))).one()
    if least is None:
        return stands
    # Literals: COPY takes no parameters, and the planner leaves out the partitions of other times.
    where = sql.SQL(_WHERE).format(
        ids=sql.SQL(", ").join(map(sql.Literal, stands.ids.values())),
        least=sql.Literal(least),
        greatest=sql.Literal(greatest),
    )
    tables = [sql.SQL("SELECT * FROM {} ").format(sql.Identifier(SCHEMA, name)) for name in _TABLES]
    rows = read_rows(connection, sql.SQL(" UNION ALL ").join(table + where for table in tables))
    return replace(stands, readings=rows)


def around(connection: sa.Connection, names: Collection[str]) -> Committed:
    """The same without the readings: what a load reads before it takes those out."""
    columns = (ledger.c.name, ledger.c.id, ledger.c.thinned, ledger.c.route_versions)
    rows = connection.execute(sa.select(*columns).where(ledger.c.name.in_(names))).all()
    ids = {row.name: row.id for row in rows}
    letter = dead_letter.c
    query = sa.select(letter.micro_batch, letter.sequence, letter.ordinal, letter.code)
    query = query.where(letter.micro_batch.in_(ids.values()), letter.state != "resolved")
    letters = {(row.micro_batch, row.sequence, row.ordinal): row.code for row in connection.execute(query)}
    routes = {name: described for row in rows for name, described in row.route_versions.items()}
    horizon = kept_from(connection, RAW)
    oldest = NEVER if horizon is None else (horizon - EPOCH) // timedelta(microseconds=1)
    return Committed(ids, no_rows(), letters, sum(row.thinned for row in rows), oldest, routes)


def read_rows(connection: sa.Connection, rows: sql.Composable) -> ReadingRows:
    """The rows of `rows`, a SELECT that has the columns of `metric`."""
    copied = sql.SQL("COPY (SELECT {} FROM ({}) AS reading) TO STDOUT (FORMAT csv)").format(_CELLS, rows)
    with cursor(connection) as cur, cur.copy(copied) as copy:
        text = b"".join(bytes(part) for part in copy)
    if not text:
        return no_rows()
    names = csv.ReadOptions(column_names=list(_TYPES), block_size=len(text) + 1)
    return _as_rows(csv.read_csv(pa.BufferReader(text), names, csv.ParseOptions(newlines_in_values=True), _AS_WRITTEN))


def no_rows() -> ReadingRows:
    """None at all."""
    return _as_rows(pa.table({name: pa.array([], kind) for name, kind in _TYPES.items()}))


def _as_rows(table: pa.Table) -> ReadingRows:
    value = pc.fill_null(table["value"], float("nan"))
    numbers: dict[str, Any] = {name: table[name].to_numpy().astype(kind) for name, kind in _NUMPY.items()}
    return ReadingRows(
        time=table["time"].cast(pa.int64()).to_numpy(),
        value=value.to_numpy().astype(np.float64),
        timed_by_receipt=np.asarray(table["timed_by_receipt"].to_numpy(), dtype=bool),
        text=np.asarray(table["text"].to_numpy(), dtype=object),
        **numbers,
    )


_NUMPY = {
    "sequence": np.int64,
    "series": np.int32,
    "micro_batch": np.int32,
    "ordinal": np.int32,
    "quality": np.int16,
    "source_unit": np.int8,
}
_TYPES = {
    "time": pa.timestamp("us", "UTC"),
    "value": pa.float64(),
    "sequence": pa.int64(),
    "series": pa.int32(),
    "micro_batch": pa.int32(),
    "ordinal": pa.int32(),
    "quality": pa.int16(),
    "timed_by_receipt": pa.bool_(),
    "source_unit": pa.int16(),
    "text": pa.string(),
}
_TOLD: dict[str, LiteralString] = {
    "quality": "CASE quality WHEN 'g' THEN 0 WHEN 'u' THEN 1 ELSE 2 END",
    "source_unit": "source_unit::integer",
    "text": "CASE WHEN text <> '' OR value IS NULL THEN text END",
}
_CELLS = sql.SQL(", ").join(sql.SQL(_TOLD[name]) if name in _TOLD else sql.Identifier(name) for name in _TYPES)
_TABLES = ("metric", "metric_duplicate")
_WHERE = "WHERE micro_batch IN ({ids}) AND time >= {least} AND time <= {greatest}"
# NULL is an empty cell, an empty text is a quoted one.
_AS_WRITTEN = csv.ConvertOptions(
    column_types=_TYPES,
    null_values=[""],
    strings_can_be_null=True,
    quoted_strings_can_be_null=False,
    true_values=["t"],
    false_values=["f"],
)
