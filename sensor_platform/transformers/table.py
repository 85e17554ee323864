"""Objects in, columns of readings out: what JSON, CSV and custom formats share of the default route's rules.

A walk over the parsed objects only appends to lists; times, qualities, names and values are judged afterwards, a column
at a time, since a Python call a reading is what makes decoders slow. Each reading has an ordinal, the refused ones too.
"""

from collections.abc import Iterator
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sensor_platform.transformers.contract import (
    READING_COLUMNS,
    WHOLE_MESSAGE,
    Decoded,
    PayloadColumn,
    Quality,
    Refusal,
)
from sensor_platform.transformers.leaves import RefusedValueError, convert, leaves, metric_name
from sensor_platform.transformers.numbers import (
    EXACT_INTEGER,
    FIRST_DOUBTFUL,
    OutOfRange,
    is_storable,
    read_number,
    shown,
)
from sensor_platform.transformers.times import ABSENT, parse_times

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route

TIME_FIELDS = ("timestamp", "time", "ts")
#: Leaves of one object. A device has some thousands at most; more is an array that was meant as a series.
MAX_METRICS = 10_000
MAX_NAME_CHARACTERS = 500

_QUALITIES = {quality.name.lower(): int(quality) for quality in Quality}
#: Types of leaves that need no look; integers of JSON have 64 bits, and those past 2^53 are found in the column.
_PLAIN = frozenset((float, int))
_IDENTITY = ("work_unit", "sensor")

#: Code and detail of a refusal.
Reason = tuple[str, str]


class ReadingTable:
    """Collects the readings of a payload column: `add_document` each message, then `finish`."""

    def __init__(self, column: PayloadColumn, route: "Route", *, foreign: bool = False) -> None:
        """`foreign`: the objects come from code of others; they may name their sensor, and hold any kind of number."""
        self._column = column
        self._route = route
        self._foreign = foreign
        self._plain = frozenset((float,)) if foreign else _PLAIN
        self._refusals: list[Refusal] = []
        # An entry an object. The sparse ones hold what few objects have, by object.
        self._messages: list[int] = []
        self._times: list[Any] = []
        self._qualities: dict[int, Any] = {}
        self._identities: dict[int, dict[str, Any]] = {}
        # An entry a reading; the sparse ones by reading.
        self._objects: list[int] = []
        self._ordinals: list[int] = []
        self._metrics: list[str] = []
        self._values: list[float] = []
        self._texts: dict[int, str] = {}
        self._text_only: list[int] = []
        self._units: dict[int, str] = {}

    def refuse(self, message: int, code: str, detail: str, *, ordinal: int = WHOLE_MESSAGE) -> None:
        self._refusals.append(Refusal(message, ordinal, code, detail))

    def add_document(self, message: int, document: Any) -> None:
        """An object, or an array of them."""
        if type(document) is dict:
            self.add_object(message, 0, document)
        elif type(document) is list:
            ordinal = 0
            for element in document:
                ordinal = self.add_object(message, ordinal, element)
        else:
            self.refuse(message, "not_an_object", f"{shown(document)} is neither an object nor an array of objects")

    def add_object(self, message: int, ordinal: int, element: Any) -> int:
        """The readings of one object, numbered from `ordinal` on; the next ordinal."""
        if type(element) is not dict:
            self.refuse(message, "not_an_object", f"{shown(element)} is not an object", ordinal=ordinal)
            return ordinal + 1
        number = len(self._messages)
        self._messages.append(message)
        time_field = _time_field(element)
        self._times.append(ABSENT if time_field is None else element[time_field])
        if "quality" in element:
            self._qualities[number] = element["quality"]
        if self._foreign and not element.keys().isdisjoint(_IDENTITY):
            self._identities[number] = {name: element[name] for name in _IDENTITY if name in element}
        if "value" in element:
            return self._add_value(message, number, ordinal, element)
        metrics = element.get("metrics")
        if type(metrics) is dict:
            return self._add_leaves(message, number, ordinal, metrics, ())
        left_out = (time_field, "quality", *_IDENTITY) if self._foreign else (time_field, "quality")
        return self._add_leaves(message, number, ordinal, element, left_out)

    def _add_value(self, message: int, number: int, ordinal: int, element: dict[str, Any]) -> int:
        row = len(self._values)
        try:
            metric = metric_name(element.get("metric", "value"))
            unit = element.get("unit")
            if unit is not None and type(unit) is not str:
                raise RefusedValueError("invalid_reading", f"the unit {shown(unit)} is not a string")
            value = self._read_value(element["value"])
        except RefusedValueError as refused:
            self.refuse(message, refused.code, refused.detail, ordinal=ordinal)
            return ordinal + 1
        if unit is not None:
            self._units[row] = unit
        if isinstance(value, str):
            self._texts[row] = value
            self._text_only.append(row)
        self._append(number, ordinal, metric, np.nan if isinstance(value, str) else value)
        return ordinal + 1

    def _read_value(self, raw: Any) -> float | str:
        """The number of a `value` field, or its text where the route takes texts."""
        if type(raw) is str:
            number = read_number(raw)
            is_number = number is not None and not isinstance(number, OutOfRange) and np.isfinite(number)
            if self._route.text and not is_number:
                return raw
            if number is None and not is_storable(raw):
                raise RefusedValueError("text_not_storable", f"the value {shown(raw)} holds U+0000 or a lone surrogate")
            if number is None:
                raise RefusedValueError("value_not_number", f"the value {shown(raw)} does not read as a number")
            raw = number
        if raw is None:
            raise RefusedValueError("missing_value", "the value is null")
        return convert(raw)

    def _add_leaves(
        self, message: int, number: int, ordinal: int, tree: dict[str, Any], left_out: tuple[Any, ...]
    ) -> int:
        first = ordinal
        if not left_out and len(tree) <= MAX_METRICS and self._plain.issuperset(map(type, tree.values())):
            return self._add_plain(number, ordinal, tree)
        add_object, add_ordinal = self._objects.append, self._ordinals.append
        add_metric, add_value, plain = self._metrics.append, self._values.append, self._plain
        try:
            for name, leaf in leaves(tree, left_out):
                if type(leaf) in plain:
                    add_object(number)
                    add_ordinal(ordinal)
                    add_metric(name)
                    add_value(leaf)
                else:
                    self._add_rare_leaf(message, number, ordinal, name, leaf)
                ordinal += 1
                if ordinal - first > MAX_METRICS:
                    raise RefusedValueError("too_many_metrics", f"an object has more than {MAX_METRICS} metrics")
        except RefusedValueError as refused:
            self.refuse(message, refused.code, refused.detail, ordinal=ordinal)
            return ordinal + 1
        return ordinal

    def _add_plain(self, number: int, ordinal: int, tree: dict[str, Any]) -> int:
        """The usual case at the speed of C: a flat object of floats and integers."""
        after = ordinal + len(tree)
        self._objects.extend(repeat(number, len(tree)))
        self._ordinals.extend(range(ordinal, after))
        self._metrics.extend(tree)
        self._values.extend(tree.values())
        return after

    def _add_rare_leaf(self, message: int, number: int, ordinal: int, name: str, leaf: Any) -> None:
        try:
            self._append(number, ordinal, name, convert(leaf))
        except RefusedValueError as refused:
            self.refuse(message, refused.code, f"{shown(name)}: {refused.detail}", ordinal=ordinal)

    def _append(self, number: int, ordinal: int, metric: str, value: float) -> None:
        self._objects.append(number)
        self._ordinals.append(ordinal)
        self._metrics.append(metric)
        self._values.append(value)

    def doubtful_messages(self) -> list[int]:
        """Messages with a float that may have been written as an integer beyond 64 bits."""
        rows = np.flatnonzero(np.abs(np.array(self._values, dtype=np.float64)) >= FIRST_DOUBTFUL)
        return sorted({self._messages[self._objects[row]] for row in rows})

    def finish(self) -> Decoded:
        """Judges the columns; what does not pass is refused, reading by reading."""
        objects = np.array(self._objects, dtype=np.int64)
        messages = np.array(self._messages, dtype=np.int64)
        times, time_ok, by_receipt = self._judge_times(messages)
        qualities = self._judge_qualities()
        work_units, sensors = (self._identity(name, messages) for name in _IDENTITY)
        count = len(objects)
        # + 0.0 makes 0 of -0, which PostgreSQL and people take for the same number.
        values = np.array(self._values, dtype=np.float64) + 0.0
        self._keep_digits(values)
        refused = self._refuse_rows(objects, values, time_ok, qualities)
        columns = {
            "message": messages[objects],
            "ordinal": np.array(self._ordinals, dtype=np.int64),
            "work_unit": work_units[objects],
            "sensor": sensors[objects],
            "metric": np.array(self._metrics, dtype=object),
            "time": times[objects],
            "timed_by_receipt": by_receipt[objects],
            "value": values,
            "text": _sparse(self._texts, count),
            "unit": _sparse(self._units, count),
            "quality": qualities[objects].astype(np.int8),
        }
        kept = np.ones(count, dtype=bool)
        kept[refused] = False
        # Held to object: pandas would make its own strings of them, and NaN of None.
        series = {name: pd.Series(columns[name][kept], dtype=columns[name].dtype) for name in READING_COLUMNS}
        return Decoded(pd.DataFrame(series), self._refusals)

    def _keep_digits(self, values: np.ndarray) -> None:
        """The exact digits, as text, of integers that a float does not hold."""
        for row in np.flatnonzero(np.abs(values) >= EXACT_INTEGER).tolist():
            raw = self._values[row]
            if type(raw) is int and abs(raw) > EXACT_INTEGER:
                self._texts[row] = str(raw)

    def _judge_times(self, messages: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        by_receipt = np.fromiter((time is ABSENT for time in self._times), dtype=bool, count=len(self._times))
        times = self._column.received_at[messages].astype(np.int64)
        ok = np.ones(len(times), dtype=bool)
        own = np.flatnonzero(~by_receipt)
        if len(own):
            raw = self._times if len(own) == len(times) else [self._times[row] for row in own]
            times[own], ok[own] = parse_times(raw)
        return times, ok, by_receipt

    def _judge_qualities(self) -> np.ndarray:
        """-1 where the quality is none of the three."""
        qualities = np.zeros(len(self._messages), dtype=np.int64)
        for number, raw in self._qualities.items():
            qualities[number] = _QUALITIES.get(raw.lower(), -1) if type(raw) is str else -1
        return qualities

    def _identity(self, name: str, messages: np.ndarray) -> np.ndarray:
        captured = np.array([capture.get(name) for capture in self._column.captures], dtype=object)
        column: np.ndarray = captured[messages]
        for number, named in self._identities.items():
            if name in named:
                column[number] = named[name]
        return column

    def _refuse_rows(
        self, objects: np.ndarray, values: np.ndarray, time_ok: np.ndarray, qualities: np.ndarray
    ) -> list[int]:
        """The rows that cannot go on; each becomes a refusal, with the first reason found."""
        refused: dict[int, Reason] = {}
        for row in np.flatnonzero(~time_ok[objects]).tolist():
            raw = self._times[objects[row]]
            refused[row] = ("invalid_timestamp", f"the time {shown(raw)} is neither ISO 8601 nor a number")
        for row in np.flatnonzero(qualities[objects] < 0).tolist():
            raw = self._qualities[int(objects[row])]
            refused.setdefault(row, ("invalid_quality", f"the quality {shown(raw)} is not good, uncertain or bad"))
        for row, reason in (*self._bad_names(), *self._bad_texts(objects), *self._bad_values(values)):
            refused.setdefault(row, reason)
        for row, (code, detail) in refused.items():
            self.refuse(self._messages[objects[row]], code, detail, ordinal=self._ordinals[row])
        return list(refused)

    def _bad_values(self, values: np.ndarray) -> Iterator[tuple[int, Reason]]:
        if self._route.allow_nan:
            return
        finite = np.isfinite(values)
        finite[self._text_only] = True
        for row in np.flatnonzero(~finite).tolist():
            detail = f"{shown(self._metrics[row])}: the value is {values[row]} and the route does not say allow_nan"
            yield row, ("nan_not_allowed", detail)

    def _bad_names(self) -> Iterator[tuple[int, Reason]]:
        reasons: dict[str, Reason] = {}
        for name in set(self._metrics):
            if not is_storable(name):
                reasons[name] = (
                    "text_not_storable",
                    f"the metric's name {shown(name)} holds U+0000 or a lone surrogate",
                )
            elif not 0 < len(name) <= MAX_NAME_CHARACTERS:
                reasons[name] = ("invalid_metric", f"the metric's name has {len(name)} characters, not 1 to 500")
        if reasons:
            yield from ((row, reasons[name]) for row, name in enumerate(self._metrics) if name in reasons)

    def _bad_texts(self, objects: np.ndarray) -> Iterator[tuple[int, Reason]]:
        for word, sparse in (("text", self._texts), ("unit", self._units)):
            for row, text in sparse.items():
                if not is_storable(text):
                    yield row, ("text_not_storable", f"the {word} {shown(text)} holds U+0000 or a lone surrogate")
        if self._identities:
            yield from self._bad_identities(objects)

    def _bad_identities(self, objects: np.ndarray) -> Iterator[tuple[int, Reason]]:
        for row, number in enumerate(objects):
            for name, given in self._identities.get(number, {}).items():
                if type(given) is not str:
                    yield row, ("invalid_reading", f"the {name} {shown(given)} is not a string")
                elif not is_storable(given):
                    yield row, ("text_not_storable", f"the {name} {shown(given)} holds U+0000 or a lone surrogate")


def _time_field(element: dict[str, Any]) -> str | None:
    for name in TIME_FIELDS:
        if name in element:
            return name
    return None


def _sparse(entries: dict[int, str], count: int) -> np.ndarray:
    column = np.full(count, None, dtype=object)
    for row, entry in entries.items():
        column[row] = entry
    return column
