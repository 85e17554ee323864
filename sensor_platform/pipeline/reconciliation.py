"""Days of the rollups held against the readings: some of those just made, and some older ones, by chance.

By chance, because all of them would be a second rollup: what is wrong with many days is found soon, at a bounded cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import metrics_daily
from sensor_platform.pipeline.horizon import without_gone

#: Days of a series that are looked at, of those just made and of older ones each, while they have no more readings.
MOST_DAYS = 50
MOST_READINGS = 500_000

#: A series and the start of a day, UTC.
Day = tuple[int, datetime]


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """days: looked at, those that are to be made anew among them; a line for each figure that differs."""

    days: int
    differences: list[str]


def reconcile(database: Database, *, made: Sequence[Day]) -> Reconciliation:
    """Holds days of `made`, in this order, and older ones against their readings, as far as the bounds allow."""
    with database.connect() as connection:
        older = [(row.series, row.day) for row in connection.execute(_OLDER_DAYS, {"limit": MOST_DAYS})]
        # Where readings or minutes are gone, nothing is left to compare with.
        made, older = without_gone(connection, made), without_gone(connection, older)
        chosen = [*_affordable(connection, made[:MOST_DAYS]), *_affordable(connection, older)]
        wanted = {"series": [series for series, _ in chosen], "days": [day for _, day in chosen]}
        found = connection.execute(_RECONCILE, wanted).all()
    differences = [
        f"{row.sensor} {row.metric} on {row.day:%Y-%m-%d}: {row.name}: metrics_daily says {row.said}, "
        f"the readings {row.found}"
        for row in found
    ]
    return Reconciliation(len(set(chosen)), differences)


def _affordable(connection: sa.Connection, days: Sequence[Day]) -> list[Day]:
    """Those of `days`, in this order, that have no more readings together than we may look at."""
    c = metrics_daily.c
    query = sa.select(c.series, c.bucket, sa.func.coalesce(c.readings, c.count))
    rows = connection.execute(query.where(sa.tuple_(c.series, c.bucket).in_(days)))
    readings = {(series, bucket): number for series, bucket, number in rows}
    left, chosen = MOST_READINGS, []
    for day in days:
        number = readings.get(day, 0)
        if number <= left:
            left -= number
            chosen.append(day)
    return chosen


_OLDER_DAYS = statement("sensor_platform.pipeline", "older_days")
_RECONCILE = statement("sensor_platform.pipeline", "reconcile")
