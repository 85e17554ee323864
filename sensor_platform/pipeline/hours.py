"""A received hour as the ledger has it: what became of its messages, and how late they were loaded.

A run's own numbers are only its share of an hour; people, and the plots of Dagster, ask about the hour.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import dead_letter, ledger
from sensor_platform.pipeline.accounting import SUMS, counts_of
from sensor_platform.pipeline.report import MessageCounts, ReadingCounts


@dataclass(frozen=True, slots=True)
class HourFigures:
    """Totals of a received hour. `dead_letters` are rows of that table: one for each message or reading refused.

    The lag is commit less the receipt of a micro-batch's last message, in seconds, of micro-batches loaded once: None
    where every one was made again.
    """

    micro_batches: int = 0
    messages: MessageCounts = field(default_factory=MessageCounts)
    readings: ReadingCounts = field(default_factory=ReadingCounts)
    dead_letters: int = 0
    conflicts: int = 0
    lag_mean_s: float | None = None
    lag_max_s: float | None = None

    @property
    def refused_percent(self) -> float:
        """Messages of which something was refused, of all."""
        refused = self.messages.dead_lettered + self.messages.partial
        return round(100 * refused / self.messages.staged, 2) if self.messages.staged else 0.0


_lag = sa.func.extract("epoch", ledger.c.committed_at - ledger.c.last_received_at)
_once = ledger.c.attempt == 1
_letters = (
    sa.select(ledger.c.hour, sa.func.count())
    .join_from(ledger, dead_letter, dead_letter.c.micro_batch == ledger.c.id)
    .where(ledger.c.hour.in_(sa.bindparam("hours", expanding=True)))
    .group_by(ledger.c.hour)
)
_hours = (
    sa.select(
        ledger.c.hour,
        sa.func.count(),
        sa.cast(sa.func.sum(ledger.c.conflicts), sa.BigInteger),
        sa.cast(sa.func.avg(_lag).filter(_once), sa.Double),
        sa.cast(sa.func.max(_lag).filter(_once), sa.Double),
        *SUMS,
    )
    .where(ledger.c.hour.in_(sa.bindparam("hours", expanding=True)))
    .group_by(ledger.c.hour)
)


def hour_figures(database: Database, hours: Sequence[datetime]) -> dict[datetime, HourFigures]:
    """Figures of each of `hours`; one without a ledger row has zeros."""
    asked = {"hours": list(hours)}
    with database.read_only() as connection:
        rows = connection.execute(_hours, asked).all()
        letters = dict(connection.execute(_letters, asked).tuples().all())
    found = dict.fromkeys(hours, HourFigures())
    for hour, micro_batches, conflicts, mean_s, max_s, *counts in rows:
        lags = [None if lag is None else round(lag, 3) for lag in (mean_s, max_s)]
        found[hour] = HourFigures(micro_batches, *counts_of(counts), letters.get(hour, 0), conflicts, *lags)
    return found


@dataclass(frozen=True, slots=True)
class LoadedMicroBatch:
    """A ledger row, as a person looks for it. `in_all`: how many the run loaded of that hour."""

    micro_batch: str
    hour: datetime
    first_received_at: datetime
    messages: int
    refused: int
    readings: int
    attempt: int
    in_all: int


def loaded_by(database: Database, run_id: str, *, most_an_hour: int) -> dict[datetime, list[LoadedMicroBatch]]:
    """By received hour, the newest micro-batches that a run was the last to load, the newest first."""
    found: dict[datetime, list[LoadedMicroBatch]] = {}
    with database.read_only() as connection:
        for row in connection.execute(_LOADED_BY, {"run_id": run_id, "most": most_an_hour}):
            found.setdefault(row.hour, []).append(LoadedMicroBatch(*row))
    return found


_LOADED_BY = statement("sensor_platform.pipeline", "loaded_by")
