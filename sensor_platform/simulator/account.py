"""The demo's proof: each confirmed id is looked up in staging, metric tables and dead letters. Nothing is subtracted.

What the platform counts of itself (the ledger) is told as well, but lost and doubled do not come from it.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.tables import alert, dead_letter, ledger, metric
from sensor_platform.pipeline.accounting import MESSAGE_COLUMNS, READING_COLUMNS
from sensor_platform.pipeline.report import MessageCounts, ReadingCounts
from sensor_platform.simulator.published_log import PublishedLog
from sensor_platform.staging.format import MicroBatch
from sensor_platform.staging.store import Staging
from sensor_platform.transformers.contract import FIRST_MISSING, WHOLE_MESSAGE


@dataclass(slots=True)
class Found:
    """What was found of each number, as arrays: messages staged, readings that stand, letters."""

    size: int
    staged: np.ndarray = field(init=False)
    standing: np.ndarray = field(init=False)
    refused: np.ndarray = field(init=False)  # letters of single readings
    refused_whole: np.ndarray = field(init=False)  # letters of whole messages
    missing: np.ndarray = field(init=False)  # letters of what a contract requires and the message has not: no readings
    freshness_s: np.ndarray = field(init=False)
    unloaded: int = 0

    def __post_init__(self) -> None:
        for name in ("staged", "standing", "refused", "refused_whole", "missing"):
            setattr(self, name, np.zeros(self.size, dtype=np.int64))
        self.freshness_s = np.full(self.size, np.nan)

    def letters_of(self, ordinal: int) -> np.ndarray:
        """Where letters of that ordinal are counted."""
        if ordinal == WHOLE_MESSAGE:
            return self.refused_whole
        return self.missing if ordinal <= FIRST_MISSING else self.refused


@dataclass(frozen=True, slots=True)
class Account:
    """The ids that did not come out as they should, and how long the others took."""

    lost: list[int]
    doubled: list[int]
    unloaded: int  # messages in micro-batches that no ledger row counts
    refused: int  # good messages that are dead letters, whole or in part: by a limit, a route, a transformer
    freshness_s: dict[str, float | None]


def account(staging: Staging, database: Database, log: PublishedLog, *, since: datetime) -> Account:
    """Looks up every confirmed id of `log` in the micro-batches received since `since`."""
    found = find(staging, database, log, since=since)
    confirmed, readings = np.array(log.confirmed), np.array(log.readings)
    timed, resent = np.frombuffer(log.timed, dtype=np.uint8).astype(bool), np.array(log.resent)

    letters = found.refused + found.refused_whole + found.missing
    short = (found.refused_whole == 0) & (found.standing + found.refused < readings)
    nowhere = found.standing + found.refused + found.refused_whole == 0
    lost = (confirmed > 0) & ((found.staged < confirmed) | short | nowhere)
    # A message without a time of its own that the broker got twice is two messages to everybody after it.
    allowed = readings * np.where(timed, 1, 1 + resent)
    doubled = found.standing > np.maximum(allowed, readings)
    good = np.frombuffer(log.good, dtype=np.uint8).astype(bool)
    refused = int(((letters > 0) & good).sum())
    fresh = found.freshness_s[~np.isnan(found.freshness_s)]
    percentiles = {f"p{q}": round(float(np.percentile(fresh, q)), 3) if len(fresh) else None for q in (50, 95)}
    lost_numbers, doubled_numbers = np.flatnonzero(lost).tolist(), np.flatnonzero(doubled).tolist()
    return Account(lost_numbers, doubled_numbers, found.unloaded, refused, percentiles)


def find(staging: Staging, database: Database, log: PublishedLog, *, since: datetime) -> Found:
    """One micro-batch at a time: memory is bounded by one of them."""
    found = Found(len(log))
    first_hour = since.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    for micro_batch in staging.micro_batches(first_hour):
        _look_into(micro_batch, staging, database, log, found)
    return found


def _look_into(micro_batch: MicroBatch, staging: Staging, database: Database, log: PublishedLog, found: Found) -> None:
    table = staging.read(micro_batch).select(["sequence", "payload", "redelivery_of"])
    numbers = {}
    for sequence, payload, redelivery_of in zip(*(column.to_pylist() for column in table.columns), strict=True):
        number = log.number(payload)
        if number is not None:
            numbers[sequence] = number
            found.staged[number] += redelivery_of is None
    if not numbers:
        return
    with database.connect() as connection:
        row = connection.execute(sa.select(ledger.c.id, ledger.c.committed_at).where(ledger.c.name == micro_batch.name))
        loaded = row.one_or_none()
        if loaded is None:
            found.unloaded += len(numbers)
            return
        committed_s = loaded.committed_at.timestamp()
        for number in numbers.values():
            if np.isnan(found.freshness_s[number]):
                found.freshness_s[number] = committed_s - log.published_at[number]
        for sequence, count in connection.execute(_STANDING, {"micro_batch": loaded.id}).tuples():
            if sequence in numbers:
                found.standing[numbers[sequence]] += count
        for sequence, ordinal in connection.execute(_LETTERS, {"micro_batch": loaded.id}).tuples():
            if sequence in numbers:
                found.letters_of(ordinal)[numbers[sequence]] += 1


_STANDING = (
    sa.select(metric.c.sequence, sa.func.count())
    .where(metric.c.micro_batch == sa.bindparam("micro_batch"))
    .group_by(metric.c.sequence)
)
_LETTERS = sa.select(dead_letter.c.sequence, dead_letter.c.ordinal).where(
    dead_letter.c.micro_batch == sa.bindparam("micro_batch")
)


@dataclass(frozen=True, slots=True)
class LedgerSums:
    """What the ledger says of the micro-batches received since a time."""

    messages: MessageCounts
    readings: ReadingCounts
    first_row_at: datetime | None


def ledger_sums(database: Database, *, since: datetime) -> LedgerSums:
    """Sums over the ledger rows whose newest message was received at `since` or later."""
    columns = (*MESSAGE_COLUMNS, *READING_COLUMNS)
    sums = [sa.cast(sa.func.coalesce(sa.func.sum(column), 0), sa.BigInteger) for column in columns]
    first = sa.func.min(ledger.c.committed_at).filter(ledger.c.inserted > 0)
    with database.connect() as connection:
        *counts, first_row_at = connection.execute(
            sa.select(*sums, first).where(ledger.c.last_received_at >= since)
        ).one()
    classes = len(MESSAGE_COLUMNS)
    return LedgerSums(MessageCounts(*counts[:classes]), ReadingCounts(*counts[classes:]), first_row_at)


def alert_counts(database: Database, *, since: datetime) -> dict[str, int]:
    """Alerts that fired, and that were resolved, since a time."""
    counts = [
        sa.func.count().filter(alert.c.fired_at >= since),
        sa.func.count().filter(alert.c.resolved_at >= since, alert.c.fired_at.is_not(None)),
    ]
    with database.connect() as connection:
        fired, resolved = connection.execute(sa.select(*counts)).one()
    return {"fired": fired, "resolved": resolved}
