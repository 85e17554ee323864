"""Which micro-batches were made with a calibration that is another by now: looked for, and marked in the ledger.

Looking for them walks the index over the times concerned: seconds, of millions of readings. So it is done before the
load's lock is taken, beside loads of new micro-batches, which bring others than were looked at. What would change those
that were looked at (a backfill, a retry) waits.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from sensor_platform.database.raw import statement
from sensor_platform.database.tables import ledger
from sensor_platform.pipeline.calibration import Span

#: A series and times at which a value of it becomes another.
SeriesSpan = tuple[int, Span]


@dataclass(frozen=True, slots=True)
class Outdated:
    """Micro-batches of a received hour that were made with another calibration: to be made again, and those that keep
    what they have, since retention has deleted their bytes."""

    hour: datetime
    micro_batches: int
    kept: int


@dataclass(frozen=True, slots=True)
class Found:
    """Micro-batches with readings in `spans`, of those up to the ledger id `newest`."""

    spans: frozenset[SeriesSpan]
    micro_batches: list[int]
    newest: int


def find(connection: sa.Connection, spans: Collection[SeriesSpan]) -> Found:
    """Those that are concerned. The caller holds the lock of corrections, or that of loads, until they are marked."""
    # First: who commits between the two statements is found by both.
    newest = connection.execute(sa.select(sa.func.coalesce(sa.func.max(ledger.c.id), 0))).scalar_one()
    columns = {"series": [series for series, _ in spans], **_bounds(spans)}
    found = connection.execute(_FIND, columns).scalars() if spans else ()
    return Found(frozenset(spans), sorted(found), newest)


def outdate(connection: sa.Connection, spans: Collection[SeriesSpan], found: Found | None = None) -> list[Outdated]:
    """Marks those whose readings lie in `spans`, under the load's lock. `found`: before that was taken; of what was
    loaded since, all is marked that has readings of these times."""
    if not spans:
        return []
    if found is None or not found.spans <= frozenset(spans):  # somebody else changed a calibration meanwhile
        found = find(connection, spans)
    rest = find(connection, frozenset(spans) - found.spans)  # of series that were registered since
    micro_batches = [*found.micro_batches, *rest.micro_batches]
    marked = connection.execute(_OUTDATE, {"found": micro_batches, "newest": found.newest, **_bounds(spans)})
    return [Outdated(row.hour, row.outdated, row.kept) for row in marked]


def _bounds(spans: Collection[SeriesSpan]) -> dict[str, list[datetime | None]]:
    return {"starts": [start for _, (start, _) in spans], "ends": [end for _, (_, end) in spans]}


_FIND = statement("sensor_platform.pipeline", "find_calibrated")
_OUTDATE = statement("sensor_platform.pipeline", "outdate_calibrated")
