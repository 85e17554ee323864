"""Partitions of readings, minutes and hours, one a month of event time, made when the first row of it is about to come.

The database's own functions do it, with the rights of the tables' owner.
"""

from calendar import monthrange
from collections.abc import Iterable
from datetime import UTC, date, datetime

import sqlalchemy as sa

from sensor_platform.database import locks

Month = tuple[int, int]


def make_partitions(connection: sa.Connection, table: sa.Table, months: Iterable[Month]) -> None:
    """Makes those of `months` (year, month) that are missing. Any number of processes may do so at once."""
    wanted = sorted(set(months))
    if not missing_partitions(connection, table, wanted):
        return
    locks.take(connection, locks.PARTITION)
    for month in missing_partitions(connection, table, wanted):
        connection.execute(_MAKE, {"table": table.name, "month": date(*month, 1)})


def missing_partitions(connection: sa.Connection, table: sa.Table, months: Iterable[Month]) -> list[Month]:
    """Those of `months` that have none."""
    there = set(_partitions(connection, table))
    return [month for month in months if _name(table, month) not in there]


def partitions_before(connection: sa.Connection, table: sa.Table, time: datetime) -> list[str]:
    """Names of the partitions all of whose rows are earlier, oldest first. `time` begins a month."""
    beginning = _name(table, (time.year, time.month))
    return sorted(name for name in _partitions(connection, table) if name < beginning)


def drop_partition(connection: sa.Connection, table: sa.Table, name: str, *, lock_timeout_ms: int) -> None:
    """Needs `table` for itself for a moment, and holds up whoever asks for it while it waits for that.

    Raises:
        sqlalchemy.exc.OperationalError: somebody had it for longer than `lock_timeout_ms` (LockNotAvailable).
    """
    locks.take(connection, locks.PARTITION)
    connection.execute(sa.text("SELECT set_config('lock_timeout', :ms, true)"), {"ms": str(lock_timeout_ms)})
    connection.execute(_DROP, {"table": table.name, "month": days_of_partition(name)[0].date()})


def days_of_partition(name: str) -> list[datetime]:
    """The days (UTC) of its month."""
    first = datetime.strptime(name[-len("2026_01") :], "%Y_%m").replace(tzinfo=UTC)
    return [first.replace(day=day + 1) for day in range(monthrange(first.year, first.month)[1])]


def _partitions(connection: sa.Connection, table: sa.Table) -> Iterable[str]:
    return connection.execute(_OF_TABLE, {"table": str(table)}).scalars()


def _name(table: sa.Table, month: Month) -> str:
    return f"{table.name}_{month[0]:04d}_{month[1]:02d}"


_OF_TABLE = sa.text(
    "SELECT part.relname FROM pg_inherits JOIN pg_class AS part ON part.oid = pg_inherits.inhrelid"
    " WHERE pg_inherits.inhparent = CAST(:table AS regclass)"
)
_MAKE = sa.text("SELECT sensor_platform.make_partition(:table, :month)")
_DROP = sa.text("SELECT sensor_platform.drop_partition(:table, :month)")
