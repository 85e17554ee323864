"""Watching published messages arrive: first in the staging area, then in the ledger.

Counted by looking into the micro-batches, never by subtracting totals: other publishers do not stand still meanwhile.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.tables import ledger
from sensor_platform.errors import SensorPlatformError
from sensor_platform.staging.format import MicroBatch
from sensor_platform.staging.store import Staging

POLL_S = 0.25

#: How many messages of a micro-batch are ours.
CountOurs = Callable[[pa.Table], int]


class NotArrivedError(SensorPlatformError):
    """Published messages that did not reach the ledger in time."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """How many of our messages are sealed in the staging area, and how many of those are in the ledger."""

    staged: int
    in_ledger: int

    def complete(self, expected: int) -> bool:
        return self.staged >= expected and self.in_ledger == self.staged


class Arrival:
    """Our messages in the micro-batches received since `since`. Each micro-batch is read once."""

    def __init__(self, staging: Staging, database: Database, *, since: datetime, count_ours: CountOurs) -> None:
        self._staging = staging
        self._database = database
        self._first_hour = since.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        self._since = since
        self._count_ours = count_ours
        self._counts: dict[MicroBatch, int] = {}
        self._done: set[str] = set()

    def look(self) -> Arrived:
        """How many of our messages are staged, and in the ledger. Each micro-batch is read once."""
        for micro_batch in self._staging.micro_batches(self._first_hour):
            if micro_batch not in self._counts:
                self._counts[micro_batch] = self._count(micro_batch)
        ours = {micro_batch.name: count for micro_batch, count in self._counts.items() if count}
        self._done |= self._in_ledger([name for name in ours if name not in self._done])
        in_ledger = sum(count for name, count in ours.items() if name in self._done)
        return Arrived(sum(self._counts.values()), in_ledger)

    def wait(self, expected: int, *, standstill_s: float) -> None:
        """Returns when `expected` messages, and all that are staged of ours, are in the ledger.

        Raises:
            NotArrivedError: nothing moved for `standstill_s`.
        """
        last, moved_at = Arrived(-1, -1), time.monotonic()
        while not (arrived := self.look()).complete(expected):
            if arrived != last:
                last, moved_at = arrived, time.monotonic()
            elif time.monotonic() - moved_at > standstill_s:
                raise NotArrivedError(
                    f"of {expected} confirmed messages {arrived.staged} are staged and {arrived.in_ledger} loaded; "
                    f"nothing moved for {standstill_s:g} s. `sensor-platform status` says which part stands still."
                )
            time.sleep(POLL_S)

    def _count(self, micro_batch: MicroBatch) -> int:
        table = self._staging.read(micro_batch)
        since = pa.scalar(self._since, table["received_at"].type)
        fresh = pc.and_(pc.greater_equal(table["received_at"], since), pc.is_null(table["redelivery_of"]))
        return self._count_ours(table.filter(fresh))

    def _in_ledger(self, names: list[str]) -> set[str]:
        with self._database.connect() as connection:
            return set(connection.scalars(sa.select(ledger.c.name).where(ledger.c.name.in_(names))))


def of_topic(topic: str) -> CountOurs:
    """Ours are the messages of one topic."""
    wanted = topic.encode()
    return lambda table: int(pc.sum(pc.equal(table["topic"], pa.scalar(wanted))).as_py() or 0)
