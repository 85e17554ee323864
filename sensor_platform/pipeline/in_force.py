"""Which definitions a group of messages was decoded with, and whether they are in force when it is loaded.

Decoding is done outside of the load's lock. What another process commits meanwhile (a birth that was uploaded late, a
backfill, a retry) may stand before these messages. So what was decoded with is kept beside what became of it, and,
where definitions have changed since, is held against the table under the lock, when nobody else can change it: what
differs is prepared again.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from sensor_platform.database.raw import statement
from sensor_platform.database.tables import installation
from sensor_platform.pipeline.contents import contents_of, digest_of
from sensor_platform.pipeline.outcome import DecodedWith, Place, Source
from sensor_platform.transformers.definitions import Definition, Definitions

Begin = Callable[[], AbstractContextManager[sa.Connection]]


@dataclass(frozen=True, slots=True)
class StoredDefinitions:
    """What the database has, seen from a group of messages in received order; and what it was asked for."""

    begin: Begin
    sources: list[Source]
    source_of: np.ndarray
    messages: pa.Table
    _answers: dict[str, dict[str, dict[Place, bytes]]] = field(init=False, default_factory=dict)
    _as_of: list[int] = field(init=False, default_factory=list)  # `definition_changes` before each question

    def of(self, format_: str) -> Definitions:
        """Those of one format, looked up when they are asked for."""
        return Definitions(lambda keys: self._find(format_, keys))

    def decoded_with(self, own: Mapping[str, Sequence[Definition]]) -> DecodedWith | None:
        """All that decoding asked for, with what it found itself; None where it asked for nothing.

        own: what the messages define, by format.
        """
        if not self._answers:
            return None
        for format_, found in own.items():
            answers = self._answers.get(format_, {})
            for one in found:
                if one.key in answers:
                    answers[one.key][self._place(one.message)] = digest_of(one.content)
        return DecodedWith(self._place(0), self._place(self.messages.num_rows - 1), self._answers, min(self._as_of))

    def _find(self, format_: str, keys: Collection[str]) -> Mapping[str, Sequence[Definition]]:
        first, last = self._place(0), self._place(self.messages.num_rows - 1)
        with self.begin() as connection:
            self._as_of.append(definition_changes(connection))
            rows = _rows(connection, format_, keys, first, last)
            contents = contents_of(connection, {row.content for row in rows})
        starts = np.searchsorted(self.source_of, np.arange(len(self.sources) + 1))
        orders = [(source.first_received_at, source.name.encode()) for source in self.sources]
        sequences = self.messages["sequence"].to_numpy()
        answers = self._answers.setdefault(format_, {})
        answers |= {key: {} for key in keys}
        found: dict[str, list[Definition]] = {}
        for row in rows:
            message = place_in_group(row, orders, starts, sequences)
            if message is not None:
                found.setdefault(row.key, []).append(Definition(message, row.key, contents[row.content]))
                answers[row.key][_place_of(row)] = row.content
        return found

    def _bound(self, name: str, message: int) -> dict[str, Any]:
        return _bound(name, self._place(message))

    def _place(self, message: int) -> Place:
        source = self.sources[int(self.source_of[message])]
        return source.first_received_at, source.name, self.messages["sequence"][message].as_py()


def definition_changes(connection: sa.Connection) -> int:
    """Grows whenever the table `definition` changes, in the transaction of the change, under the load's lock."""
    return int(connection.execute(sa.select(installation.c.definition_changes)).scalar_one())


def is_outdated(connection: sa.Connection, decoded_with: DecodedWith | None) -> bool:
    """Whether other definitions are in force than those that were decoded with. Called under the load's lock, when
    what the messages themselves define is in the table."""
    if decoded_with is None:
        return False
    for format_, expected in decoded_with.definitions.items():
        found: dict[str, dict[Place, bytes]] = {key: {} for key in expected}
        for row in _rows(connection, format_, expected, decoded_with.first, decoded_with.last):
            found[row.key][_place_of(row)] = row.content
        if found != expected:
            return True
    return False


def _rows(
    connection: sa.Connection, format_: str, keys: Iterable[str], first: Place, last: Place
) -> Sequence[sa.Row[Any]]:
    bounds = {**_bound("first", first), **_bound("last", last)}
    return connection.execute(_FIND, {"format": format_, "keys": sorted(keys), **bounds}).all()


def _bound(name: str, place: Place) -> dict[str, Any]:
    return dict(zip((f"{name}_at", f"{name}_name", f"{name}_sequence"), place, strict=True))


def _place_of(row: sa.Row[Any]) -> Place:
    return row.first_received_at, row.name, row.sequence


def place_in_group(
    row: Any, orders: list[tuple[datetime, bytes]], starts: np.ndarray, sequences: np.ndarray
) -> int | None:
    """The first message of the group after this definition; None where it is one of the group's own messages."""
    order = (row.first_received_at, row.name.encode())
    source = bisect_right(orders, order)
    if not source or orders[source - 1] != order:
        return int(starts[source])
    start, end = int(starts[source - 1]), int(starts[source])
    place = start + int(np.searchsorted(sequences[start:end], row.sequence))
    # What its own messages define, decoding will say; the row is that of an earlier time.
    return None if place < end and sequences[place] == row.sequence else place


_FIND = statement("sensor_platform.pipeline", "find_definitions")
