"""The messages that say what a message from the field means, so that a case of it stands by itself.

Births and metadata are kept as definitions, and the table knows which messages brought them. Which of them a message
needs is found by decoding it: with those messages before it, it becomes what it becomes with all that is kept.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import ledger
from sensor_platform.errors import MissingMicroBatchError
from sensor_platform.pipeline.cases import Became, became_of
from sensor_platform.pipeline.explain import explain
from sensor_platform.pipeline.message import OneMessage, StagedAt, staged_message
from sensor_platform.routes.model import Routes
from sensor_platform.staging.store import Staging
from sensor_platform.transformers.definitions import Definition, Definitions

#: Of one key. What was said before these is not looked for.
MOST_OF_A_KEY = 50

#: Received order of a message: its micro-batch's first time and name, and its sequence.
_Order = tuple[datetime, bytes, int]


@dataclass(frozen=True, slots=True)
class Before:
    """messages: in received order, no more than are needed. notes: what a person should know of them, if anything."""

    messages: tuple[OneMessage, ...] = ()
    notes: tuple[str, ...] = ()


def messages_before(
    message: OneMessage, routes: Routes, database: Database, staging: Staging, *, max_payload_bytes: int
) -> Before:
    """Those that say what `message`, which is staged, means at its place.

    Raises:
        DefinitionsUnavailableError: the database does not say what was defined.
    """
    assert message.staged_at is not None
    stored = _Stored(database, message.staged_at)
    become = partial(_become, message, routes, max_payload_bytes)
    whole = become(stored)
    if become() == whole:
        return Before(notes=stored.notes())
    notes: list[str] = []
    for found in (stored.newest(), stored.all()):
        messages, notes = _read(staging, found)
        if become(before=messages) == whole:
            return Before(tuple(_needed(messages, lambda few: become(before=few) == whole)))
    notes.append("with the messages that can be read it does not become what it became: read the expectation")
    return Before(tuple(messages), tuple(notes))


def asks_for_definitions(message: OneMessage, routes: Routes, *, max_payload_bytes: int) -> bool:
    """Whether what earlier messages say can have a part in it at all."""
    asked: set[str] = set()

    def find(keys: Collection[str]) -> Mapping[str, Sequence[Definition]]:
        asked.update(keys)
        return {}

    explain(message, routes, max_payload_bytes=max_payload_bytes, definitions_of=lambda _format: Definitions(find))
    return bool(asked)


def _become(
    message: OneMessage,
    routes: Routes,
    max_payload_bytes: int,
    stored: "_Stored | None" = None,
    *,
    before: Sequence[OneMessage] = (),
) -> Became:
    definitions_of = (lambda _format: Definitions()) if stored is None else stored.of
    return became_of(
        explain(message, routes, max_payload_bytes=max_payload_bytes, before=before, definitions_of=definitions_of)
    )


@dataclass(slots=True)
class _Stored:
    """What the table has before a message, and who said what was asked for."""

    database: Database
    staged_at: StagedAt
    _said: dict[tuple[str, str], list[_Order]] = field(default_factory=dict)

    def of(self, format_: str) -> Definitions:
        return Definitions(partial(self._find, format_))

    def notes(self) -> tuple[str, ...]:
        name = self.staged_at[0]
        with self.database.connect() as connection:
            is_loaded = connection.execute(sa.select(ledger.c.id).where(ledger.c.name == name)).first() is not None
        return (
            () if is_loaded else (f"{name} is not loaded yet: what was said before its messages is not known so far",)
        )

    def newest(self) -> set[_Order]:
        return {orders[0] for orders in self._said.values()}

    def all(self) -> set[_Order]:
        return {order for orders in self._said.values() for order in orders}

    def _find(self, format_: str, keys: Collection[str]) -> Mapping[str, Sequence[Definition]]:
        micro_batch, sequence = self.staged_at
        place = {"micro_batch": micro_batch, "sequence": sequence, "most": MOST_OF_A_KEY}
        with self.database.connect() as connection:
            rows = connection.execute(_DEFINED_BEFORE, {"format": format_, "keys": sorted(keys), **place}).all()
        newest: dict[str, Any] = {}
        for row in rows:
            newest.setdefault(row.key, row.content)
            self._said.setdefault((format_, row.key), []).append(
                (row.first_received_at, row.name.encode(), row.sequence)
            )
        return {key: [Definition(0, key, content)] for key, content in newest.items()}


def _read(staging: Staging, found: set[_Order]) -> tuple[list[OneMessage], list[str]]:
    messages, notes = [], []
    for _, name, sequence in sorted(found):
        try:
            messages.append(staged_message(staging, name.decode(), sequence))
        except MissingMicroBatchError as err:
            notes.append(f"{name.decode()}:{sequence}, which said what it means, cannot be read: {err}")
    return messages, notes


def _needed(messages: Sequence[OneMessage], are_enough: Callable[[list[OneMessage]], bool]) -> list[OneMessage]:
    """Without those that change nothing."""
    needed = list(messages)
    for each in messages:
        fewer = [one for one in needed if one is not each]
        if are_enough(fewer):
            needed = fewer
    return needed


_DEFINED_BEFORE = statement("sensor_platform.pipeline", "defined_before")
