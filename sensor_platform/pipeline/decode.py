"""Staged messages to readings and refusals: grouped by route, a whole group decoded at once.

Nothing here raises for what a machine sent, nor for what a custom transformer makes of it: a group that fails is halved
until the guilty message stands alone, and is refused with its reason.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sensor_platform.pipeline.units import in_route_units
from sensor_platform.routes.filters import METRIC
from sensor_platform.routes.model import Route, Routes
from sensor_platform.staging.format import SCHEMA
from sensor_platform.transformers import registry
from sensor_platform.transformers.compression import unpacked
from sensor_platform.transformers.contract import WHOLE_MESSAGE, Decoded, PayloadColumn, Refusal
from sensor_platform.transformers.custom import decode_custom, version_of
from sensor_platform.transformers.definitions import Definition, Definitions
from sensor_platform.transformers.guarded import after, decode_guarded, joined
from sensor_platform.transformers.keeping import no_readings
from sensor_platform.transformers.leaves import RefusedValueError
from sensor_platform.transformers.numbers import is_storable, shown

#: Unpacked bytes that are decoded together.
PIECE_BYTES = 64 * 1024 * 1024
#: How often a route is decoded at most, for what the others of its format define. Since a definition rests on earlier
#: messages only, this ends after two or three; a custom transformer that says something else each time ends here.
MOST_PASSES = 8
#: The metric of a reading that names none.
PLAIN_METRIC = "value"


@dataclass(frozen=True, slots=True)
class DecodedMessages:
    """What a table of staged messages became; `message` of a reading or refusal is the row in that table.

    Every message that is neither redelivered nor ignored has at least one reading or refusal.
    """

    readings: pd.DataFrame  # READING_COLUMNS, `route`, its name, and `source_unit` where that is another than `unit`
    refusals: list[Refusal]
    redelivered: np.ndarray
    ignored: np.ndarray
    route_of: list[str | None]
    route_versions: dict[str, str] = field(default_factory=dict)
    transformer_versions: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, list[Definition]] = field(default_factory=dict)  # by format


#: Format -> what messages outside of the table defined.
DefinitionsOf = Callable[[str], Definitions]


@dataclass(frozen=True, slots=True)
class _Topic:
    """The verdict on one topic: a route with its captures, or a refusal's code and detail."""

    topic: str
    route: Route | None
    captures: dict[str, str]
    code: str = ""
    detail: str = ""


@dataclass(slots=True, eq=False)
class _Part:
    """The messages of one route, and what they became by what those of other routes of its format define."""

    route: Route
    rows: np.ndarray
    known: list[Definition] = field(default_factory=list)
    decoded: Decoded = field(default_factory=lambda: Decoded(no_readings()))


#: What the messages of a route, which stand at these rows, become by definitions from outside of them.
_Read = Callable[[Route, np.ndarray, Definitions], Decoded]


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
    verdicts, topic_of = _judge_topics(messages, routes)
    redelivered = _flags(pc.is_valid(messages["redelivery_of"]))
    ignored = ~redelivered & np.array([v.route is not None and v.route.ignore for v in verdicts], dtype=bool)[topic_of]
    open_rows = ~redelivered & ~ignored
    refusals = _refuse_topics(verdicts, topic_of, open_rows)
    too_large = _flags(pc.greater(pc.binary_length(messages["payload"]), max_payload_bytes))
    frames: list[pd.DataFrame] = []
    used: dict[str, Route] = {}

    def read(route: Route, rows: np.ndarray, known: Definitions) -> Decoded:
        return _decode_route(messages, rows, route, verdicts, topic_of, max_bytes=max_payload_bytes, definitions=known)

    parts: list[_Part] = []
    for route, topics in _by_route(verdicts):
        rows = np.flatnonzero(open_rows & np.isin(topic_of, topics))
        refusals += _refuse_large(messages, rows[too_large[rows]], max_payload_bytes)
        parts.append(_Part(route, rows[~too_large[rows]]))
    definitions = _decode_parts(parts, read, definitions_of)
    for part in parts:
        route = part.route
        decoded, again = _without_retained(part.decoded, messages, route)
        decoded = in_route_units(decoded, route)
        ignored[again] = True
        ignored[decoded.ignored] = True
        if route.no_readings == "ignore":
            ignored[_silent(part.rows, decoded)] = True
        frames.append(decoded.readings.assign(route=pd.Series(route.name, index=decoded.readings.index, dtype=object)))
        refusals += decoded.refusals
        used[route.name] = route
    readings = _in_order(frames)
    ignored |= _only_defining(definitions, readings, refusals, len(messages))
    refusals += _refuse_silent(open_rows & ~ignored, readings, refusals)
    formats = {route.format: route for route in used.values()}
    names = [v.route.name if v.route is not None else None for v in verdicts]
    return DecodedMessages(
        readings=readings,
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


def _judge_topics(messages: pa.Table, routes: Routes) -> tuple[list[_Topic], np.ndarray]:
    """A verdict for each different topic, and which of them each message has."""
    encoded = pc.dictionary_encode(messages["topic"].combine_chunks())
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    verdicts = [_judge_topic(topic, routes) for topic in encoded.dictionary.to_pylist()]
    return verdicts, encoded.indices.to_numpy().astype(np.int64)


def _judge_topic(raw: bytes, routes: Routes) -> _Topic:
    try:
        topic = raw.decode()
    except UnicodeDecodeError as err:
        return _Topic("", None, {}, "invalid_topic", f"the topic is not valid UTF-8 at byte {err.start}")
    if not is_storable(topic):
        return _Topic(topic, None, {}, "invalid_topic", f"the topic {shown(topic)} holds U+0000")
    found = routes.match(topic)
    if found is None:
        return _Topic(topic, None, {}, "no_route", f"no route's filter matches the topic {shown(topic)}")
    return _Topic(topic, *found)


def _refuse_topics(verdicts: list[_Topic], topic_of: np.ndarray, open_rows: np.ndarray) -> list[Refusal]:
    bad = np.array([verdict.route is None for verdict in verdicts], dtype=bool)[topic_of]
    return [
        Refusal(row, WHOLE_MESSAGE, verdicts[topic_of[row]].code, verdicts[topic_of[row]].detail)
        for row in np.flatnonzero(open_rows & bad).tolist()
    ]


def _by_route(verdicts: list[_Topic]) -> Iterator[tuple[Route, list[int]]]:
    """Each route that decodes, with the topics that are its own."""
    topics: dict[str, tuple[Route, list[int]]] = {}
    for index, verdict in enumerate(verdicts):
        if verdict.route is not None and not verdict.route.ignore:
            topics.setdefault(verdict.route.name, (verdict.route, []))[1].append(index)
    yield from topics.values()


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


def _decode_parts(parts: list[_Part], read: _Read, definitions_of: DefinitionsOf) -> dict[str, list[Definition]]:
    """Decodes each part; returns what they define, by format, in received order.

    Routes share one timeline: data that stands after its metadata is read by it, also where the route of the metadata
    is decoded later. Then what came too early is decoded again.
    """
    of_format: dict[str, list[_Part]] = {}
    for part in parts:
        of_format.setdefault(part.route.format, []).append(part)
    definitions = {}
    for format_, same in of_format.items():
        defining = _decode_format(same, read, definitions_of(format_))
        if defining:
            found = [one for part in defining for one in part.decoded.definitions]
            definitions[format_] = sorted(found, key=lambda one: one.message)
    return definitions


def _decode_format(same: list[_Part], read: _Read, stored: Definitions) -> list[_Part]:
    """Decodes the parts of one format, each by what all others define; returns those that define something."""
    defining: list[_Part] = []
    for number in range(MOST_PASSES):
        is_settled = True
        for part in same:
            known = [one for other in defining if other is not part for one in other.decoded.definitions]
            if number and (known == part.known or not len(part.rows)):
                continue
            part.known, part.decoded = known, read(part.route, part.rows, stored.overlaid(known))
            is_settled = False
            if part.decoded.definitions and part not in defining:
                defining.append(part)
        if is_settled or not defining:
            break
    return [part for part in defining if part.decoded.definitions]


def _decode_route(
    messages: pa.Table,
    rows: np.ndarray,
    route: Route,
    verdicts: list[_Topic],
    topic_of: np.ndarray,
    *,
    max_bytes: int,
    definitions: Definitions,
) -> Decoded:
    topics = topic_of[rows].tolist()
    column = PayloadColumn(
        payloads=messages["payload"].take(rows).to_pylist(),
        received_at=messages["received_at"].take(rows).cast(pa.int64()).to_numpy(),
        topics=[verdicts[index].topic for index in topics],
        captures=[verdicts[index].captures for index in topics],
        definitions=definitions.taken(rows),
    )
    if route.compression == "none":
        decoded = _decode_guarded(column, route)
    else:
        decoded = _decode_packed(column, route, max_bytes)
    return _with_captured_metric(decoded, column).moved(rows)


def _with_captured_metric(decoded: Decoded, column: PayloadColumn) -> Decoded:
    """Where the topic says of which metric: it is the name of a plain value, and comes before every other name."""
    if decoded.readings.empty or METRIC not in column.captures[0]:
        return decoded
    captured = [column.captures[message][METRIC] for message in decoded.readings["message"]]
    names = [
        topic if name == PLAIN_METRIC else f"{topic}.{name}"
        for topic, name in zip(captured, decoded.readings["metric"], strict=True)
    ]
    metric = pd.Series(names, index=decoded.readings.index, dtype=object)
    return replace(decoded, readings=decoded.readings.assign(metric=metric))


def _silent(rows: np.ndarray, decoded: Decoded) -> np.ndarray:
    """Those of `rows` that have neither a reading nor a refusal."""
    refused = np.array([refusal.message for refusal in decoded.refusals], dtype=np.int64)
    answered = np.concatenate([decoded.readings["message"].to_numpy(np.int64), refused])
    return np.setdiff1d(rows, answered)


def _decode_packed(column: PayloadColumn, route: Route, max_bytes: int) -> Decoded:
    """Unpacks and decodes a bounded piece at a time: what is small on the wire may be large here."""
    parts: list[Decoded] = []
    for places, payloads, refused in _unpacked_pieces(column, route, max_bytes):
        taken = np.array(places, dtype=np.int64)
        piece = replace(after(column, parts).take(taken), payloads=payloads)
        parts += [Decoded(no_readings(), refused), _decode_guarded(piece, route).moved(taken)]
    return joined(parts)


def _unpacked_pieces(
    column: PayloadColumn, route: Route, max_bytes: int
) -> Iterator[tuple[list[int], list[bytes], list[Refusal]]]:
    """Places and payloads of some PIECE_BYTES each, and who could not be unpacked on the way."""
    places: list[int] = []
    payloads: list[bytes] = []
    refused: list[Refusal] = []
    size_bytes = 0
    for place, packed in enumerate(column.payloads):
        try:
            payloads.append(unpacked(packed, route.compression, max_bytes=max_bytes))
            places.append(place)
        except RefusedValueError as err:
            refused.append(Refusal(place, WHOLE_MESSAGE, err.code, err.detail))
            continue
        size_bytes += len(payloads[-1])
        if size_bytes >= PIECE_BYTES:
            yield places, payloads, refused
            places, payloads, refused, size_bytes = [], [], [], 0
    yield places, payloads, refused


def _decode_guarded(column: PayloadColumn, route: Route) -> Decoded:
    """Formats that come along are decoded here, all others in a worker process."""
    if route.format in registry.BUILT_IN:
        return decode_guarded(column, route, registry.get(route.format))
    return decode_custom(column, route)


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


def _in_order(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """All readings in received order."""
    if not frames:
        return no_readings().assign(source_unit=pd.Series(dtype=object), route=pd.Series(dtype=object))
    readings = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0].reset_index(drop=True)
    order = np.lexsort((readings["ordinal"].to_numpy(), readings["message"].to_numpy()))
    in_order = bool(np.all(order[:-1] < order[1:]))
    return readings if in_order else readings.take(order).reset_index(drop=True)


def _flags(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.to_numpy(), dtype=bool)
