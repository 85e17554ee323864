"""An event day as the rollups have it: how many series and readings, and how many of these are good."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.tables import metrics_daily, metrics_hourly


@dataclass(frozen=True, slots=True)
class DayFigures:
    """Totals of an event day: rows of `metrics_daily` (`series`), of `metrics_hourly` (`hours`), and their readings."""

    series: int = 0
    hours: int = 0
    readings: int = 0
    good: int = 0

    @property
    def good_percent(self) -> float | None:
        """None where nothing was read."""
        return round(100 * self.good / self.readings, 2) if self.readings else None


def day_figures(database: Database, *, first: date, last: date) -> dict[date, DayFigures]:
    """Figures of each day from `first` to `last`; one without a row has zeros."""
    start, end = _midnight(first), _midnight(last + timedelta(days=1))
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    with database.read_only() as connection:
        daily = {row.day: row for row in connection.execute(_daily, {"start": start, "end": end})}
        hours = dict(connection.execute(_hours, {"start": start, "end": end}).tuples().all())
    return {
        day: DayFigures(row.series, hours.get(day, 0), row.readings, row.good)
        if (row := daily.get(day)) is not None
        else DayFigures(hours=hours.get(day, 0))
        for day in days
    }


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _day(table: sa.Table) -> sa.ColumnElement[date]:
    return sa.cast(sa.func.timezone("UTC", table.c.bucket), sa.Date).label("day")


def _within(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.bucket >= sa.bindparam("start"), table.c.bucket < sa.bindparam("end"))


def _sum(column: sa.Column[int]) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.coalesce(sa.func.sum(column), 0), sa.BigInteger).label(column.name)


_daily = (
    sa.select(
        _day(metrics_daily),
        sa.func.count().label("series"),
        _sum(metrics_daily.c.readings),
        _sum(metrics_daily.c.good),
    )
    .where(_within(metrics_daily))
    .group_by("day")
)
_hours = sa.select(_day(metrics_hourly), sa.func.count()).where(_within(metrics_hourly)).group_by("day")
