"""What stands in a payload, field by field, and what its route does with each: for people, one payload at a time.

Not the way in which payloads are decoded: it reads the same bytes a second time, with the same parsers.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from sensor_platform.routes.model import Route
from sensor_platform.transformers import registry
from sensor_platform.transformers.csv import delimiter
from sensor_platform.transformers.json import Unreadable, in_utf8, parse
from sensor_platform.transformers.leaves import RefusedValueError
from sensor_platform.transformers.mapping import DocumentOptions, ValueOption
from sensor_platform.transformers.numbers import shown
from sensor_platform.transformers.options import FormatOptions, options_of
from sensor_platform.transformers.packed import read_cbor, read_msgpack
from sensor_platform.transformers.paths import NOTHING, every, look_up, parse_path

TIME_FIELDS = ("timestamp", "time", "ts")
BESIDE_A_VALUE = {"metric": "the metric's name", "unit": "unit", "quality": "quality"}
#: In one explanation; a payload may have thousands.
MAX_FIELDS = 40
MAX_RAW_CHARACTERS = 60
_NOWHERE = "nothing there"


@dataclass(frozen=True, slots=True)
class Field:
    """A place in the payload, what stands there, and its part."""

    path: str
    raw: str
    part: str

    def __str__(self) -> str:
        return f"{self.path} = {self.raw}: {self.part}"


def documents(payload: bytes, route: Route) -> list[Any]:
    """The documents of a payload, as its format reads them; none where it has none, or is not one of documents."""
    with suppress(RefusedValueError, csv.Error, ValueError, TypeError, OverflowError):
        match route.format:
            case "json":
                found = [parse(payload)]
            case "ndjson":
                found = [parse(line) for line in in_utf8(payload).split(b"\n") if line.strip()]
            case "cbor":
                found = [read_cbor(payload)]
            case "msgpack":
                found = [read_msgpack(payload)]
            case "csv":
                found = list(_rows(payload, route.options))
            case _:
                found = []
        return [document for document in found if type(document) is not Unreadable]
    return []


def fields(payload: bytes, route: Route, metrics: set[str]) -> list[Field]:
    """The fields of a payload of documents; `metrics` are those that became readings."""
    found = [field for document in documents(payload, route) for field in _of_document(document, route, metrics)]
    return found[:MAX_FIELDS]


def conversions(route: Route, found: list[Field]) -> list[str]:
    """What the route's options do to values, a sentence a metric; of patterns of leaves, those that match what is
    there."""
    model = _options_model(route)
    options = options_of(route, model) if model is not None else None
    named = [(str(getattr(each, "metric", None) or getattr(each, "name", "")), each) for each in _listed(options)]
    named = [(name, each) for name, each in named if not isinstance(each, _Named) or each.matches(found)]
    return [f"{name}: {said}" for name, each in named if (said := _conversion(each))]


def _options_model(route: Route) -> type[FormatOptions] | None:
    """Of formats that come along: what others make of their options is theirs, and runs in a worker."""
    return registry.get(route.format).options if route.format in registry.BUILT_IN else None


def _rows(payload: bytes, options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    text = payload.decode("utf-8-sig")
    between = options.get("delimiter") or delimiter(text)
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=between) if row]
    header = options.get("columns")
    for row in rows:
        if header is None:
            header = [name.strip() for name in row]
        else:
            yield dict(zip(header, row, strict=False))


def _of_document(document: Any, route: Route, metrics: set[str]) -> Iterator[Field]:
    model = _options_model(route)
    options = options_of(route, model) if model is not None and issubclass(model, DocumentOptions) else None
    if options is None or options.mapper is None:
        elements = document if type(document) is list else [document]
        yield from _by_default_rules(elements, metrics)
    elif options.readings:
        yield from _by_path(document, options)
    else:
        yield from _by_leaf(document, options, metrics)


def _by_default_rules(elements: list[Any], metrics: set[str]) -> Iterator[Field]:
    for place, element in enumerate(elements):
        before = f"[{place}]." if len(elements) > 1 else ""
        if type(element) is not dict:
            yield Field(before.rstrip(".") or "$", _raw(element), "not an object")
            continue
        time = next((name for name in TIME_FIELDS if name in element), None)
        for name, raw in _leaves(element):
            yield Field(before + name, _raw(raw), _default_part(name, element, time, metrics))


def _default_part(name: str, element: dict[str, Any], time: str | None, metrics: set[str]) -> str:
    if name == time:
        return "time"
    if "value" in element:
        return "value" if name == "value" else BESIDE_A_VALUE.get(name, "not used")
    if name == "quality":
        return "quality"
    return "reading" if name.removeprefix("metrics.") in metrics else "not a reading"


def _by_path(document: Any, options: DocumentOptions) -> Iterator[Field]:
    """Where the route looks, and what it finds there."""
    elements = [document] if options.each is None else every(document, parse_path(options.each))
    if options.each is not None:
        yield Field(options.each, f"{len(elements)} elements", "each is read by itself")
    yield from _shared(document, elements, options)
    for element in elements:
        for reading in options.readings:
            raw = look_up(element, parse_path(reading.value))
            yield Field(reading.value, _raw(raw), f"reading {reading.metric}")


def _by_leaf(document: Any, options: DocumentOptions, metrics: set[str]) -> Iterator[Field]:
    elements = [document] if options.each is None else every(document, parse_path(options.each))
    yield from _shared(document, elements, options)
    for element in elements:
        tree = look_up(element, parse_path(options.wide.of)) if options.wide is not None else element
        for name, raw in _leaves(tree):
            yield Field(name, _raw(raw), "reading" if name in metrics else "not a reading")


def _shared(document: Any, elements: list[Any], options: DocumentOptions) -> Iterator[Field]:
    places = [("work unit", options.work_unit), ("sensor", options.sensor), ("quality", options.quality)]
    places += [("time", path) for path in (options.time.places if options.time is not None else ())]
    for part, path in places:
        if path is not None:
            steps = parse_path(path)
            found = [look_up(each, steps) for each in (*elements[:1], document)]
            yield Field(path, next((said for raw in found if (said := _raw(raw)) != _NOWHERE), _NOWHERE), part)


def _raw(raw: Any) -> str:
    if raw is NOTHING:
        return _NOWHERE
    text = json.dumps(raw, ensure_ascii=False, default=str) if isinstance(raw, dict | list) else ""
    return (text if len(text) <= MAX_RAW_CHARACTERS else text[:MAX_RAW_CHARACTERS] + "…") if text else shown(raw)


def _leaves(tree: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf by its dotted path, nulls and texts too. The parsers have seen to it that `tree` is not too deep."""
    entries = tree.items() if type(tree) is dict else enumerate(tree) if type(tree) is list else ()
    for name, entry in entries:
        if type(entry) in (dict, list) and entry:
            yield from _leaves(entry, f"{before}{name}.")
        else:
            yield f"{before}{name}", entry


def _listed(options: Any) -> list[Any]:
    """Every option that says something of values: of readings, fields, patterns of leaves, or the one value."""
    found = [*getattr(options, "readings", ()), *getattr(options, "fields", ())]
    wide = getattr(options, "wide", None)
    patterns = wide.values if wide is not None else {}
    found += [_Named(pattern, value) for pattern, value in patterns.items()]
    return [*found, options] if isinstance(options, ValueOption) else found


@dataclass(frozen=True, slots=True)
class _Named:
    """A pattern of leaves with its option."""

    metric: str
    option: ValueOption

    def matches(self, found: list[Field]) -> bool:
        return any(fnmatchcase(field.path, self.metric) for field in found)


def _conversion(option: Any) -> str:
    option = option.option if isinstance(option, _Named) else option
    said = [str(kind)] if (kind := getattr(option, "type", None)) is not None else []
    if (bits := getattr(option, "bits", None)) is not None:
        said.append(f"bits {bits}")
    if words := getattr(option, "map", None):
        said.append("map " + ", ".join(f"{word} -> {value}" for word, value in list(words.items())[:5]))
    if (scale := getattr(option, "scale", 1)) != 1:
        said.append(f"times {scale:g}")
    if (offset := getattr(option, "offset", 0)) != 0:
        said.append(f"plus {offset:g}")
    if (unit := getattr(option, "unit", None)) is not None:
        said.append(f"unit {unit}")
    return ", ".join(said)
