"""Definitions kept across micro-batches, runs and restarts: what a birth said is known when its data comes.

Each stands in the table at the place of received order of the message that brought it. So a backfill of any hour and a
retry of any dead letter decode with what was in force at their place, not with what is newest. Contents are kept once
each: a node that is born every minute with the same metrics costs a row of a few bytes a minute.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import definition, definition_content, ledger
from sensor_platform.pipeline.contents import contents_of, digest_of
from sensor_platform.pipeline.outcome import Outcome
from sensor_platform.transformers.definitions import Content


def write_definitions(
    connection: sa.Connection, outcome: Outcome, micro_batch: np.ndarray, *, whole: Sequence[int], is_new: bool
) -> None:
    """Puts what the messages of `outcome` define in the place of what they defined before. Called under the load's
    lock.

    What was decoded before a definition that stands before it was known is marked in the ledger.

    Args:
        micro_batch: ledger id of each message.
        whole: ledger ids of the micro-batches that the outcome holds whole; of others it has single messages.
        is_new: nothing stands of them yet.
    """
    if is_new and not outcome.definitions:
        return
    sequence = outcome.messages["sequence"].to_numpy()
    old: set[tuple[Any, ...]] = set()
    if not is_new:
        scope = {"whole": list(whole), "micro_batches": micro_batch.tolist(), "sequences": sequence.tolist()}
        old = {(*row[:-1], bytes(row[-1])) for row in connection.execute(_WITHDRAW, scope)}
    contents: dict[bytes, Content] = {}
    new: dict[tuple[str, str, int, int], bytes] = {}  # of two with one key in a message the last holds
    for format_, found in outcome.definitions.items():
        for one in found:
            digest = digest_of(one.content)
            contents[digest] = one.content
            new[format_, one.key, int(micro_batch[one.message]), int(sequence[one.message])] = digest
    if new:
        rows = [{"digest": digest, "content": content} for digest, content in sorted(contents.items())]
        connection.execute(insert(definition_content).on_conflict_do_nothing(), rows)
        connection.execute(sa.insert(definition), [dict(zip(_ROW, row, strict=True)) for row in _rows(new)])
    changed = sorted(old ^ set(_rows(new)))
    if changed:
        columns: dict[str, list[Any]] = {name: [row[place] for row in changed] for place, name in enumerate(_ROW[:-1])}
        stood = {row[:-1] for row in old}
        columns["replaced"] = [row[:-1] in stood for row in changed]
        connection.execute(_MARK_OUTDATED, {**columns, "made_now": list(whole)})


def mark_outdated(connection: sa.Connection, micro_batches: Sequence[int]) -> None:
    """Notes in the ledger that these were decoded with other definitions than are in force."""
    concerned = ledger.c.id.in_(micro_batches) & ledger.c.bytes_deleted_at.is_(None)
    connection.execute(sa.update(ledger).where(concerned).values(definitions_changed_at=sa.func.now()))


_ROW = ("format", "key", "micro_batch", "sequence", "content")


def _rows(new: dict[tuple[str, str, int, int], bytes]) -> list[tuple[Any, ...]]:
    return [(*identity, digest) for identity, digest in new.items()]


def outdated(database: Database) -> dict[datetime, int]:
    """Micro-batches, by received hour, that were decoded before a definition that stands before them was known.

    Making the hours again mends them. Those whose bytes retention has deleted cannot be made again, and are left out.
    """
    marked = ledger.c.definitions_changed_at.is_not(None) & ledger.c.bytes_deleted_at.is_(None)
    query = sa.select(ledger.c.hour, sa.func.count()).where(marked)
    with database.connect() as connection:
        return dict(connection.execute(query.group_by(ledger.c.hour).order_by(ledger.c.hour)).tuples().all())


def latest(database: Database, format_: str, keys: Iterable[str]) -> dict[str, Content]:
    """The newest definition of each key, for who has no place in received order: the live page, a person."""
    with database.connect() as connection:
        rows = connection.execute(_LATEST, {"format": format_, "keys": sorted(keys)}).all()
        contents = contents_of(connection, {row.content for row in rows})
    return {row.key: contents[row.content] for row in rows}


_LATEST = statement("sensor_platform.pipeline", "latest_definitions")
_WITHDRAW = statement("sensor_platform.pipeline", "withdraw_definitions")
_MARK_OUTDATED = statement("sensor_platform.pipeline", "mark_outdated")
