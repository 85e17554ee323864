"""Partitions of `metric`, one a month of event time, made when the first reading of that month is about to be loaded.

Not CREATE TABLE ... PARTITION OF: that locks all of `metric` against readers. A table of its own that is attached takes
a lock that only other attaches wait for.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

import sqlalchemy as sa
from psycopg import sql

from sensor_platform.database import locks
from sensor_platform.database.raw import cursor
from sensor_platform.database.tables import SCHEMA

Month = tuple[int, int]

_CREATE = sql.SQL("CREATE TABLE {partition} (LIKE {metric} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)")
_ATTACH = sql.SQL("ALTER TABLE {metric} ATTACH PARTITION {partition} FOR VALUES FROM ({start}) TO ({end})")


def make_partitions(connection: sa.Connection, months: Iterable[Month]) -> None:
    """Makes those of `months` (year, month) that are missing. Any number of processes may do so at once."""
    wanted = sorted(set(months))
    if not _missing(connection, wanted):
        return
    locks.take(connection, locks.PARTITION)
    for month in _missing(connection, wanted):
        year, number = month
        names = {"metric": sql.Identifier(SCHEMA, "metric"), "partition": sql.Identifier(SCHEMA, _name(month))}
        start = datetime(year, number, 1, tzinfo=UTC)
        end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
        with cursor(connection) as cur:
            cur.execute(_CREATE.format(**names))
            cur.execute(_ATTACH.format(**names, start=sql.Literal(start), end=sql.Literal(end)))


def _missing(connection: sa.Connection, months: list[Month]) -> list[Month]:
    statement = sa.text(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(:schema) AND relname = ANY(:names)"
    )
    names = [_name(month) for month in months]
    found = set(connection.execute(statement, {"schema": SCHEMA, "names": names}).scalars())
    return [month for month in months if _name(month) not in found]


def _name(month: Month) -> str:
    return f"metric_{month[0]:04d}_{month[1]:02d}"
