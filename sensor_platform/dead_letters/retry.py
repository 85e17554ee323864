"""Decode dead letters again, with today's routes and transformers.

A whole message is taken again from its bytes, whichever of its letters were due: its readings replace what stands of
it, by the same mechanism as a backfill. A retry that dies leaves its letters `retrying`; they are due again when their
lease is over.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.dead_letters.attempt import Attempt, Result
from sensor_platform.dead_letters.choose import choose
from sensor_platform.dead_letters.chunks import chunks
from sensor_platform.dead_letters.lease import Lease
from sensor_platform.dead_letters.neighbours import Neighbours
from sensor_platform.dead_letters.turns import Turns, committed, rolled_back
from sensor_platform.routes.model import Routes
from sensor_platform.settings import Settings


@dataclass(frozen=True, slots=True)
class RetryReport:
    """What became of the letters, or, of a dry run, what would.

    `outcomes` has a row a letter as it stands then; `left` says, by micro-batch, why letters of it were left for later.
    """

    dry_run: bool = False
    letters: int = 0
    messages: int = 0
    states: dict[str, int] = field(default_factory=dict)
    inserted: int = 0
    duplicate: int = 0
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def retry(
    database: Database,
    routes: Routes,
    *,
    settings: Settings,
    ids: Sequence[int] | None = None,
    codes: Sequence[str] | None = None,
    stages: Sequence[str] | None = None,
    routes_only: Sequence[str] | None = None,
    limit: int = 1000,
    dry_run: bool = False,
    by: str = "cli",
    now: datetime | None = None,
) -> RetryReport:
    """Tries the letters of `ids`, or those that are due, again. A dry run is rolled back.

    Raises:
        UnknownLetterError, WrongStepError: one of `ids` is not there, or cannot be tried again.
    """
    now = datetime.now(UTC) if now is None else now
    with database.begin() as connection:
        chosen = choose(
            connection, routes, ids=ids, codes=codes, stages=stages, routes_only=routes_only, limit=limit, now=now
        )
        turns: Turns
        if dry_run:
            turns = rolled_back(database, chosen, now=now)
        else:
            lease = Lease.take(connection, chosen, now=now)
            chosen, turns = list(lease.ids), committed(database, lease)
        messages = connection.execute(_CHOSEN_MESSAGES, {"ids": chosen}).all()
    attempt = Attempt(database, routes, settings, Neighbours(settings, database), turns, by, now)
    done = sum((attempt.run(chunk) for chunk in chunks(messages, routes)), Result())
    return RetryReport(
        dry_run=dry_run,
        letters=len(chosen),
        messages=sum(one.messages.staged for one in done.made),
        states=dict(Counter(row["state"] for row in done.outcomes)),
        inserted=sum(one.readings.inserted for one in done.made),
        duplicate=sum(one.readings.duplicate for one in done.made),
        outcomes=done.outcomes,
        left=done.left,
    )


_CHOSEN_MESSAGES = statement("sensor_platform.dead_letters", "chosen_messages")
