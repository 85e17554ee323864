"""Which staged micro-batches are compacted: those of hours that are long over, and that the ledger has.

Of a micro-batch that was not processed the own file stays, damaged ones included: a person may have to look at it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.database.tables import ledger
from sensor_platform.errors import StagingError
from sensor_platform.log import get_logger
from sensor_platform.pipeline.accounted import accounted, note_accounted
from sensor_platform.staging.compaction import Compacted, compact_hour
from sensor_platform.staging.store import Staging


@dataclass(frozen=True, slots=True)
class Compaction:
    """What was compacted, in how many hours. `before`: of hours that ended until then; None: switched off.

    failed: a sentence for each hour that could not be, whose files stay as they are until a later call.
    """

    before: datetime | None
    hours: int = 0
    compacted: Compacted = field(default_factory=Compacted)
    failed: tuple[str, ...] = ()


def compact(
    staging: Staging,
    database: Database,
    *,
    after_hours: float,
    now: datetime,
    should_stop: Callable[[], bool] = lambda: False,
) -> Compaction:
    """Compacts received hours that ended `after_hours` ago or earlier, oldest first; with 0 none.

    What arrives for such an hour later is compacted by a later call, into a file of its own. An hour that does not go
    through holds up no other; a disk or a store that does not take it ends the call. Raises ObjectStoreError: the store
    cannot be listed.
    """
    if not after_hours:
        return Compaction(None)
    before = (now - timedelta(hours=after_hours)).replace(minute=0, second=0, microsecond=0)
    hours = {file.hour for file in staging.files(None, before, compacted=False) if not file.waits}
    noted = accounted(database, (None, before))
    hours |= {name.hour for name, _ in staging.compacted_sizes(None, before) if name not in noted}  # died before that
    done = Compaction(before)
    for hour in sorted(hours):
        if should_stop():
            break
        try:
            compacted = _compact(staging, database, hour)
        except StagingError as err:
            get_logger().error("hour_not_compacted", hour=hour.isoformat(), error=str(err))
            done = replace(done, failed=(*done.failed, f"{hour:%Y-%m-%d %H:%M} UTC: {err}"))
            if err.retryable:
                break
        else:
            some = bool(compacted.micro_batches)
            done = replace(done, hours=done.hours + some, compacted=done.compacted + compacted)
    return done


def _compact(staging: Staging, database: Database, hour: datetime) -> Compacted:
    with database.begin() as connection:
        locks.take(connection, locks.STAGED_FILES)
        names = set(connection.execute(_KEPT, {"hour": hour}).scalars())
        compacted = compact_hour(staging, hour, names) if names else Compacted()
        note_accounted(connection, staging, hour)
    if compacted.micro_batches:
        get_logger().info(
            "hour_compacted",
            hour=hour.isoformat(),
            micro_batches=compacted.micro_batches,
            messages=compacted.messages,
            bytes_before=compacted.bytes_before,
            bytes_after=compacted.bytes_after,
        )
    return compacted


#: Bytes that retention is about to delete are not made new files of.
_KEPT = sa.select(ledger.c.name).where(ledger.c.hour == sa.bindparam("hour"), ledger.c.bytes_deleted_at.is_(None))
