"""Partitions of `metric`, one a month of event time, made when the first reading of that month is about to be loaded.

The database's own functions do it, with the rights of the tables' owner.
"""

from calendar import monthrange
from collections.abc import Iterable
from datetime import UTC, date, datetime

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


def partitions_before(connection: sa.Connection, time: datetime) -> list[str]:
    """Names of the partitions all of whose readings are earlier, oldest first. `time` begins a month."""
    found = connection.execute(_OF_METRIC, {"metric": f"{SCHEMA}.metric"}).scalars()
    return sorted(name for name in found if name < _name((time.year, time.month)))


def drop_partition(connection: sa.Connection, name: str, *, lock_timeout_ms: int) -> None:
    """Needs `metric` for itself for a moment, and holds up whoever asks for it while it waits for that.

    Raises:
        sqlalchemy.exc.OperationalError: somebody had it for longer than `lock_timeout_ms` (LockNotAvailable).
    """
    locks.take(connection, locks.PARTITION)
    connection.execute(sa.text("SELECT set_config('lock_timeout', :ms, true)"), {"ms": str(lock_timeout_ms)})
    connection.execute(_DROP, {"month": days_of_partition(name)[0].date()})


def days_of_partition(name: str) -> list[datetime]:
    """The days (UTC) of its month."""
    first = datetime.strptime(name, "metric_%Y_%m").replace(tzinfo=UTC)
    return [first.replace(day=day + 1) for day in range(monthrange(first.year, first.month)[1])]


_OF_METRIC = sa.text(
    "SELECT part.relname FROM pg_inherits JOIN pg_class AS part ON part.oid = pg_inherits.inhrelid"
    " WHERE pg_inherits.inhparent = CAST(:metric AS regclass)"
)


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
_DROP = sa.text("SELECT sensor_platform.drop_partition(:month)")
