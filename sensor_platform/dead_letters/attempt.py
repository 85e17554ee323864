"""One chunk of a retry: read, decode again, and load what its messages have become."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.dead_letters.chunks import Chunk, Message
from sensor_platform.dead_letters.neighbours import Neighbours
from sensor_platform.dead_letters.turns import Turn, Turns
from sensor_platform.errors import StagingError
from sensor_platform.log import get_logger
from sensor_platform.pipeline.counts import Made
from sensor_platform.pipeline.guilty import load_prepared
from sensor_platform.pipeline.load import Scope, load
from sensor_platform.pipeline.outcome import Outcome, Source
from sensor_platform.pipeline.prepare import prepare
from sensor_platform.routes.model import Routes
from sensor_platform.settings import Settings
from sensor_platform.staging.format import SCHEMA

#: No wait between two attempts is longer.
MAX_BACKOFF = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a chunk. `outcomes`: a row a letter. `left`: micro-batch -> why its letters wait."""

    made: list[Made] = field(default_factory=list)
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)

    def __add__(self, other: "Result") -> "Result":
        return Result([*self.made, *other.made], [*self.outcomes, *other.outcomes], {**self.left, **other.left})


@dataclass(frozen=True, slots=True)
class _Read:
    """The messages of a chunk, or of all of its micro-batch, and which of those are the chunk's own."""

    sources: list[Source]
    table: pa.Table  # staging SCHEMA
    source_of: np.ndarray
    own: np.ndarray

    def beside(self, whole: pa.Table) -> "_Read":
        own = pc.is_in(whole["sequence"], value_set=self.table["sequence"].combine_chunks())
        return _Read(self.sources, whole, np.zeros(len(whole), np.int64), np.asarray(own.to_numpy(), dtype=bool))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of `retry`: what each of its chunks needs."""

    database: Database
    routes: Routes
    settings: Settings
    neighbours: Neighbours
    turns: Turns
    by: str
    now: datetime

    def run(self, chunk: Chunk) -> Result:
        """Where the micro-batch cannot be read beside which messages are judged, those are left for later."""
        read = self._read(chunk.messages)
        if not chunk.beside:
            return self._run(chunk, read)
        try:
            whole = self.neighbours.read(read.sources[0])
        except StagingError as err:
            left = self._leave(chunk.beside, read.sources[0].name, err)
            return left + self.run(chunk.alone) if chunk.alone.messages else left
        return self._run(chunk, read.beside(whole))

    def _run(self, chunk: Chunk, read: _Read) -> Result:
        with self.turns() as turn:

            def prepared() -> Outcome:
                limit = self.settings.mqtt.max_payload_bytes
                outcome = prepare(
                    read.sources,
                    read.table,
                    read.source_of,
                    self.routes,
                    turn.begin,
                    max_payload_bytes=limit,
                    seconds={},
                )
                return outcome.pick(read.own)

            attempt = partial(self._load, turn, chunk.messages)
            return load_prepared(prepared(), attempt, again=prepared, begin_trial=turn.begin_trial)

    def _load(self, turn: Turn, messages: list[Message], outcome: Outcome) -> Result:
        backoff = self._backoff()
        first_attempt_at = self.now + timedelta(seconds=backoff["first_backoff_s"])
        with turn.begin_load() as connection:
            locks.take(connection, locks.CORRECTION)
            locks.take(connection, locks.LOAD)
            outcome = _still_held(connection, turn, outcome)
            loaded = load(connection, outcome, scope=Scope.MESSAGES, next_attempt_at=first_attempt_at, by=self.by)
            if loaded.made:
                connection.execute(_COUNT_ATTEMPT, backoff)
                connection.execute(_SIGN_MESSAGES, {"made_by": json.dumps(self._made_by(outcome))})
            return Result(loaded.made, _outcomes(connection, turn, messages))

    def _leave(self, messages: list[Message], micro_batch: str, err: StagingError) -> Result:
        """Without a verdict. A failed attempt is counted only where the next one would fail as well."""
        why = f"its route judges a message beside its micro-batch, which cannot be read: {err}"
        get_logger().warning("letters_left_for_later", micro_batch=micro_batch, messages=len(messages), why=why)
        with self.turns() as turn, turn.begin_load() as connection:
            locks.take(connection, locks.LOAD)
            counted = 0 if err.retryable else 1
            letters = {**turn.lease.mark, **_as_arrays(messages), **self._backoff(), "counted": counted}
            connection.execute(_LEAVE, letters)
            return Result([], _outcomes(connection, turn, messages), {micro_batch: why})

    def _read(self, messages: list[Message]) -> _Read:
        """The messages as the staging area had them, in received order."""
        with self.database.connect() as connection:
            rows = connection.execute(_READ_MESSAGES, _as_arrays(messages)).mappings().all()
        sources = {row["name"]: Source(*(row[name] for name in _SOURCE)) for row in rows}
        place = {name: number for number, name in enumerate(sources)}
        table = pa.Table.from_pylist([_as_staged(row) for row in rows], schema=SCHEMA)
        source_of = np.array([place[row["name"]] for row in rows], np.int64)
        return _Read(list(sources.values()), table, source_of, np.ones(len(rows), dtype=bool))

    def _backoff(self) -> dict[str, Any]:
        retries = self.settings.dead_letters
        return {
            "now": self.now,
            "max_attempts": retries.max_attempts,
            "first_backoff_s": retries.first_backoff_s,
            "max_backoff_s": MAX_BACKOFF.total_seconds(),
        }

    def _made_by(self, outcome: Outcome) -> dict[str, Any]:
        versions = {"routes": outcome.routes, "transformers": outcome.transformers, "registry": outcome.registry_as_of}
        return {**versions, "run_id": self.by}


def _still_held(connection: sa.Connection, turn: Turn, outcome: Outcome) -> Outcome:
    still = set(connection.execute(_STILL_HELD, turn.lease.mark).tuples())
    names = [source.name for source in outcome.sources]
    sequences = outcome.messages["sequence"].to_pylist()
    places = zip(outcome.source_of.tolist(), sequences, strict=True)
    return outcome.pick(np.array([(names[place], sequence) in still for place, sequence in places], dtype=bool))


def _outcomes(connection: sa.Connection, turn: Turn, messages: list[Message]) -> list[dict[str, Any]]:
    rows = connection.execute(_OUTCOMES, {"ids": turn.lease.ids, **_as_arrays(messages)}).mappings()
    return [dict(row) for row in rows]


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
_READ_MESSAGES = statement("sensor_platform.dead_letters", "read_messages")
_STILL_HELD = statement("sensor_platform.dead_letters", "still_held")
_COUNT_ATTEMPT = statement("sensor_platform.dead_letters", "count_attempt")
_SIGN_MESSAGES = statement("sensor_platform.dead_letters", "sign_messages")
_LEAVE = statement("sensor_platform.dead_letters", "leave_letters")
_OUTCOMES = statement("sensor_platform.dead_letters", "outcomes")
