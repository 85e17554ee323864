"""Staged messages to readings and refusals: grouped by route, a whole group decoded at once.

`topics` says whose a message is, `payloads` what the format of its route makes of it, `timeline` lets the routes of one
format share their definitions; here it is put together, and each message that is left over is ignored or refused.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sensor_platform.pipeline.payloads import decode_payloads
from sensor_platform.pipeline.timeline import DefinitionsOf, Part, decode_parts
from sensor_platform.pipeline.topics import by_route, judge_topics, refuse_topics
from sensor_platform.pipeline.units import in_route_units
from sensor_platform.routes.model import Route, Routes
from sensor_platform.staging.format import SCHEMA
from sensor_platform.transformers.contract import WHOLE_MESSAGE, Decoded, Refusal
from sensor_platform.transformers.custom import version_of
from sensor_platform.transformers.definitions import Definition, Definitions
from sensor_platform.transformers.keeping import no_readings


@dataclass(frozen=True, slots=True)
class DecodedMessages:
    """What a table of staged messages became; `message` of a reading or refusal is the row in that table.

    Every message that is neither redelivered nor ignored has at least one reading or refusal.
    """

    #: READING_COLUMNS; `route`, its name; `source_unit` where that is another than `unit`; `unnamed`: it named none
    readings: pd.DataFrame
    #: the same columns, of readings that are refused since their unit does not convert to that of their route
    unfit: pd.DataFrame
    refusals: list[Refusal]
    redelivered: np.ndarray
    ignored: np.ndarray
    route_of: list[str | None]
    route_versions: dict[str, str] = field(default_factory=dict)
    transformer_versions: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, list[Definition]] = field(default_factory=dict)  # by format


def decode(
    messages: pa.Table,
    routes: Routes,
    *,
    max_payload_bytes: int,
    definitions_of: DefinitionsOf = lambda _format: Definitions(),
) -> DecodedMessages:
    """Readings and refusals of `messages` (columns of the staging SCHEMA), which stand in received order.

    definitions_of: what is known beforehand; without it, only what the messages themselves define.
    """
    verdicts, topic_of = judge_topics(messages, routes)
    redelivered = _flags(pc.is_valid(messages["redelivery_of"]))
    ignored = ~redelivered & np.array([v.route is not None and v.route.ignore for v in verdicts], dtype=bool)[topic_of]
    open_rows = ~redelivered & ~ignored
    refusals = refuse_topics(verdicts, topic_of, open_rows)
    too_large = _flags(pc.greater(pc.binary_length(messages["payload"]), max_payload_bytes))
    frames: list[pd.DataFrame] = []
    unfit: list[pd.DataFrame] = []
    used: dict[str, Route] = {}

    def read(route: Route, rows: np.ndarray, known: Definitions) -> Decoded:
        return decode_payloads(
            messages, rows, route, verdicts, topic_of, max_bytes=max_payload_bytes, definitions=known
        )

    parts: list[Part] = []
    for route, topics in by_route(verdicts):
        rows = np.flatnonzero(open_rows & np.isin(topic_of, topics))
        refusals += _refuse_large(messages, rows[too_large[rows]], max_payload_bytes)
        parts.append(Part(route, rows[~too_large[rows]]))
    definitions = decode_parts(parts, read, definitions_of)
    for part in parts:
        route = part.route
        decoded, again = _without_retained(part.decoded, messages, route)
        decoded, mismatched = in_route_units(decoded, route)
        ignored[again] = True
        ignored[decoded.ignored] = True
        if route.no_readings == "ignore":
            ignored[_silent(part.rows, decoded)] = True
        frames.append(_with_route(decoded.readings, route))
        if len(mismatched):
            unfit.append(_with_route(mismatched, route))
        refusals += decoded.refusals
        used[route.name] = route
    readings = _in_order(frames)
    ignored |= _only_defining(definitions, readings, refusals, len(messages))
    refusals += _refuse_silent(open_rows & ~ignored, readings, refusals)
    formats = {route.format: route for route in used.values()}
    names = [v.route.name if v.route is not None else None for v in verdicts]
    return DecodedMessages(
        readings=readings,
        unfit=_in_order(unfit),
        refusals=sorted(refusals, key=lambda refusal: (refusal.message, refusal.ordinal)),
        redelivered=redelivered,
        ignored=ignored,
        route_of=[names[index] for index in topic_of.tolist()],
        route_versions={name: route.version for name, route in used.items()},
        transformer_versions={name: version_of(formats[name]) for name in sorted(formats)},
        definitions=definitions,
    )


def one_message(topic: str | bytes, payload: bytes, received_at: datetime, *, retain: bool = False) -> pa.Table:
    """A table of one message, for what comes from a hand rather than from the staging area."""
    row = {
        "sequence": 0,
        "received_at": received_at,
        "topic": topic if isinstance(topic, bytes) else topic.encode("utf-8", "surrogatepass"),
        "payload": payload,
        "qos": 1,
        "retain": retain,
        "dup": False,
        "connection": 0,
    }
    return pa.Table.from_pylist([row], schema=SCHEMA)


def _refuse_large(messages: pa.Table, rows: np.ndarray, max_payload_bytes: int) -> list[Refusal]:
    sizes = pc.binary_length(messages["payload"].take(rows)).to_pylist()
    return [
        Refusal(
            row,
            WHOLE_MESSAGE,
            "payload_too_large",
            f"{size} bytes, more than MQTT_MAX_PAYLOAD_BYTES={max_payload_bytes}",
        )
        for row, size in zip(rows.tolist(), sizes, strict=True)
    ]


def _silent(rows: np.ndarray, decoded: Decoded) -> np.ndarray:
    """Those of `rows` that have neither a reading nor a refusal."""
    refused = np.array([refusal.message for refusal in decoded.refusals], dtype=np.int64)
    answered = np.concatenate([decoded.readings["message"].to_numpy(np.int64), refused])
    return np.setdiff1d(rows, answered)


def _without_retained(decoded: Decoded, messages: pa.Table, route: Route) -> tuple[Decoded, np.ndarray]:
    """Without retained messages that have no time of their own, since each subscribe brings them again; and which."""
    readings = decoded.readings
    places = readings["message"].to_numpy()
    again = np.zeros(len(messages), dtype=bool)
    if route.retained == "ignore":
        again[places] = True
        again[places[~readings["timed_by_receipt"].to_numpy()]] = False
        again &= _flags(messages["retain"])
    if again.any():
        kept = [refusal for refusal in decoded.refusals if not again[refusal.message]]
        decoded = replace(decoded, readings=readings[~again[places]], refusals=kept)
    return decoded, np.flatnonzero(again)


def _only_defining(
    definitions: dict[str, list[Definition]], readings: pd.DataFrame, refusals: list[Refusal], count: int
) -> np.ndarray:
    """Messages that say something of others, and nothing else."""
    only = np.zeros(count, dtype=bool)
    only[[definition.message for found in definitions.values() for definition in found]] = True
    only[readings["message"].to_numpy()] = False
    only[[refusal.message for refusal in refusals]] = False
    return only


def _refuse_silent(open_rows: np.ndarray, readings: pd.DataFrame, refusals: list[Refusal]) -> list[Refusal]:
    silent = open_rows.copy()
    silent[readings["message"].to_numpy()] = False
    silent[[refusal.message for refusal in refusals]] = False
    detail = "the message holds nothing that is a reading"
    return [Refusal(row, WHOLE_MESSAGE, "no_readings", detail) for row in np.flatnonzero(silent).tolist()]


def _with_route(readings: pd.DataFrame, route: Route) -> pd.DataFrame:
    return readings.assign(route=pd.Series(route.name, index=readings.index, dtype=object))


def _in_order(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """All readings in received order."""
    if not frames:
        return no_readings().assign(
            source_unit=pd.Series(dtype=object), unnamed=pd.Series(dtype=bool), route=pd.Series(dtype=object)
        )
    readings = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0].reset_index(drop=True)
    message, ordinal = readings["message"].to_numpy(), readings["ordinal"].to_numpy()
    later = (message[1:] > message[:-1]) | ((message[1:] == message[:-1]) & (ordinal[1:] >= ordinal[:-1]))
    if later.all():
        return readings
    return readings.take(np.lexsort((ordinal, message))).reset_index(drop=True)


def _flags(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.to_numpy(), dtype=bool)
