"""Days of the rollups held against the readings: some of those just made, and some older ones, by chance.

By chance, because all of them would be a second rollup: what is wrong with many days is found soon, at a bounded cost.
A day that has more readings than that is looked at in part: the whole day against its minutes, and a stretch of these
against their readings, another one each time. Of each day that is looked at, an hour and a minute are too.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import metrics_daily, metrics_minute
from sensor_platform.pipeline.horizon import without_gone

#: Days of a series that are looked at, of those just made and of older ones each, while they have no more readings.
MOST_DAYS = 50
MOST_READINGS = 500_000
_DAY = timedelta(hours=24)
DAILY, HOURS, MINUTES, READINGS = "metrics_daily", "metrics_hourly", "metrics_minute", "the readings"

#: A series and the start of a day, UTC.
Day = tuple[int, datetime]


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """days: looked at, those that are to be made anew among them; a line for each figure that differs.

    in_part: those of the days of which a stretch was held against its readings.
    """

    days: int
    differences: list[str]
    in_part: int = 0


class _Stretch(NamedTuple):
    """What a level says of [start, end) is held against what another says that it is made of."""

    series: int
    start: datetime
    end: datetime
    level: str = DAILY
    made_of: str = READINGS


def reconcile(database: Database, *, made: Sequence[Day]) -> Reconciliation:
    """Holds days of `made`, in this order, and older ones against their readings, as far as the bounds allow."""
    with database.connect() as connection:
        older = [(row.series, row.day) for row in connection.execute(_OLDER_DAYS, {"limit": MOST_DAYS})]
        # Where readings or minutes are gone, nothing is left to compare with.
        made, older = without_gone(connection, made), without_gone(connection, older)
        chosen = dict.fromkeys([*_affordable(connection, made[:MOST_DAYS]), *_affordable(connection, older)])
        days = [one for one in chosen if one.level == DAILY]
        stretches = [*chosen, *_within(connection, days)]
        found = connection.execute(_RECONCILE, _columns(stretches)).all() if stretches else []
    return Reconciliation(len(days), [_told(row) for row in found], sum(one.made_of == MINUTES for one in days))


def _told(row: sa.Row[tuple[object, ...]]) -> str:
    when = f"{row.starts:%Y-%m-%d}"
    if row.level != DAILY:
        when += f" from {row.starts:%H:%M} to {row.ends:%H:%M}"
    return f"{row.sensor} {row.metric} on {when}: {row.name}: {row.level} says {row.said}, {row.made_of} {row.found}"


def _columns(stretches: Sequence[_Stretch]) -> dict[str, list[object]]:
    names = ("series", "starts", "ends", "levels", "made_of")
    return {name: list(column) for name, column in zip(names, zip(*stretches, strict=True), strict=True)}


def _affordable(connection: sa.Connection, days: Sequence[Day]) -> Iterator[_Stretch]:
    """Those of `days`, in this order, that have no more readings together than we may look at. Of one that alone has
    more, as much as is left."""
    c = metrics_daily.c
    query = sa.select(c.series, c.bucket, sa.func.coalesce(c.readings, c.count))
    rows = connection.execute(query.where(sa.tuple_(c.series, c.bucket).in_(days)))
    readings = {(series, bucket): number for series, bucket, number in rows}
    left = MOST_READINGS
    for series, day in days:
        number = readings.get((series, day), 0)
        if number <= left:
            left -= number
            yield _Stretch(series, day, day + _DAY)
        elif number > MOST_READINGS and left > 0:
            start, end, number = _some_minutes(connection, series, day, left)
            left -= number
            yield _Stretch(series, day, day + _DAY, made_of=MINUTES)
            yield _Stretch(series, start, end, level=MINUTES)


def _within(connection: sa.Connection, days: Sequence[_Stretch]) -> Iterator[_Stretch]:
    """An hour and a minute of each day, the same ones each time. Of a day that is looked at in part the hour is held
    against its minutes."""
    made_of = {(one.series, one.start): one.made_of for one in days}
    asked = {"series": [one.series for one in days], "days": [one.start for one in days]}
    for series, day, at in connection.execute(_TIMES_OF_DAYS, asked):
        hour, minute = at.replace(minute=0, second=0, microsecond=0), at.replace(second=0, microsecond=0)
        yield _Stretch(series, hour, hour + timedelta(hours=1), HOURS, made_of[series, day])
        yield _Stretch(series, minute, minute + timedelta(minutes=1), MINUTES)


def _some_minutes(connection: sa.Connection, series: int, day: datetime, most: int) -> tuple[datetime, datetime, int]:
    """A stretch of the day that begins by chance, and its readings: no more than `most`, unless it is a single minute.
    Times without a reading belong to the minute before them."""
    c = metrics_minute.c
    query = sa.select(c.bucket, sa.func.coalesce(c.readings, c.count))
    query = query.where(c.series == series, c.bucket >= day, c.bucket < day + _DAY).order_by(c.bucket)
    minutes = connection.execute(query).all()
    if not minutes:
        return day, day, 0
    first = random.randrange(len(minutes))  # noqa: S311  # nobody gains by guessing it
    taken, following = 0, first
    while following < len(minutes) and (following == first or taken + minutes[following][1] <= most):
        taken += minutes[following][1]
        following += 1
    start = day if first == 0 else minutes[first][0]
    return start, day + _DAY if following == len(minutes) else minutes[following][0], taken


_OLDER_DAYS = statement("sensor_platform.pipeline", "older_days")
_TIMES_OF_DAYS = statement("sensor_platform.pipeline", "times_of_days")
_RECONCILE = statement("sensor_platform.pipeline", "reconcile")
