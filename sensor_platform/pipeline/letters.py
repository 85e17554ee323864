"""Dead letters of a load, written in its transaction: what is refused, what is refused no more, and the raw bytes."""

from datetime import datetime
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from psycopg import sql

from sensor_platform.database.raw import cursor, statement
from sensor_platform.pipeline.outcome import Outcome

_REFUSED = ("micro_batch", "sequence", "ordinal", "stage", "code", "detail")
_MESSAGE = ("micro_batch", "sequence", "received_at", "topic", "payload", "qos", "retain", "content_type")
_MESSAGE_TYPES = ("int4", "int8", "timestamptz", "bytea", "bytea", "int2", "bool", "text", "jsonb", "int4", "int4")


def write_letters(
    connection: sa.Connection,
    outcome: Outcome,
    micro_batch: np.ndarray,
    *,
    expired: np.ndarray,
    is_new: bool,
    next_attempt_at: datetime,
    by: str,
) -> None:
    """Brings the dead letters of the scope (a temporary table) to what `outcome` refuses.

    `micro_batch` is the ledger id of each message, `expired` how many of its readings were too old to be kept. Nothing
    is asked of the database where nothing can have changed.
    """
    if is_new and not outcome.refusals:
        return
    connection.execute(_TEMPORARY)
    _copy_refused(connection, outcome, micro_batch)
    _copy_messages(connection, outcome, micro_batch, expired)
    connection.execute(_KEEP_MESSAGES)
    connection.execute(_UPSERT, {"next_attempt_at": next_attempt_at})
    if not is_new:
        connection.execute(_RESOLVE, {"by": by})
        connection.execute(_CLEAR_MADE_BY)


def _copy_refused(connection: sa.Connection, outcome: Outcome, micro_batch: np.ndarray) -> None:
    sequence = outcome.messages["sequence"].to_numpy()
    with _copy(connection, "refused", _REFUSED) as copy:
        for refusal in outcome.refusals:
            place = refusal.message
            row = (int(micro_batch[place]), int(sequence[place]), int(refusal.ordinal), refusal.stage, refusal.code)
            copy.write_row((*row, storable(refusal.detail)))


def _copy_messages(connection: sa.Connection, outcome: Outcome, micro_batch: np.ndarray, expired: np.ndarray) -> None:
    places = sorted({refusal.message for refusal in outcome.refusals})
    with _copy(connection, "refused_message", (*_MESSAGE, "user_properties", "thinned", "expired")) as copy:
        copy.set_types(_MESSAGE_TYPES)
        for place, row in zip(places, outcome.messages.take(pa.array(places, pa.int64())).to_pylist(), strict=True):
            properties = row["user_properties"]
            pairs = None if properties is None else [[storable(k), storable(v)] for k, v in properties]
            content_type = None if row["content_type"] is None else storable(row["content_type"])
            values = [row[name] for name in _MESSAGE[1:-1]]
            counts = (int(outcome.thinned[place]), int(expired[place]))
            copy.write_row((int(micro_batch[place]), *values, content_type, pairs, *counts))


def _copy(connection: sa.Connection, table: str, columns: tuple[str, ...]) -> Any:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    cur: psycopg.Cursor[Any] = cursor(connection)
    return cur.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names))


def storable(text: str) -> str:
    """`text` with what PostgreSQL cannot hold in a string (U+0000, lone surrogates) replaced."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def letters_by_code(outcome: Outcome) -> dict[str, int]:
    """Refusals of `outcome`, by their code."""
    if not outcome.refusals:
        return {}
    counts = pc.value_counts(pa.array([refusal.code for refusal in outcome.refusals]))
    return {entry["values"]: entry["counts"] for entry in counts.to_pylist()}


_TEMPORARY = statement("sensor_platform.pipeline", "temporary_letters")
_KEEP_MESSAGES = statement("sensor_platform.pipeline", "keep_messages")
_UPSERT = statement("sensor_platform.pipeline", "upsert_letters")
_RESOLVE = statement("sensor_platform.pipeline", "resolve_letters")
_CLEAR_MADE_BY = statement("sensor_platform.pipeline", "clear_made_by")
