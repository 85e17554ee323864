"""The transactions of a retry, chunk by chunk: those that are committed, and those of a dry run.

In between nothing is held but the lease: micro-batches are read then, which may take long.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.lease import Lease

Begin = Callable[[], AbstractContextManager[sa.Connection]]


@dataclass(frozen=True, slots=True)
class Turn:
    """How to open a transaction, one for a load, and one that is rolled back; and the letters that it may change."""

    begin: Begin
    begin_load: Begin
    begin_trial: Begin
    lease: Lease


#: What opens the turn of a chunk.
Turns = Callable[[], AbstractContextManager[Turn]]


def committed(database: Database, lease: Lease) -> Turns:
    """Each with the lease extended."""

    @contextmanager
    def turn() -> Iterator[Turn]:
        with database.begin() as connection:
            lease.extend(connection)
        yield Turn(database.begin, database.begin, database.connect, lease)

    return turn


def rolled_back(database: Database, ids: Sequence[int], *, now: datetime) -> Turns:
    """Each is savepoints in a transaction that is never committed, and what a load does is undone at once."""

    @contextmanager
    def turn() -> Iterator[Turn]:
        with database.connect() as connection:
            # First of all: to wait for a load while holding letters or series that it wants would be a deadlock.
            locks.take(connection, locks.CORRECTION)
            locks.take(connection, locks.LOAD)
            lease = Lease.take(connection, ids, now=now)

            @contextmanager
            def savepoint() -> Iterator[sa.Connection]:
                with connection.begin_nested():
                    yield connection

            @contextmanager
            def undone() -> Iterator[sa.Connection]:
                attempt = connection.begin_nested()
                try:
                    yield connection
                finally:
                    attempt.rollback()

            yield Turn(savepoint, undone, undone, lease)

    return turn
