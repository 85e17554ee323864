"""The load: one mechanism for new micro-batches, for those made again, and for single messages that a retry brings.

One transaction, under one advisory lock, and everything that it decides is read after the lock is held. What held with
four writers under random kills: not a unique key (it loses real rows), not `=` (NULL and NaN double), not marks read
before the lock (thousands doubled). Of equal readings the first in received order stands in `metric`, the others are
kept in `metric_duplicate`; so the end is that of one clean pass, in whatever order micro-batches come.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

import numpy as np
import sqlalchemy as sa
from psycopg import sql

from sensor_platform.database import locks
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import ledger
from sensor_platform.errors import DefinitionsChangedError, RegistryChangedError
from sensor_platform.pipeline.committed import Committed, around, read_rows
from sensor_platform.pipeline.counts import Made, count
from sensor_platform.pipeline.definitions import write_definitions
from sensor_platform.pipeline.horizon import too_old
from sensor_platform.pipeline.in_force import definition_changes, is_outdated
from sensor_platform.pipeline.letters import write_letters
from sensor_platform.pipeline.outcome import Outcome
from sensor_platform.pipeline.outdated import mark
from sensor_platform.pipeline.series import registry_version, unit_changes
from sensor_platform.pipeline.standing import as_time, insert, remove


class Scope(StrEnum):
    """What a load replaces: nothing, whole micro-batches, or the messages that it brings."""

    NEW = "new"
    AGAIN = "again"
    MESSAGES = "messages"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load wrote. Micro-batches that another process had loaded before are not in it."""

    outcome: Outcome
    made: list[Made]  # one a source of the outcome
    stands: np.ndarray  # bool per reading: in `metric`, otherwise in `metric_duplicate`
    before: Committed | None = None  # what stood of the micro-batches that were made again


def load(
    connection: sa.Connection,
    outcome: Outcome,
    *,
    scope: Scope,
    next_attempt_at: datetime,
    run_id: str | None = None,
    by: str = "load",
) -> Loaded:
    """Replaces what stands of the scope with `outcome`. The caller commits, or not.

    Raises:
        AccountingError: a message is in no class, or in two; nothing of it may be committed.
        RegistryChangedError: the unit of a series, or what people say of it, changed since `outcome` was prepared.
        DefinitionsChangedError: it was decoded with definitions that are not in force any more.
    """
    if scope is not Scope.NEW:
        locks.take(connection, locks.CORRECTION)
    locks.take(connection, locks.LOAD)
    if (unit_changes(connection), registry_version(connection)) != (outcome.units_as_of, outcome.registry_as_of):
        raise RegistryChangedError("the registry changed while readings were prepared: prepare them again")
    ids = _ledger_ids(connection, outcome)
    if scope is Scope.NEW:
        # Whoever had the lock before us may have loaded some of them.
        outcome, ids = outcome.without(set(ids)), {}
    before = around(connection, list(ids)) if scope is Scope.AGAIN else None
    if scope is not Scope.MESSAGES:
        ids |= _insert_ledger_rows(connection, outcome.without(set(ids)))
    if not outcome.sources:
        return Loaded(outcome, [], np.zeros(0, dtype=bool))
    micro_batch = np.array([ids[source.name] for source in outcome.sources], np.int32)[outcome.source_of]
    rows = replace(outcome.readings, micro_batch=micro_batch[outcome.message])
    is_new = scope is Scope.NEW
    if not is_new:
        _withdraw(connection, outcome, list(ids.values()), micro_batch, scope)
    if before is not None:
        # Compared after the commit: nobody waits for that with the lock held.
        before = replace(before, readings=read_rows(connection, sql.SQL("SELECT * FROM removed")))
    expired = too_old(connection, rows.time)
    stands, conflicting = np.ones(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    stands[~expired], conflicting[~expired] = insert(connection, rows.take(~expired), after_removal=not is_new)
    made = count(outcome, rows, stands, conflicting, expired)
    whole = [] if scope is Scope.MESSAGES else list(ids.values())
    # Before ours change it: where nobody else has changed any, what was decoded with is in force.
    as_before = outcome.decoded_with is None or outcome.decoded_with.as_of == definition_changes(connection)
    write_definitions(connection, outcome, micro_batch, whole=whole, is_new=is_new)
    outdated = not as_before and is_outdated(connection, outcome.decoded_with)
    if outdated and not outcome.load_outdated:
        raise DefinitionsChangedError("a definition changed while messages were decoded: prepare them again")
    write_letters(
        connection,
        outcome,
        micro_batch,
        expired=np.bincount(outcome.message[expired], minlength=len(micro_batch)),
        is_new=is_new,
        next_attempt_at=next_attempt_at,
        by=by,
    )
    _add_to_ledger(connection, made, [ids[source.name] for source in outcome.sources])
    if scope is not Scope.MESSAGES:
        _sign_ledger(connection, outcome, list(ids.values()), run_id)
    if outdated:
        mark(connection, ids.values())
    return Loaded(outcome, made, stands, before)


def _ledger_ids(connection: sa.Connection, outcome: Outcome) -> dict[str, int]:
    names = [source.name for source in outcome.sources]
    rows = connection.execute(sa.select(ledger.c.name, ledger.c.id).where(ledger.c.name.in_(names)))
    return {row.name: row.id for row in rows}


def _insert_ledger_rows(connection: sa.Connection, outcome: Outcome) -> dict[str, int]:
    """Rows that say nothing yet: readings need their ids, and the equations hold for zeros too."""
    if not outcome.sources:
        return {}
    zeros = {column.name: 0 for column in ledger.columns if isinstance(column.type, sa.BigInteger)}
    rows = [
        {
            **zeros,
            "name": source.name,
            "hour": source.hour,
            "first_received_at": source.first_received_at,
            "last_received_at": source.last_received_at,
            "route_versions": {},
            "transformer_versions": {},
            "attempt": 0,
        }
        for source in outcome.sources
    ]
    inserted = connection.execute(sa.insert(ledger).returning(ledger.c.name, ledger.c.id), rows)
    return {row.name: row.id for row in inserted}


def _withdraw(
    connection: sa.Connection, outcome: Outcome, ids: list[int], micro_batch: np.ndarray, scope: Scope
) -> None:
    """Takes the scope out of the tables and out of the counts; its dead letters are matched later."""
    if scope is Scope.AGAIN:
        remove(connection, ids, [None] * len(ids))
        connection.execute(_WITHDRAW_ALL, {"micro_batches": ids})
    else:
        remove(connection, micro_batch.tolist(), outcome.messages["sequence"].to_pylist())
        connection.execute(_WITHDRAW_MESSAGES)


def _add_to_ledger(connection: sa.Connection, made: list[Made], ids: list[int]) -> None:
    columns = {
        "id": ids,
        **{name: [getattr(one.messages, name) for one in made] for name in _MESSAGES},
        **{name: [getattr(one.readings, name) for one in made] for name in _READINGS},
        "duplicate_readings": [one.readings.duplicate for one in made],
        "conflicts": [one.conflicts for one in made],
        "least_time": [as_time(one.least_time) for one in made],
        "greatest_time": [as_time(one.greatest_time) for one in made],
    }
    connection.execute(_ADD_TO_LEDGER, columns)


def _sign_ledger(connection: sa.Connection, outcome: Outcome, ids: list[int], run_id: str | None) -> None:
    versions = {"routes": json.dumps(outcome.routes), "transformers": json.dumps(outcome.transformers)}
    signed = {"micro_batches": ids, "run_id": run_id, "registry_as_of": outcome.registry_as_of, **versions}
    connection.execute(_SIGN_LEDGER, signed)


_MESSAGES = ("staged", "accepted", "partial", "dead_lettered", "duplicate", "ignored")
_READINGS = ("decoded", "inserted", "refused", "thinned", "expired")
_WITHDRAW_ALL = statement("sensor_platform.pipeline", "withdraw_all")
_WITHDRAW_MESSAGES = statement("sensor_platform.pipeline", "withdraw_messages")
_ADD_TO_LEDGER = statement("sensor_platform.pipeline", "add_to_ledger")
_SIGN_LEDGER = statement("sensor_platform.pipeline", "sign_ledger")
