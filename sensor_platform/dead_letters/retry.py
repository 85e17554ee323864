"""Decode dead letters again, with today's routes and transformers.

A whole message is taken again from its bytes, whichever of its letters were due: its readings replace what stands of
it, by the same mechanism as a backfill. A retry that dies leaves its letters `retrying`; they are due again when their
lease is over.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.dead_letters.choose import Chosen, choose
from sensor_platform.dead_letters.neighbours import has_a_say, with_neighbours
from sensor_platform.pipeline.guilty import load_prepared
from sensor_platform.pipeline.load import Loaded, Scope, load
from sensor_platform.pipeline.outcome import Outcome, Source
from sensor_platform.pipeline.prepare import prepare
from sensor_platform.routes.model import Routes
from sensor_platform.settings import Settings
from sensor_platform.staging.format import SCHEMA

#: A retry that took letters and was not heard of for so long is dead.
LEASE = timedelta(minutes=10)
#: No wait between two attempts is longer.
MAX_BACKOFF = timedelta(days=1)
#: Messages and bytes of payload that one transaction takes.
CHUNK_MESSAGES = 1000
CHUNK_BYTES = 32 * 1024 * 1024

Message = tuple[int, int]  # ledger id, sequence
Begin = Callable[[], AbstractContextManager[sa.Connection]]


@dataclass(frozen=True, slots=True)
class RetryReport:
    """What became of the letters, or, of a dry run, what would. `outcomes` has a row a letter as it stands then."""

    dry_run: bool = False
    letters: int = 0
    messages: int = 0
    states: dict[str, int] = field(default_factory=dict)
    inserted: int = 0
    duplicate: int = 0
    outcomes: list[dict[str, Any]] = field(default_factory=list)


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
    with _transactions(database, dry_run=dry_run) as (begin, begin_load):
        with begin() as connection:
            chosen = choose(
                connection, routes, ids=ids, codes=codes, stages=stages, routes_only=routes_only, limit=limit, now=now
            )
            taken = connection.execute(_LEASE, {"ids": chosen.ids, "until": now + LEASE, "now": now})
            chosen = Chosen(list(taken.scalars()))
            messages = connection.execute(_CHOSEN_MESSAGES, {"ids": chosen.ids}).all()
        attempt = _Attempt(database, routes, settings, chosen, begin, begin_load, by, now)
        results = [attempt.run(chunk) for chunk in _chunks(messages, apart=has_a_say(routes))]
    outcomes = [row for _, rows in results for row in rows]
    made = [one for loaded, _ in results for one in loaded.made]
    return RetryReport(
        dry_run=dry_run,
        letters=len(chosen.ids),
        messages=sum(one.messages.staged for one in made),
        states=dict(Counter(row["state"] for row in outcomes)),
        inserted=sum(one.readings.inserted for one in made),
        duplicate=sum(one.readings.duplicate for one in made),
        outcomes=outcomes,
    )


@contextmanager
def _transactions(database: Database, *, dry_run: bool) -> Iterator[tuple[Begin, Begin]]:
    """How to open a transaction, and one for a load. In a dry run both are savepoints in one that is never committed,
    and that of a load is undone at once."""
    if not dry_run:
        yield database.begin, database.begin
        return
    with database.connect() as connection:
        # First of all: to wait for a load while holding letters that it wants would be a deadlock.
        locks.take(connection, locks.LOAD)

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

        yield savepoint, undone


def _chunks(messages: Sequence[sa.Row[Any]], *, apart: bool) -> Iterator[list[Message]]:
    """Bounded portions; `apart`: of one micro-batch each, which are judged beside all of it."""
    chunk: list[Message] = []
    size = 0
    for row in messages:
        is_full = len(chunk) >= CHUNK_MESSAGES or size + row.payload_bytes > CHUNK_BYTES
        if chunk and (is_full or (apart and chunk[0][0] != row.micro_batch)):
            yield chunk
            chunk, size = [], 0
        chunk.append((row.micro_batch, row.sequence))
        size += row.payload_bytes
    if chunk:
        yield chunk


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One call of `retry`: what each of its chunks needs."""

    database: Database
    routes: Routes
    settings: Settings
    chosen: Chosen
    begin: Begin
    begin_load: Begin
    by: str
    now: datetime

    def run(self, messages: list[Message]) -> tuple[Loaded, list[dict[str, Any]]]:
        """Decodes `messages` again and loads what they become."""
        with self.begin() as connection:
            sources, table, source_of = _read(connection, messages)

        def prepared() -> Outcome:
            if has_a_say(self.routes):
                whole, own = with_neighbours(self.settings, sources[0], table)
                return self._prepare(sources, whole, np.zeros(len(whole), np.int64)).pick(own)
            return self._prepare(sources, table, source_of)

        return load_prepared(self.database, prepared(), partial(self._load, messages), again=prepared)

    def _prepare(self, sources: list[Source], messages: pa.Table, source_of: np.ndarray) -> Outcome:
        limit = self.settings.mqtt.max_payload_bytes
        return prepare(sources, messages, source_of, self.routes, self.begin, max_payload_bytes=limit, seconds={})

    def _load(self, messages: list[Message], outcome: Outcome) -> tuple[Loaded, list[dict[str, Any]]]:
        retries = self.settings.dead_letters
        first_backoff = timedelta(seconds=retries.first_backoff_s)
        with self.begin_load() as connection:
            locks.take(connection, locks.LOAD)
            outcome = self._still_open(connection, outcome)
            loaded = load(
                connection, outcome, scope=Scope.MESSAGES, next_attempt_at=self.now + first_backoff, by=self.by
            )
            if loaded.made:
                backoff = {
                    "now": self.now,
                    "max_attempts": retries.max_attempts,
                    "first_backoff_s": retries.first_backoff_s,
                    "max_backoff_s": MAX_BACKOFF.total_seconds(),
                }
                connection.execute(_COUNT_ATTEMPT, backoff)
                connection.execute(_SIGN_MESSAGES, {"made_by": json.dumps(self._made_by(outcome))})
            rows = connection.execute(_OUTCOMES, {"ids": self.chosen.ids, **_as_arrays(messages)}).mappings()
            return loaded, [dict(row) for row in rows]

    def _still_open(self, connection: sa.Connection, outcome: Outcome) -> Outcome:
        still = set(connection.execute(_STILL_CHOSEN, {"ids": self.chosen.ids}).tuples())
        names = [source.name for source in outcome.sources]
        sequences = outcome.messages["sequence"].to_pylist()
        rows = [
            (names[place], sequence) in still
            for place, sequence in zip(outcome.source_of.tolist(), sequences, strict=True)
        ]
        return outcome.pick(np.array(rows, dtype=bool))

    def _made_by(self, outcome: Outcome) -> dict[str, Any]:
        return {"routes": outcome.routes, "transformers": outcome.transformers, "run_id": self.by}


def _read(connection: sa.Connection, messages: list[Message]) -> tuple[list[Source], pa.Table, np.ndarray]:
    """The messages as the staging area had them, in received order."""
    rows = connection.execute(_READ_MESSAGES, _as_arrays(messages)).mappings().all()
    sources = {row["name"]: Source(*(row[name] for name in _SOURCE)) for row in rows}
    place = {name: number for number, name in enumerate(sources)}
    table = pa.Table.from_pylist([_as_staged(row) for row in rows], schema=SCHEMA)
    return list(sources.values()), table, np.array([place[row["name"]] for row in rows], np.int64)


def _as_arrays(messages: list[Message]) -> dict[str, list[int]]:
    micro_batches, sequences = zip(*messages, strict=True)
    return {"micro_batches": list(micro_batches), "sequences": list(sequences)}


def _as_staged(row: sa.RowMapping) -> dict[str, Any]:
    properties = row["user_properties"]
    return {
        **{name: row[name] for name in _STAGED},
        "user_properties": None if properties is None else [tuple(pair) for pair in properties],
        # Of no consequence to decoding: a message that was recognised as redelivered has no dead letters.
        "dup": False,
        "connection": 0,
    }


_SOURCE = ("name", "hour", "first_received_at", "last_received_at")
_STAGED = ("sequence", "received_at", "topic", "payload", "qos", "retain", "content_type")
_LEASE = statement("sensor_platform.dead_letters", "lease")
_CHOSEN_MESSAGES = statement("sensor_platform.dead_letters", "chosen_messages")
_READ_MESSAGES = statement("sensor_platform.dead_letters", "read_messages")
_STILL_CHOSEN = statement("sensor_platform.dead_letters", "still_chosen")
_COUNT_ATTEMPT = statement("sensor_platform.dead_letters", "count_attempt")
_SIGN_MESSAGES = statement("sensor_platform.dead_letters", "sign_messages")
_OUTCOMES = statement("sensor_platform.dead_letters", "outcomes")
