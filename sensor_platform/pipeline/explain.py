"""What becomes of one message, step by step: route, compression, format, fields, conversions, checks.

The verdict is that of `decode` and `validate`, which every message goes through; the steps only say how it came about.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa

from sensor_platform.pipeline.decode import DecodedMessages, decode
from sensor_platform.pipeline.fields import conversions, fields
from sensor_platform.pipeline.message import OneMessage, table_of
from sensor_platform.pipeline.timeline import DefinitionsOf
from sensor_platform.routes.filters import METRIC
from sensor_platform.routes.model import Route, Routes
from sensor_platform.routes.nearest import nearest
from sensor_platform.transformers.compression import unpacked
from sensor_platform.transformers.contract import Refusal
from sensor_platform.transformers.custom import version_of
from sensor_platform.transformers.definitions import Definitions
from sensor_platform.transformers.leaves import RefusedValueError
from sensor_platform.validation.contracts import with_contracts
from sensor_platform.validation.readings import Validated, validate

SHOWN_BYTES = 24
#: Column of readings that were judged with the registry.
CALIBRATION = "calibration"

#: Decoded messages, the messages, and the routes that decoded them.
Judge = Callable[[DecodedMessages, pa.Table, Routes], Validated]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done; `ok` False: it refused something. `says` are sentences, a line each."""

    step: str
    ok: bool
    says: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """`readings`, with READING_COLUMNS and `source_unit`, would be loaded. `refusals` in the order of the payload."""

    route: str | None
    steps: tuple[Step, ...]
    readings: pd.DataFrame
    refusals: list[Refusal]
    ignored: bool


def explain(
    message: OneMessage,
    routes: Routes,
    *,
    max_payload_bytes: int,
    before: Sequence[OneMessage] = (),
    definitions_of: DefinitionsOf = lambda _format: Definitions(),
    judge: Judge | None = None,
) -> Explanation:
    """What `message` becomes with these routes. Limits, units and calibrations that stand in the database are not
    asked, but by a `judge` that does (`pipeline.registered`).

    before: messages of its micro-batch that were received before it; what becomes of them is not said. definitions_of:
    what is known beforehand.
    """
    table = table_of([*before, message])
    decoded = decode(table, routes, max_payload_bytes=max_payload_bytes, definitions_of=definitions_of)
    validated = (judge or check_alone)(decoded, table, routes)
    decoded, validated = _of_the_last(decoded, validated, len(before))
    return Explanation(
        route=decoded.route_of[0],
        steps=(*_earlier(before), *_steps(message, routes, decoded, validated, max_payload_bytes)),
        readings=validated.accepted,
        refusals=sorted([*decoded.refusals, *validated.refusals], key=lambda refusal: refusal.ordinal),
        ignored=bool(decoded.ignored[0]),
    )


def _of_the_last(decoded: DecodedMessages, validated: Validated, place: int) -> tuple[DecodedMessages, Validated]:
    """What became of the message at `place` alone, as if it were the only one."""
    readings = decoded.readings[decoded.readings["message"] == place]
    last = replace(
        decoded,
        readings=readings.reset_index(drop=True).assign(message=0),
        refusals=_refusals_of(decoded.refusals, place),
        redelivered=decoded.redelivered[place:],
        ignored=decoded.ignored[place:],
        route_of=decoded.route_of[place:],
    )
    accepted = validated.accepted[validated.accepted["message"] == place]
    refusals = _refusals_of(validated.refusals, place)
    return last, Validated(accepted.reset_index(drop=True).assign(message=0), refusals)


def _refusals_of(refusals: Iterable[Refusal], place: int) -> list[Refusal]:
    return [replace(refusal, message=0) for refusal in refusals if refusal.message == place]


def check_alone(decoded: DecodedMessages, messages: pa.Table, routes: Routes) -> Validated:
    """The checks that need no database: contracts too, but neither limits of sensors nor units of series."""
    readings = decoded.readings
    received_at = messages["received_at"].cast("int64").to_numpy()
    in_context = readings.assign(
        received_at=received_at[readings["message"].to_numpy(np.int64)],
        series_unit=pd.Series([None] * len(readings), index=readings.index, dtype=object),
        unit_problem=pd.Series([None] * len(readings), index=readings.index, dtype=object),
        minimum=np.nan,
        maximum=np.nan,
    )
    return with_contracts(validate(in_context), readings, routes, np.zeros(len(messages), np.int64))


def _earlier(before: Sequence[OneMessage]) -> Iterator[Step]:
    if before:
        yield Step("before", True, tuple(f"{one.received_at.isoformat()} {one.topic_text}" for one in before))


def _steps(
    message: OneMessage, routes: Routes, decoded: DecodedMessages, validated: Validated, max_bytes: int
) -> Iterator[Step]:
    name = decoded.route_of[0]
    if name is None:
        yield _no_route(message, routes, decoded)
        return
    route = routes[name]
    yield _route(message, routes, route)
    if route.ignore:
        return
    yield _payload(message.payload, max_bytes)
    payload = message.payload
    if len(payload) > max_bytes:
        return
    if route.compression != "none":
        step, payload = _compression(payload, route, max_bytes)
        yield step
        if not step.ok:
            return
    version = version_of(route)
    yield Step("format", True, (f"{route.format}, transformer version {version}",))
    captured = (route.match(message.topic_text) or {}).get(METRIC)
    names = (str(name) for name in decoded.readings["metric"])
    metrics = {name if captured is None else name.removeprefix(f"{captured}.") for name in names}
    yield from _content(payload, route, metrics)
    yield _decoded(decoded)
    if len(decoded.readings):
        if CALIBRATION in validated.accepted:
            yield _calibrations(validated.accepted)
        yield _checks(validated, route)
        if route.report_by_exception:
            yield Step(
                "report_by_exception", True, ("not judged: which readings are thinned depends on their neighbours",)
            )
    if decoded.ignored[0]:
        yield _ignored(route, decoded)


def _ignored(route: Route, decoded: DecodedMessages) -> Step:
    if route.no_readings == "ignore" and decoded.readings.empty:
        return Step("ignored", True, ("without readings: ignored, since the route says no_readings: ignore",))
    return Step("retained", True, ("retained, without a time of its own: ignored (the route may say retained)",))


def _no_route(message: OneMessage, routes: Routes, decoded: DecodedMessages) -> Step:
    near = [f"{miss.route.name} ({miss.route.filter}): {miss.why}" for miss in nearest(routes, message.topic_text)]
    heading = ("nearest filters:",) if near else ()
    return Step("route", False, (*map(_sentence, decoded.refusals), *heading, *near))


def _route(message: OneMessage, routes: Routes, route: Route) -> Step:
    topic = message.topic_text
    identity = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in (route.match(topic) or {}).items())
    others = [other for other in routes if other.name != route.name and other.match(topic) is not None]
    says = [f"{route.name}: {route.filter}", *([identity] if identity else [])]
    says += [f"{other.name} ({other.filter}) matches too, and is less specific" for other in others]
    return Step("route", True, (*says, "the route says ignore") if route.ignore else tuple(says))


def _payload(payload: bytes, max_bytes: int) -> Step:
    start = payload[:SHOWN_BYTES]
    printable = start.isascii() and start.decode("latin-1").isprintable()
    says = f"{len(payload)} bytes" + (f", {start.decode() if printable else start.hex(' ')}" if start else "")
    says += " …" if len(payload) > SHOWN_BYTES else ""
    if len(payload) > max_bytes:
        return Step("payload", False, (says, f"more than MQTT_MAX_PAYLOAD_BYTES={max_bytes}"))
    return Step("payload", True, (says,))


def _compression(payload: bytes, route: Route, max_bytes: int) -> tuple[Step, bytes]:
    try:
        whole = unpacked(payload, route.compression, max_bytes=max_bytes)
    except RefusedValueError as refused:
        return Step("compression", False, (f"{refused.code}: {refused.detail}",)), b""
    return Step("compression", True, (f"{route.compression}: {len(payload)} bytes hold {len(whole)}",)), whole


def _content(payload: bytes, route: Route, metrics: set[str]) -> Iterator[Step]:
    """What was found in the payload, and what the route makes of it, where the format can say so."""
    found = fields(payload, route, metrics)
    if found:
        yield Step("fields", True, tuple(map(str, found)))
    if converted := conversions(route, found):
        yield Step("conversions", True, tuple(converted))


def _decoded(decoded: DecodedMessages) -> Step:
    count = len(decoded.readings)
    says = [f"{count} reading{'' if count == 1 else 's'}"]
    by_receipt = int(decoded.readings["timed_by_receipt"].sum())
    if by_receipt:
        says.append(f"{by_receipt} without a time of their own: timed by when the message was received")
    return Step("decode", not decoded.refusals, (*says, *map(_sentence, decoded.refusals)))


def _calibrations(readings: pd.DataFrame) -> Step:
    says = tuple(
        f"{row['metric']}: {row[CALIBRATION].before(row['value'])} {row[CALIBRATION]}, is {row['value']} {row['unit']}"
        for row in readings[readings[CALIBRATION].notna()].to_dict("records")
        if pd.notna(row["value"])
    )
    return Step("calibration", True, says or ("none holds at the time of these readings",))


def _checks(validated: Validated, route: Route) -> Step:
    passed = len(validated.accepted)
    refused = sum(refusal.ordinal >= 0 for refusal in validated.refusals)
    contract = "" if route.promises is None else f", contract version {route.promises.version}"
    says = (f"{passed} of {passed + refused} pass: names, units, quality, time{contract}",)
    return Step("checks", not validated.refusals, (*says, *map(_sentence, validated.refusals)))


def _sentence(refusal: Refusal) -> str:
    where = "" if refusal.ordinal < 0 else f" (reading {refusal.ordinal + 1} of the message)"
    return f"refused: {refusal.stage}, {refusal.code}: {refusal.detail}{where}"
