"""Deletes the bytes of dead letters that are old enough. What the ledger counts, and who discarded what, stays.

A message goes when all of its letters may. Resolved letters are deleted with it; a discarded one keeps its row, since
the ledger counts it as refused, and a backfill that found none would make it pending again. Letters that are open are
left alone unless the settings name their state: then they are discarded first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.log import get_logger

#: Messages of one transaction: loads wait for it.
CHUNK = 1000


@dataclass(frozen=True, slots=True)
class PrunedLetters:
    """What was deleted, or, of a dry run, how many messages would lose their bytes. `letters`: deleted altogether."""

    before: datetime | None
    dry_run: bool
    messages: int = 0
    letters: int = 0
    discarded: int = 0


def prune_letters(
    database: Database, *, days: float, states: Sequence[str], now: datetime, dry_run: bool = False
) -> PrunedLetters:
    """Deletes bytes of letters closed `days` ago or earlier, in these states; with 0 days nothing."""
    if not days:
        return PrunedLetters(None, dry_run)
    before = now - timedelta(days=days)
    which = {"states": list(states), "before": before}
    messages = letters = discarded = 0
    for old in _old_messages(database, which):
        keys = _keys(old)
        if not dry_run:
            with database.begin() as connection:
                locks.take(connection, locks.LOAD)
                keys = _keys(connection.execute(_STILL_OLD, {**which, **keys}).all())  # as a load may have left them
                discarded += _rows(connection, _DISCARD_OLD, {**keys, "now": now})
                letters += _rows(connection, _DELETE_RESOLVED, keys)
                _rows(connection, _DELETE_MESSAGES, keys)
                _rows(connection, _EMPTY_MESSAGES, {**keys, "now": now})
        messages += len(keys["sequences"])
    if messages and not dry_run:
        get_logger().info("dead_letters_pruned", before=before.isoformat(), messages=messages, discarded=discarded)
    return PrunedLetters(before, dry_run, messages, letters, discarded)


def _old_messages(database: Database, which: Mapping[str, object]) -> Iterator[Sequence[sa.Row[Any]]]:
    """Some at a time, of one pass over the tables that nobody waits for: asked anew each time, each would be a pass."""
    with database.connect() as connection:
        yield from connection.execution_options(stream_results=True).execute(_OLD_MESSAGES, which).partitions(CHUNK)


def _keys(messages: Sequence[sa.Row[Any]]) -> dict[str, list[int]]:
    return {"micro_batches": [row.micro_batch for row in messages], "sequences": [row.sequence for row in messages]}


def _rows(connection: sa.Connection, query: sa.TextClause, values: Mapping[str, object]) -> int:
    return connection.execute(query, values).rowcount


_OLD_MESSAGES = statement("sensor_platform.dead_letters", "old_messages")
_STILL_OLD = statement("sensor_platform.dead_letters", "still_old")
_DISCARD_OLD = statement("sensor_platform.dead_letters", "discard_old")
_DELETE_RESOLVED = statement("sensor_platform.dead_letters", "delete_resolved")
_DELETE_MESSAGES = statement("sensor_platform.dead_letters", "delete_messages")
_EMPTY_MESSAGES = statement("sensor_platform.dead_letters", "empty_messages")
