"""The letters that a retry works on are its own for a while: another one that comes meanwhile leaves them alone.

The lease is extended before each portion, so that a retry may take as long as it needs, and one that dies lets go of
what it had not come to. Its end is also its mark: who takes over letters whose lease ran out gives them a later one, so
that the first, should it wake up again, sees that they are not its own any more.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.raw import statement

#: A retry that was not heard of for so long is dead.
LEASE = timedelta(minutes=10)


@dataclass(slots=True)
class Lease:
    """Letters `ids`, held until `until` by whoever took them at `now`, by the monotonic clock at `taken_s`."""

    ids: list[int]
    until: datetime
    now: datetime
    taken_s: float

    @classmethod
    def take(cls, connection: sa.Connection, ids: Sequence[int], *, now: datetime) -> Self:
        """Of those of `ids` that nobody else holds. Waits for a load."""
        locks.take(connection, locks.LOAD)
        until = now + LEASE
        taken = connection.execute(_TAKE, {"ids": list(ids), "until": until, "now": now})
        return cls(list(taken.scalars()), until, now, time.monotonic())

    def extend(self, connection: sa.Connection) -> None:
        """From now on, for those letters that are held still: neither done nor taken by another."""
        locks.take(connection, locks.LOAD)
        until = self.now + timedelta(seconds=time.monotonic() - self.taken_s) + LEASE
        connection.execute(_EXTEND, {**self.mark, "extended": until})
        self.until = until

    @property
    def mark(self) -> dict[str, Any]:
        """By what a statement knows the letters that are held: they are `retrying`, and due at that time."""
        return {"ids": self.ids, "until": self.until}


_TAKE = statement("sensor_platform.dead_letters", "lease")
_EXTEND = statement("sensor_platform.dead_letters", "extend_lease")
