"""Partitions of `metric`, one a month of event time, made when the first reading of that month is about to be loaded.

The database's own functions do it, with the rights of the tables' owner.
"""

from collections.abc import Iterable
from datetime import date

import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.tables import SCHEMA

Month = tuple[int, int]


def make_partitions(connection: sa.Connection, months: Iterable[Month]) -> None:
    """Makes those of `months` (year, month) that are missing. Any number of processes may do so at once."""
    wanted = sorted(set(months))
    if not _missing(connection, wanted):
        return
    locks.take(connection, locks.PARTITION)
    for month in _missing(connection, wanted):
        connection.execute(_MAKE, {"month": date(*month, 1)})


def _missing(connection: sa.Connection, months: list[Month]) -> list[Month]:
    statement = sa.text(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(:schema) AND relname = ANY(:names)"
    )
    names = [_name(month) for month in months]
    found = set(connection.execute(statement, {"schema": SCHEMA, "names": names}).scalars())
    return [month for month in months if _name(month) not in found]


def _name(month: Month) -> str:
    return f"metric_{month[0]:04d}_{month[1]:02d}"


_MAKE = sa.text("SELECT sensor_platform.make_partition(:month)")
