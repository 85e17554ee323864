"""Another unit for the rollups that cannot be made anew, since retention has deleted some of what they were made of.

They are converted as they stand: every figure follows from its own row, but for the last digits. The others are left:
what changed below them is marked, and they are made of it again.
"""

from typing import Any

import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.tables import gone_day, metrics_daily, metrics_hourly, metrics_minute, retention
from sensor_platform.pipeline.horizon import DAY, HOUR, LEVELS, MINUTE, kept_from
from sensor_platform.transformers.units import Conversion

_TABLES = {MINUTE: metrics_minute, HOUR: metrics_hourly, DAY: metrics_daily}
#: PostgreSQL raises where a float would overflow, or become 0: what is beyond becomes infinite, what is below is 0.
MOST, LEAST = 1e300, 1e-300


def hold_left(connection: sa.Connection) -> bool:
    """Whether there may be such rows. Then nobody else writes rollups until the transaction ends: to be asked under
    the lock of the load, and before any reading is touched."""
    expired = sa.exists().where(retention.c.kept_from.is_not(None))
    if not connection.execute(sa.select(expired | sa.exists(sa.select(gone_day.c.day)))).scalar_one():
        return False
    locks.take(connection, locks.ROLLUP)
    return True


def convert_left(connection: sa.Connection, series: int, how: Conversion) -> None:
    """Converts the rows of `series` that cannot be made anew, of every level; under `hold_left`."""
    if how.changes_nothing:
        return
    for level, table in _TABLES.items():
        kept_from(connection, level, hold=True)  # who deletes old rows holds it, and takes them in another order
        mine = sa.update(table).where(table.c.series == series, _cannot_be_made(level, table.c.bucket))
        connection.execute(mine.values(_figures(table, how)))


def _cannot_be_made(level: str, bucket: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Something of any level below is gone: what stands of the one next below may be converted so itself."""
    below = LEVELS[: LEVELS.index(level)]
    horizon = sa.select(sa.func.max(retention.c.kept_from)).where(retention.c.level.in_(below)).scalar_subquery()
    gone = sa.select(gone_day.c.day).where(gone_day.c.level.in_(below))
    return (bucket < horizon) | sa.func.date_trunc("day", bucket, "UTC").in_(gone)


def _figures(table: sa.Table, how: Conversion) -> dict[str, sa.ColumnElement[Any]]:
    """Units have no scale below 0, so the least value stays the least."""
    row = table.c
    seconds = sa.func.date_part("epoch", row.last_time - row.first_time)
    values = {name: _converted(row[name], how, sa.literal(1.0, sa.Double)) for name in ("min", "max", "first", "last")}
    sums = {"sum": _converted(row.sum, how, row.count), "area": _converted(row.area, how, seconds)}
    square = (how.factor / how.divisor) ** 2
    return {**values, **sums, "m2": _scaled(row.m2, square, beyond=sa.null())}


def _converted(figure: sa.ColumnElement[Any], how: Conversion, times: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A sum of that many values (or, of an area, of value times seconds)."""
    scaled = _scaled(figure, how.factor, how.divisor, beyond=sa.func.sign(figure) * sa.cast("Infinity", sa.Double))
    return (scaled + sa.cast(times, sa.Double) * _float(how.offset)) / _float(how.divisor)


def _scaled(
    figure: sa.ColumnElement[Any], factor: float, divisor: float = 1.0, *, beyond: sa.ColumnElement[Any]
) -> sa.ColumnElement[Any]:
    """Times `factor`, such that a division by `divisor` is safe afterwards."""
    size = sa.func.abs(figure)
    return sa.case(
        (size > _float(MOST / max(1.0, factor)), beyond),
        (size < _float(LEAST / min(1.0, factor / divisor)), _float(0.0)),
        else_=figure * _float(factor),
    )


def _float(number: float) -> sa.ColumnElement[Any]:
    return sa.cast(sa.literal(number, sa.Double), sa.Double)
