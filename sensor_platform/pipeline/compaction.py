"""Which staged micro-batches are compacted: those of hours that are long over, and that the ledger has.

Of a micro-batch that was not processed the own file stays, damaged ones included: a person may have to look at it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.database.tables import ledger
from sensor_platform.log import get_logger
from sensor_platform.pipeline.accounted import note_accounted
from sensor_platform.staging.compaction import Compacted, compact_hour
from sensor_platform.staging.store import Staging


@dataclass(frozen=True, slots=True)
class Compaction:
    """What was compacted, in how many hours. `before`: of hours that ended until then; None: switched off."""

    before: datetime | None
    hours: int = 0
    compacted: Compacted = field(default_factory=Compacted)


def compact(
    staging: Staging,
    database: Database,
    *,
    after_hours: float,
    now: datetime,
    should_stop: Callable[[], bool] = lambda: False,
) -> Compaction:
    """Compacts received hours that ended `after_hours` ago or earlier, oldest first; with 0 none.

    What arrives for such an hour later is compacted by a later call, into a file of its own.

    Raises:
        CompactionDiffersError: what was written was not what was read; nothing was deleted.
        ObjectStoreError, OSError: on the way; nothing is lost, and calling again goes on.
    """
    if not after_hours:
        return Compaction(None)
    before = (now - timedelta(hours=after_hours)).replace(minute=0, second=0, microsecond=0)
    hours = sorted({file.hour for file in staging.files(None, before) if not file.compacted and not file.waits})
    done = Compaction(before)
    for hour in hours:
        if should_stop():
            break
        with database.begin() as connection:
            locks.take(connection, locks.STAGED_FILES)
            names = set(connection.execute(_KEPT, {"hour": hour}).scalars())
            compacted = compact_hour(staging, hour, names) if names else Compacted()
            note_accounted(connection, staging, hour)
        done = Compaction(before, done.hours + bool(compacted.micro_batches), done.compacted + compacted)
        if compacted.micro_batches:
            get_logger().info(
                "hour_compacted",
                hour=hour.isoformat(),
                micro_batches=compacted.micro_batches,
                messages=compacted.messages,
                bytes_before=compacted.bytes_before,
                bytes_after=compacted.bytes_after,
            )
    return done


#: Bytes that retention is about to delete are not made new files of.
_KEPT = sa.select(ledger.c.name).where(ledger.c.hour == sa.bindparam("hour"), ledger.c.bytes_deleted_at.is_(None))
