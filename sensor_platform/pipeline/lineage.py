"""The way from bytes to numbers: what became of a message.

`readings.trace` is the way back. The class, the readings and the dead letters are those that are committed. Why a
message was ignored, and which of its readings were thinned, nobody wrote down: decoding its micro-batch again, without
writing anything, tells it, for as long as the versions are those that made it.
"""

import base64
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import dead_letter, dead_letter_message, definition, ledger
from sensor_platform.errors import BytesDeletedError, MissingMicroBatchError
from sensor_platform.pipeline.explain import explain
from sensor_platform.pipeline.imagined import ImaginedCatalogue
from sensor_platform.pipeline.message import OneMessage
from sensor_platform.pipeline.outcome import Source
from sensor_platform.pipeline.prepare import prepare
from sensor_platform.pipeline.readings import COLUMNS, calibration_of, original_of, versions_of
from sensor_platform.routes.model import Routes
from sensor_platform.settings import Settings
from sensor_platform.staging.format import MicroBatch
from sensor_platform.staging.store import Staging
from sensor_platform.transformers.contract import Quality
from sensor_platform.transformers.custom import version_of

LETTER_COLUMNS = ("id", "state", "stage", "code", "detail", "ordinal", "attempts", "next_attempt_at", "closed_why")


@dataclass(frozen=True, slots=True)
class _Message:
    """A message as it was staged, and the whole micro-batch where its file is there."""

    row: dict[str, Any]
    micro_batch: pa.Table | None


@dataclass(frozen=True, slots=True)
class _Today:
    """What today's routes and transformers make of a message. `ignored`: why, where it is."""

    versions: dict[str, Any]
    thinned: list[dict[str, Any]]
    ignored: str | None


def became(
    database: Database, staging: Staging, routes: Routes, micro_batch: str, sequence: int, *, settings: Settings
) -> dict[str, Any]:
    """What became of message `sequence` of the sealed micro-batch of that name.

    Keys: the message (`micro_batch`, `sequence`, `topic`, `payload_base64`, `received_at`, ...), its `class` and `why`,
    `readings` (`stands`, or aside and `behind` which message), `thinned`, `dead_letters`, `definitions`, and what made
    them. `made_as_today` False: routes or transformers are others now, and `thinned` and the reason are told by these.

    Raises:
        MissingMicroBatchError: no such micro-batch, or it has no such message.
        BytesDeletedError: retention has deleted its file.
        StagingError: it is damaged, or the object store does not answer.
    """
    with database.read_only() as connection:
        entry = connection.execute(sa.select(ledger).where(ledger.c.name == micro_batch)).mappings().first()
        message = _message(connection, staging, micro_batch, sequence, entry)
        committed = _committed(connection, entry, sequence) if entry else _NOTHING
        made_by = _made_by(connection, entry, sequence) if entry else None
    topic = message.row["topic"]
    versions = versions_of(topic, entry, made_by) if entry else dict.fromkeys(_VERSIONS)
    today = _today(database, routes, message, settings)
    verdict = _class(message.row, entry is not None, committed)
    is_expired = bool(entry and entry["expired"]) and verdict == "ignored" and not (today.ignored or today.thinned)
    verdict = "accepted" if is_expired else verdict
    return {
        "micro_batch": micro_batch,
        "sequence": sequence,
        "topic": topic.decode("utf-8", "backslashreplace"),
        "payload_base64": base64.b64encode(message.row["payload"]).decode(),
        **{name: message.row.get(name) for name in ("received_at", "qos", "retain", "redelivery_of", "content_type")},
        "class": verdict,
        "why": _EXPIRED if is_expired else _why(verdict, message.row, committed, today),
        **committed,
        "thinned": [] if verdict in ("pending", "duplicate") else today.thinned,
        **versions,
        "made_as_today": entry is None or all(versions[name] == said for name, said in today.versions.items()),
        "attempt": entry and entry["attempt"],
        "committed_at": entry and entry["committed_at"],
    }


def _message(
    connection: sa.Connection, staging: Staging, name: str, sequence: int, entry: sa.RowMapping | None
) -> _Message:
    found = staging.find(name) if entry is None else MicroBatch(entry["hour"].astimezone(UTC), name)
    if found is None:
        raise MissingMicroBatchError(f"{staging.where}: there is no sealed micro-batch {name}")
    if entry is not None and entry["bytes_deleted_at"] is not None:
        kept = sa.and_(dead_letter_message.c.micro_batch == entry["id"], dead_letter_message.c.sequence == sequence)
        row = connection.execute(sa.select(dead_letter_message).where(kept)).mappings().first()
        if row is None or row["bytes_deleted_at"] is not None:
            raise BytesDeletedError(name, at=entry["bytes_deleted_at"])
        return _Message({**row, "topic": bytes(row["topic"]), "payload": bytes(row["payload"])}, None)
    messages = staging.read(found)
    rows = messages.filter(pc.equal(messages["sequence"], sequence)).to_pylist()
    if not rows:
        first, last = pc.min_max(messages["sequence"]).as_py().values()
        raise MissingMicroBatchError(f"{name} has no message {sequence}: it holds {first} to {last}")
    return _Message(rows[0], messages)


def _committed(connection: sa.Connection, entry: sa.RowMapping, sequence: int) -> dict[str, list[dict[str, Any]]]:
    """Its readings, dead letters and definitions, as they stand."""
    which = {"micro_batch": entry["id"], "sequence": sequence}
    bounds = {"least": entry["least_time"], "greatest": entry["greatest_time"]}
    readings = connection.execute(_READINGS, {**which, **bounds}).mappings()
    letter = [dead_letter.c[name] for name in LETTER_COLUMNS]
    letters = sa.select(*letter).filter_by(**which).order_by(dead_letter.c.ordinal)
    defined = sa.select(definition.c.format, definition.c.key).filter_by(**which)
    return {
        "readings": [_reading(row) for row in readings],
        "dead_letters": [dict(row) for row in connection.execute(letters).mappings()],
        "definitions": [dict(row) for row in connection.execute(defined.order_by(definition.c.key)).mappings()],
    }


def _reading(row: sa.RowMapping) -> dict[str, Any]:
    behind = {"micro_batch": row["behind_micro_batch"], "sequence": row["behind_sequence"]}
    return {
        **{name: row[name] for name in (*COLUMNS, "ordinal", "stands")},
        "behind": None if row["behind_micro_batch"] is None else behind,
        "calibration": calibration_of(row),
        "original": original_of(row),
    }


def _made_by(connection: sa.Connection, entry: sa.RowMapping, sequence: int) -> dict[str, Any] | None:
    kept = sa.and_(dead_letter_message.c.micro_batch == entry["id"], dead_letter_message.c.sequence == sequence)
    made_by: dict[str, Any] | None = connection.execute(sa.select(dead_letter_message.c.made_by).where(kept)).scalar()
    return made_by


def _today(database: Database, routes: Routes, message: _Message, settings: Settings) -> _Today:
    row = message.row
    one = OneMessage(row["topic"], row["payload"], row["received_at"].astimezone(UTC), row["retain"])
    limit = settings.mqtt.max_payload_bytes
    explained = explain(one, routes, max_payload_bytes=limit)
    why = explained.steps[-1].says[-1] if explained.ignored else None
    if explained.route is None:
        return _Today(dict.fromkeys(_COMPARED), [], why)
    route = routes[explained.route]
    version = None if route.ignore else version_of(route)
    versions = {"route": route.name, "route_version": route.version, "transformer_version": version}
    readings = explained.readings if route.report_by_exception else explained.readings[:0]
    taken = _taken(database, routes, message, limit) if len(readings) else set()
    thinned = [_plain(reading) for reading in readings.to_dict("records") if reading["ordinal"] not in taken]
    return _Today(versions, thinned, why)


def _taken(database: Database, routes: Routes, message: _Message, max_payload_bytes: int) -> set[int]:
    """Places of its readings that are not thinned, which depends on its neighbours in the micro-batch."""
    whole = message.micro_batch
    if whole is None:
        return set()
    first, last = whole["received_at"][0].as_py(), whole["received_at"][-1].as_py()
    outcome = prepare(
        [Source("", first, first, last)],
        whole,
        np.zeros(len(whole), np.int64),
        routes,
        database.read_only,
        max_payload_bytes=max_payload_bytes,
        seconds={},
        catalogue=ImaginedCatalogue(database),
    )
    place = int(np.searchsorted(whole["sequence"].to_numpy(), message.row["sequence"]))
    refused = {refusal.ordinal for refusal in outcome.refusals if refusal.message == place}
    return refused | set(outcome.readings.ordinal[outcome.message == place].tolist())


def _plain(reading: dict[Hashable, Any]) -> dict[str, Any]:
    """A reading as decoding has it, in the words of the tables."""
    at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(reading["time"]))
    text, unit = (one if isinstance(one, str) else None for one in (reading["text"], reading["unit"]))
    named = {name: reading[name] for name in (*COLUMNS, "ordinal")}
    return {**named, "time": at, "text": text, "unit": unit, "quality": Quality(reading["quality"]).name.lower()}


def _class(message: dict[str, Any], loaded: bool, committed: dict[str, list[dict[str, Any]]]) -> str:
    """As the ledger counts it."""
    if not loaded:
        return "pending"
    if message.get("redelivery_of") is not None:
        return "duplicate"
    readings = committed["readings"]
    if any(letter["state"] != "resolved" for letter in committed["dead_letters"]):
        return "partial" if readings else "dead_lettered"
    if any(reading["stands"] for reading in readings):
        return "accepted"
    return "duplicate" if readings else "ignored"


def _why(verdict: str, message: dict[str, Any], committed: dict[str, list[dict[str, Any]]], today: _Today) -> str:
    """One sentence for a person."""
    stand = sum(reading["stands"] for reading in committed["readings"])
    aside = len(committed["readings"]) - stand
    refused = [letter["code"] for letter in committed["dead_letters"] if letter["state"] != "resolved"]
    match verdict:
        case "pending":
            return "its micro-batch is not loaded yet"
        case "duplicate" if message.get("redelivery_of") is not None:
            return f"the collector knew it as message {message['redelivery_of']}, which the broker sent once more"
        case "duplicate":
            return "each of its readings equals one that was received before it"
        case "ignored" if committed["definitions"]:
            return "it says what later messages mean, and holds no reading"
        case "ignored":
            return today.ignored or ("all of its readings were thinned" if today.thinned else "a rule says so")
    parts = [f"readings: {stand} stand, {aside} equal ones that were received before"]
    parts += [f"refused: {', '.join(dict.fromkeys(refused))}"] if refused else []
    return "; ".join(parts)


_EXPIRED = "its readings are older than readings are kept: retention deleted them, or they were too old when loaded"
_NOTHING: dict[str, list[dict[str, Any]]] = {"readings": [], "dead_letters": [], "definitions": []}
_COMPARED = ("route", "route_version", "transformer_version")
_VERSIONS = (*_COMPARED, "contract_version", "run_id")
_READINGS = statement("sensor_platform.pipeline", "message_readings")
