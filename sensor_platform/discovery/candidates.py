"""Routes that may read a group of topics, the likeliest first: filter, captures, format, options."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from sensor_platform.discovery.groups import SPARKPLUG, Group
from sensor_platform.discovery.shapes import VARIES, Levels, is_name_of_a_thing
from sensor_platform.discovery.times import TimeFound, find_time
from sensor_platform.routes.filters import parse_filter
from sensor_platform.routes.model import Route
from sensor_platform.transformers import registry
from sensor_platform.transformers.json import in_utf8
from sensor_platform.transformers.leaves import RefusedValueError, leaves

#: Words that are one of two states, and the number of each.
STATES: tuple[Mapping[str, int], ...] = (
    {"ON": 1, "OFF": 0},
    {"on": 1, "off": 0},
    {"online": 1, "offline": 0},
    {"Online": 1, "Offline": 0},
    {"open": 1, "closed": 0},
    {"OPEN": 1, "CLOSED": 0},
    {"true": 1, "false": 0},
)
#: Last levels that say what kind of message it is, and not of what thing.
KIND_WORDS = frozenset(
    (
        *("data", "csv", "json", "state", "status", "telemetry", "sensor", "sensors", "value", "values", "up", "event"),
        *("events", "rpc", "info", "result", "raw", "lwt", "power", "reading", "readings", "online", "availability"),
    )
)
_NUMBER_WITH_SUFFIX = re.compile(r"[-+]?\d+(?:\.\d+)?(\s?[^\s\d.,;:/-]{1,8})")
DOCUMENT_FORMATS = frozenset({"json", "ndjson", "cbor", "msgpack"})


def time_of(group: Group) -> TimeFound | None:
    """The time field of its documents."""
    return find_time(group.look.documents, received_at=group.heard[0].samples[0].received_at)


def candidates(group: Group) -> Iterator[Route]:
    """Routes to try, the strictest first."""
    if group.kind == "sparkplug":
        yield Route(name="sparkplug", filter="/".join(SPARKPLUG), format="sparkplug")
        return
    base = _route_of(group)
    if base is None:
        return
    base = replace(base, compression=group.look.compression)
    kinds = {"opcua": ("opcua", "json"), "text": ("value",)}.get(group.kind, (group.kind,))
    for kind in kinds:
        if kind in registry.known():
            for options in _options(kind, group):
                yield replace(base, format=kind, options=options)


def _options(kind: str, group: Group) -> Iterator[dict[str, Any]]:
    if kind == "value":
        yield from _value_options(group)
    elif kind in DOCUMENT_FORMATS:
        yield from _document_options(group)
    elif kind == "influx":
        yield {"measurement": False} if _one_measurement(group) else {}
    else:
        yield {}


def _one_measurement(group: Group) -> bool:
    return len({re.split(rb"[, ]", sample.payload, maxsplit=1)[0] for _, sample in group.samples}) == 1


def _value_options(group: Group) -> Iterator[dict[str, Any]]:
    metric = _metric_level(group.shape.levels)
    named = {} if metric is None else {"metric": metric}
    if group.kind == "value":
        yield named
        return
    words = {sample.payload.decode("utf-8", "replace").strip() for _, sample in group.samples if sample.payload.strip()}
    if (states := _two_states(words)) is not None:
        yield {**named, "map": states}
    suffixes = {found[1] if (found := _NUMBER_WITH_SUFFIX.fullmatch(word)) else "" for word in words}
    if len(suffixes) == 1 and (suffix := suffixes.pop()):
        yield {**named, "suffix": suffix}


def _two_states(words: Set[str]) -> dict[str, int] | None:
    return next((dict(states) for states in STATES if words <= states.keys()), None)


def _metric_level(levels: Levels) -> str | None:
    """A plain value says what it is in its last level, unless that varies or there is no other to name a thing."""
    return levels[-1] if levels[-1] != VARIES and len(levels) > 1 else None


def _document_options(group: Group) -> Iterator[dict[str, Any]]:
    """The default rules where they do; then wide, with the time and the states that were found; then without a time."""
    time, states = time_of(group), _states(group.look.documents)
    if (time is None or time.by_default) and not states:
        yield {}
    each = {"each": "$[*]"} if _is_array(group) else {}
    values = {"values": {_pattern(name): {"map": words} for name, words in states.items()}} if states else {}
    if time is not None:
        unit = {} if time.is_text else {"unit": time.unit}
        option = {"field": "$" + "".join(map(_step, time.path)), **unit}
        yield {**each, "time": option, "wide": {"exclude": [_pattern(".".join(time.path))], **values}}
    yield {**each, "wide": values}


def _is_array(group: Group) -> bool:
    return group.kind == "json" and any(
        in_utf8(sample.payload)[:100].lstrip()[:1] == b"[" for _, sample in group.samples
    )


def _step(name: str) -> str:
    return f".{name}" if re.fullmatch(r"\w+", name) else f"['{name}']"


def _pattern(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)


def _states(documents: Sequence[Any]) -> dict[str, dict[str, int]]:
    """Leaves that are always one of two words, and the number of each."""
    words: dict[str, set[str]] = defaultdict(set)
    for document in documents:
        try:
            for name, leaf in leaves(document, (), texts=True):
                words[name].add(leaf if type(leaf) is str else "")
        except RefusedValueError:
            continue
    return {name: states for name, said in sorted(words.items()) if (states := _two_states(said)) is not None}


def _route_of(group: Group) -> Route | None:
    """A route without a format, its filter with captures; None where no filter can name these topics."""
    levels = group.shape.levels
    sensor_at, unit_at = _captured(group)
    captured = {sensor_at: "{sensor}", unit_at: "{work_unit}"}
    topic_filter = "/".join(captured.get(place, level) for place, level in enumerate(levels))
    words = [level for level in levels if level not in ("", VARIES)]
    things = words[:-1] if group.kind in ("value", "text") and len(words) > 1 and levels[-1] != VARIES else words
    sensor = None if sensor_at is not None else _thing(things)
    places = (word for word in things if word != sensor and word.lower() not in KIND_WORDS)
    unit = None if unit_at is not None else next(places, "plant")
    if not _can_be_named(levels, topic_filter):
        return None
    name = "-".join(filter(None, (re.sub(r"\W+", "-", word).strip("-").lower() for word in words)))
    return Route(name=name[:60].strip("-") or "all", filter=topic_filter, work_unit=unit, sensor=sensor)


def _can_be_named(levels: Levels, topic_filter: str) -> bool:
    """Not where a level is in braces: it would be taken for a capture."""
    try:
        parse_filter(topic_filter)
    except ValueError:
        return False
    return not any("{" in level or "}" in level for level in levels)


def _captured(group: Group) -> tuple[int | None, int | None]:
    """The levels of sensor and work unit: of those that vary the last that names things, and the one before it.

    `device/ab12/event/up` and `…/event/join`: the device is the sensor, and not the kind of its message.
    """
    varying = [place for place, level in enumerate(group.shape.levels) if level == VARIES]
    if not varying:
        return None, None
    split = [topic.split("/") for topic in group.shape.topics]
    things = [place for place in varying if all(is_name_of_a_thing(levels[place]) for levels in split)]
    sensor_at = things[-1] if things else varying[-1]
    before = [place for place in varying if place < sensor_at]
    return sensor_at, before[-1] if before else None


def _thing(words: Sequence[str]) -> str:
    """The last level that is not the kind of a message."""
    return next((word for word in reversed(words) if word.lower() not in KIND_WORDS), words[-1] if words else "sensor")
