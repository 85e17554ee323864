"""Definitions kept across micro-batches, runs and restarts: what a birth said is known when its data comes.

Each stands in the table at the place of received order of the message that brought it. So a backfill of any hour and a
retry of any dead letter decode with what was in force at their place, not with what is newest. Contents are kept once
each: a node that is born every minute with the same metrics costs a row of a few bytes a minute.
"""

import hashlib
import json
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import definition, definition_content, ledger
from sensor_platform.pipeline.outcome import Outcome, Source
from sensor_platform.transformers.definitions import Content, Definition, Definitions

#: Contents that this process remembers; beyond it the one not asked for longest is read again.
REMEMBERED_CONTENTS = 2_000

Begin = Callable[[], AbstractContextManager[sa.Connection]]


@dataclass(frozen=True, slots=True)
class StoredDefinitions:
    """What the database has, seen from a group of messages in received order."""

    begin: Begin
    sources: list[Source]
    source_of: np.ndarray
    messages: pa.Table

    def of(self, format_: str) -> Definitions:
        """Those of one format, looked up when they are asked for."""
        return Definitions(lambda keys: self._find(format_, keys))

    def _find(self, format_: str, keys: Collection[str]) -> Mapping[str, Sequence[Definition]]:
        first, last = 0, self.messages.num_rows - 1
        bounds = {**self._bound("first", first), **self._bound("last", last)}
        with self.begin() as connection:
            rows = connection.execute(_FIND, {"format": format_, "keys": sorted(keys), **bounds}).all()
            contents = _contents(connection, {row.content for row in rows})
        starts = np.searchsorted(self.source_of, np.arange(len(self.sources) + 1))
        orders = [(source.first_received_at, source.name.encode()) for source in self.sources]
        sequences = self.messages["sequence"].to_numpy()
        found: dict[str, list[Definition]] = {}
        for row in rows:
            place = place_in_group(row, orders, starts, sequences)
            if place is not None:
                found.setdefault(row.key, []).append(Definition(place, row.key, contents[row.content]))
        return found

    def _bound(self, name: str, message: int) -> dict[str, Any]:
        source = self.sources[int(self.source_of[message])]
        sequence = self.messages["sequence"][message].as_py()
        return {f"{name}_at": source.first_received_at, f"{name}_name": source.name, f"{name}_sequence": sequence}


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
        contents = _contents(connection, {row.content for row in rows})
    return {row.key: contents[row.content] for row in rows}


def digest_of(content: Content) -> bytes:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).digest()


_remembered: OrderedDict[bytes, Content] = OrderedDict()
_lock = Lock()  # guards `_remembered`: several threads of one process may load


def _contents(connection: sa.Connection, digests: set[bytes]) -> dict[bytes, Content]:
    with _lock:
        found = {digest: _remembered[digest] for digest in digests if digest in _remembered}
    missing = sorted(digests - found.keys())
    if missing:
        query = sa.select(definition_content.c.digest, definition_content.c.content)
        rows = connection.execute(query.where(definition_content.c.digest.in_(missing)))
        found |= {bytes(digest): content for digest, content in rows.tuples()}
    with _lock:
        for digest, content in found.items():
            _remembered[digest] = content
            _remembered.move_to_end(digest)
        while len(_remembered) > REMEMBERED_CONTENTS:
            _remembered.popitem(last=False)
    return found


_FIND = statement("sensor_platform.pipeline", "find_definitions")
_LATEST = statement("sensor_platform.pipeline", "latest_definitions")
_WITHDRAW = statement("sensor_platform.pipeline", "withdraw_definitions")
_MARK_OUTDATED = statement("sensor_platform.pipeline", "mark_outdated")
