"""Definitions kept across micro-batches, runs and restarts: what a birth said is known when its data comes.

Each stands in the table at the place of received order of the message that brought it. So a backfill of any hour and a
retry of any dead letter decode with what was in force at their place, not with what is newest; the index has that
order, and finds it in one step, however often the key was defined. Contents are kept once each: a node that is born
every minute with the same metrics costs a short row a minute.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import definition, definition_content, installation
from sensor_platform.pipeline.contents import contents_of, digest_of
from sensor_platform.pipeline.outcome import Outcome
from sensor_platform.pipeline.outdated import DefinitionRow, mark_behind
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
    old = set() if is_new else _withdraw(connection, outcome, micro_batch, whole)
    contents: dict[bytes, Content] = {}
    rows: dict[tuple[str, str, int], DefinitionRow] = {}  # of two with one key in a message the last holds
    for format_, found in outcome.definitions.items():
        for one in found:
            digest = digest_of(one.content)
            contents[digest] = one.content
            row = DefinitionRow(format_, one.key, *outcome.place(one.message), int(micro_batch[one.message]), digest)
            rows[format_, one.key, one.message] = row
    new = set(rows.values())
    if new != old:
        connection.execute(_COUNT_CHANGE)
    if new:
        each = [{"digest": digest, "content": content} for digest, content in sorted(contents.items())]
        connection.execute(insert(definition_content).on_conflict_do_nothing(), each)
        connection.execute(sa.insert(definition), [row._asdict() for row in rows.values()])
    mark_behind(connection, old, new, made_now=whole)


def _withdraw(
    connection: sa.Connection, outcome: Outcome, micro_batch: np.ndarray, whole: Sequence[int]
) -> set[DefinitionRow]:
    """Takes out what stands of the outcome's messages."""
    single = ~np.isin(micro_batch, whole)
    scope = {
        "micro_batches": sorted({*whole, *micro_batch.tolist()}),
        "whole": list(whole),
        "message_micro_batches": micro_batch[single].tolist(),
        "message_sequences": outcome.messages["sequence"].to_numpy()[single].tolist(),
    }
    return {DefinitionRow(*row) for row in connection.execute(_WITHDRAW, scope)}


def latest(database: Database, format_: str, keys: Iterable[str]) -> dict[str, Content]:
    """The newest definition of each key, for who has no place in received order: the live page, a person."""
    with database.connect() as connection:
        rows = connection.execute(_LATEST, {"format": format_, "keys": sorted(keys)}).all()
        contents = contents_of(connection, {row.content for row in rows})
    return {row.key: contents[row.content] for row in rows}


_COUNT_CHANGE = sa.update(installation).values(definition_changes=installation.c.definition_changes + 1)
_LATEST = statement("sensor_platform.pipeline", "latest_definitions")
_WITHDRAW = statement("sensor_platform.pipeline", "withdraw_definitions")
