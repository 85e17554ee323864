"""Dead letters as people see them: listed, shown with their bytes, discarded with a reason. Nothing is ever deleted."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.database.tables import dead_letter, dead_letter_message, ledger
from sensor_platform.dead_letters.states import State, UnknownLetterError, check_step
from sensor_platform.pipeline.message import OneMessage

LIST_LIMIT = 100

_joined = dead_letter.join(
    dead_letter_message,
    sa.and_(
        dead_letter_message.c.micro_batch == dead_letter.c.micro_batch,
        dead_letter_message.c.sequence == dead_letter.c.sequence,
    ),
).join(ledger, ledger.c.id == dead_letter.c.micro_batch)

_COLUMNS = (
    dead_letter.c.id,
    dead_letter.c.state,
    dead_letter.c.stage,
    dead_letter.c.code,
    dead_letter.c.detail,
    dead_letter_message.c.topic,
    dead_letter_message.c.payload,
    dead_letter_message.c.received_at,
    ledger.c.name.label("micro_batch"),
    dead_letter.c.sequence,
    dead_letter.c.ordinal,
    dead_letter.c.attempts,
    dead_letter.c.next_attempt_at,
    dead_letter.c.closed_at,
    dead_letter.c.closed_by,
    dead_letter.c.closed_why,
)


def list_letters(
    database: Database,
    *,
    states: Sequence[str] | None = None,
    codes: Sequence[str] | None = None,
    stages: Sequence[str] | None = None,
    since: datetime | None = None,
    limit: int = LIST_LIMIT,
    after: int | None = None,
) -> list[dict[str, Any]]:
    """Dead letters, newest first. `after` is the id that the page before ended with."""
    query = sa.select(*_COLUMNS).select_from(_joined).order_by(dead_letter.c.id.desc()).limit(limit)
    for column, wanted in ((dead_letter.c.state, states), (dead_letter.c.code, codes), (dead_letter.c.stage, stages)):
        if wanted:
            query = query.where(column.in_(wanted))
    if since is not None:
        query = query.where(dead_letter_message.c.received_at >= since)
    if after is not None:
        query = query.where(dead_letter.c.id < after)
    with database.connect() as connection:
        return [_as_dict(row) for row in connection.execute(query)]


def show(database: Database, letter: int) -> dict[str, Any]:
    """One dead letter.

    Raises:
        UnknownLetterError: there is none of that id.
    """
    with database.connect() as connection:
        row = connection.execute(sa.select(*_COLUMNS).select_from(_joined).where(dead_letter.c.id == letter)).first()
    if row is None:
        raise UnknownLetterError(letter)
    return _as_dict(row)


def message_of(database: Database, letter: int) -> OneMessage:
    """The message of a dead letter, as it was received.

    Raises:
        UnknownLetterError: there is none of that id.
    """
    kept = dead_letter_message.c
    columns = (kept.topic, kept.payload, kept.received_at, kept.retain, kept.sequence, ledger.c.name)
    query = sa.select(*columns).select_from(_joined)
    with database.connect() as connection:
        row = connection.execute(query.where(dead_letter.c.id == letter)).first()
    if row is None:
        raise UnknownLetterError(letter)
    at, staged_at = row.received_at.astimezone(UTC), (row.name, row.sequence)
    return OneMessage(bytes(row.topic), bytes(row.payload), at, row.retain, staged_at)


def counts(database: Database) -> dict[str, int]:
    """How many there are of each state."""
    query = sa.select(dead_letter.c.state, sa.func.count()).group_by(dead_letter.c.state)
    with database.connect() as connection:
        found = dict(connection.execute(query).tuples().all())
    return {state.value: found.get(state.value, 0) for state in State}


def discard(database: Database, ids: Sequence[int], *, by: str, why: str) -> int:
    """Marks letters as not to be retried; all of them or none. The bytes stay.

    Raises:
        UnknownLetterError, WrongStepError: the first letter that is not there, or cannot be discarded.
    """
    with database.begin() as connection:
        # A load or retry of the same letters goes before or after, never in between.
        locks.take(connection, locks.LOAD)
        rows = connection.execute(sa.select(dead_letter.c.id, dead_letter.c.state).where(dead_letter.c.id.in_(ids)))
        states = {row.id: row.state for row in rows}
        for letter in ids:
            if letter not in states:
                raise UnknownLetterError(letter)
            check_step(letter, states[letter], State.DISCARDED)
        closed = {
            "state": State.DISCARDED.value,
            "next_attempt_at": None,
            "closed_at": sa.func.clock_timestamp(),
            "closed_by": by,
            "closed_why": why,
        }
        connection.execute(sa.update(dead_letter).where(dead_letter.c.id.in_(ids)).values(closed))
    return len(states)


def _as_dict(row: sa.Row[Any]) -> dict[str, Any]:
    """The topic as text, with invalid UTF-8 escaped, and the payload in base64. The table keeps the bytes of both."""
    values = dict(row._mapping)
    payload = values.pop("payload")
    topic = values["topic"].decode("utf-8", "backslashreplace")
    return {**values, "topic": topic, "payload_base64": base64.b64encode(payload).decode()}
