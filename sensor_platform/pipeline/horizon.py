"""How far back each level is kept, as retention last decided: what is older is not loaded, and is not made anew.

In the database rather than asked of the settings: it holds from the moment in which retention says so, in one
transaction with the counts of the ledger, for every process and every transaction after it.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
import sqlalchemy as sa

from sensor_platform.database.tables import Timestamp, retention

RAW, MINUTE, HOUR, DAY = LEVELS = ("raw", "minute", "hour", "day")
#: What each level is made of: where that is gone, what was made of it stays.
MADE_OF = {MINUTE: RAW, HOUR: MINUTE, DAY: HOUR}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def kept_from(connection: sa.Connection, level: str) -> datetime | None:
    """The least event time that is kept; None: all."""
    query = sa.select(retention.c.kept_from).where(retention.c.level == level)
    found: datetime | None = connection.execute(query).scalar()
    return found


def whole_from(connection: sa.Connection) -> datetime | None:
    """From when on nothing of any level is deleted; None: from the beginning."""
    found: datetime | None = connection.execute(sa.select(sa.func.max(retention.c.kept_from))).scalar()
    return found


def too_old(connection: sa.Connection, times: np.ndarray) -> np.ndarray:
    """Which readings are not kept. `times` are microseconds since 1970; to be asked under the lock of the load."""
    horizon = kept_from(connection, RAW)
    if horizon is None:
        return np.zeros(len(times), dtype=bool)
    older: np.ndarray = times < (horizon - EPOCH) // timedelta(microseconds=1)
    return older


def leave_expired(connection: sa.Connection, level: str) -> None:
    """Takes out of `recomputed` what cannot be made anew, since what it was made of is gone, or is not kept itself."""
    older = sa.select(sa.func.max(retention.c.kept_from)).where(retention.c.level.in_([level, MADE_OF[level]]))
    connection.execute(sa.delete(_recomputed).where(_recomputed.c.bucket < older.scalar_subquery()))


_recomputed = sa.table("recomputed", sa.column("bucket", Timestamp))
