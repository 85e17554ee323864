"""How far back each level is kept, and which days retention has deleted: what is left of those is not rolled up anew.

In the database rather than asked of the settings: it holds from the moment in which retention says so, in one
transaction with the counts of the ledger, for every process and every transaction after it. The horizon may move back,
since somebody wants more to be kept; the days that are gone stay noted until what they were made of is whole again.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from sensor_platform.database.raw import statement
from sensor_platform.database.tables import Timestamp, gone_day, retention

RAW, MINUTE, HOUR, DAY = LEVELS = ("raw", "minute", "hour", "day")
#: What each level is made of: where that is gone, what was made of it stays.
MADE_OF = {MINUTE: RAW, HOUR: MINUTE, DAY: HOUR}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def kept_from(connection: sa.Connection, level: str, *, hold: bool = False) -> datetime | None:
    """The least event time that is kept; None: all. `hold`: others who do wait for our transaction."""
    query = sa.select(retention.c.kept_from).where(retention.c.level == level)
    found: datetime | None = connection.execute(query.with_for_update() if hold else query).scalar()
    return found


def keep_from(connection: sa.Connection, level: str, horizon: datetime | None) -> None:
    """Moves the horizon, on or back. Under the lock of whoever makes that level: LOAD, or ROLLUP."""
    now = sa.func.clock_timestamp()  # the lock is held now: what a load signed before, it loaded before
    before = retention.c.kept_from
    if horizon is None:
        back = sa.update(retention).where(retention.c.level == level, before.is_not(None))
        connection.execute(back.values(kept_from=None, changed_at=now, moved_back_at=now))
        return
    back_at = sa.case((before > horizon, now), else_=retention.c.moved_back_at)
    moved = {"kept_from": horizon, "changed_at": now, "moved_back_at": back_at}
    new = insert(retention).values(level=level, kept_from=horizon)
    connection.execute(
        new.on_conflict_do_update(index_elements=["level"], set_=moved, where=before.is_distinct_from(horizon))
    )


def without_gone(connection: sa.Connection, days: Sequence[tuple[int, datetime]]) -> list[tuple[int, datetime]]:
    """Those (series and day) of which nothing of any level is deleted."""
    whole_from = connection.execute(sa.select(sa.func.max(retention.c.kept_from))).scalar()
    wanted = {day for _, day in days}
    gone = set(connection.execute(sa.select(gone_day.c.day).where(gone_day.c.day.in_(wanted))).scalars())
    return [each for each in days if each[1] not in gone and (whole_from is None or each[1] >= whole_from)]


def too_old(connection: sa.Connection, times: np.ndarray) -> np.ndarray:
    """Which readings are not kept. `times` are microseconds since 1970; to be asked under the lock of the load."""
    horizon = kept_from(connection, RAW)
    if horizon is None:
        return np.zeros(len(times), dtype=bool)
    older: np.ndarray = times < (horizon - EPOCH) // timedelta(microseconds=1)
    return older


def leave_expired(connection: sa.Connection, level: str) -> int:
    """Takes out of `recomputed` what cannot be made anew, since what it was made of is gone, or is not kept itself.

    Tells of how many buckets it would be wanted: a row made of what is left would replace one that was made of all.
    """
    older = sa.select(sa.func.max(retention.c.kept_from)).where(retention.c.level.in_([level, MADE_OF[level]]))
    connection.execute(sa.delete(_recomputed).where(_recomputed.c.bucket < older.scalar_subquery()))
    day = sa.func.date_trunc("day", _recomputed.c.bucket, "UTC")
    gone = sa.exists().where(gone_day.c.level == MADE_OF[level], gone_day.c.day == day)
    return connection.execute(sa.delete(_recomputed).where(gone)).rowcount


def note_gone(connection: sa.Connection, level: str, days: Iterable[datetime]) -> None:
    """In the transaction that deletes rows of these days."""
    rows = [{"level": level, "day": day} for day in days]
    if rows:
        connection.execute(insert(gone_day).on_conflict_do_nothing(), rows)


def brought_back(connection: sa.Connection, first: date | None = None, last: date | None = None) -> list[datetime]:
    """Days whose readings were gone, are to be kept again, and are all there again, since a backfill loaded them."""
    return list(connection.execute(_BROUGHT_BACK, {"first": _midnight(first), "last": _midnight(last)}).scalars())


def take_back(connection: sa.Connection, level: str, days: Collection[datetime]) -> None:
    """These days of a level are not gone any more."""
    connection.execute(sa.delete(gone_day).where(gone_day.c.level == level, gone_day.c.day.in_(days)))


def take_back_made(connection: sa.Connection, level: str, start: datetime, end: datetime) -> None:
    """All rows of `level` in [start, end) were made anew: where what they were made of was whole, they are too."""
    source = gone_day.alias()
    lacks = sa.exists().where(source.c.level == MADE_OF[level], source.c.day == gone_day.c.day)
    older = sa.select(sa.func.max(retention.c.kept_from)).where(retention.c.level.in_([level, MADE_OF[level]]))
    kept = sa.func.coalesce(gone_day.c.day >= older.scalar_subquery(), sa.true())
    of = (gone_day.c.level == level, gone_day.c.day >= start, gone_day.c.day < end)
    connection.execute(sa.delete(gone_day).where(*of, kept, ~lacks))


def gone_days(connection: sa.Connection) -> dict[str, int]:
    """How many days are gone, by level; those of which nothing was there are not counted."""
    query = sa.select(gone_day.c.level, sa.func.count()).group_by(gone_day.c.level)
    return dict(connection.execute(query).tuples().all())


def _midnight(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), UTC)


_recomputed = sa.table("recomputed", sa.column("bucket", Timestamp))
_BROUGHT_BACK = statement("sensor_platform.pipeline", "brought_back")
