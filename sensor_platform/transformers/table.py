"""Objects in, columns of readings out: what JSON, CSV and custom formats share of the default route's rules.

A walk over the parsed objects only appends to lists; times, qualities, names and values are judged afterwards, a column
at a time, since a Python call a reading is what makes decoders slow. Each reading has an ordinal, the refused ones too.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from sensor_platform.transformers.contract import WHOLE_MESSAGE, Decoded, PayloadColumn, Refusal
from sensor_platform.transformers.judge import IDENTITY, Collected, Judge
from sensor_platform.transformers.leaves import NamesMade, RefusedValueError, convert, leaves, metric_name
from sensor_platform.transformers.numbers import FIRST_DOUBTFUL, OutOfRange, is_storable, read_number, shown
from sensor_platform.transformers.times import ABSENT

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route
    from sensor_platform.transformers.mapping import Mapper

TIME_FIELDS = ("timestamp", "time", "ts")
#: Leaves of one object. A device has some thousands at most; more is an array that was meant as a series.
MAX_METRICS = 10_000

#: Types of leaves that need no look; integers of JSON have 64 bits, and those past 2^53 are found in the column.
_PLAIN = frozenset((float, int))


class ReadingTable:
    """Walks the documents of a payload column: `add_document` each message, then `finish`."""

    def __init__(
        self,
        column: PayloadColumn,
        route: "Route",
        *,
        mapper: "Mapper | None" = None,
        names_sensors: bool = False,
        any_number: bool = False,
    ) -> None:
        """
        Args:
            mapper: what makes the objects of a document.
            names_sensors: the objects may say which work unit and sensor they are of.
            any_number: the objects may hold numbers of any kind, and integers beyond 64 bits.
        """
        self._column = column
        self._route = route
        self._mapper = mapper
        self._names_sensors = names_sensors or (mapper is not None and mapper.names_sensors)
        self._plain = frozenset((float,)) if any_number else _PLAIN
        self._collected = Collected()
        self._names, self._named_message = NamesMade(), -1

    def refuse(self, message: int, code: str, detail: str, *, ordinal: int = WHOLE_MESSAGE) -> None:
        self._collected.refusals.append(Refusal(message, ordinal, code, detail))

    def names(self, message: int) -> NamesMade:
        """The names put together for that message, the one walked just now."""
        if message != self._named_message:
            self._names, self._named_message = NamesMade(), message
        return self._names

    def add_usual(self, documents: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Adds each document, one a message, that is just a time and flat `metrics` of floats and integers, without a
        call for it. Yields the others, with their messages, for the caller to add before it asks for the next."""
        found, is_plain, usual = self._collected, self._plain.issuperset, self._mapper is None
        for message, document in enumerate(documents):
            if usual and type(document) is dict and len(document) == 2:
                metrics = document.get("metrics")
                time = document.get("timestamp") or document.get("time") or document.get("ts")
                if (
                    type(metrics) is dict
                    and time
                    and len(metrics) <= MAX_METRICS
                    and is_plain(map(type, metrics.values()))
                ):
                    found.objects.append(len(found.messages))
                    found.messages.append(message)
                    found.times.append(time)
                    found.first_ordinals.append(0)
                    found.lengths.append(len(metrics))
                    found.metrics.extend(metrics)
                    found.values.extend(metrics.values())
                    continue
            yield message, document

    def add_document(self, message: int, document: Any, *, ordinal: int = 0) -> int:
        """An object, or an array of them; or whatever the route's options make objects of. The next ordinal."""
        if self._mapper is not None:
            return self._add_mapped(message, ordinal, document, self._mapper)
        if type(document) is dict:
            return self.add_object(message, ordinal, document)
        if type(document) is list:
            for element in document:
                ordinal = self.add_object(message, ordinal, element)
            return ordinal
        place = WHOLE_MESSAGE if ordinal == 0 else ordinal
        self.refuse(
            message, "not_an_object", f"{shown(document)} is neither an object nor an array of objects", ordinal=place
        )
        return ordinal + 1

    def add_row(self, message: int, ordinal: int, row: dict[str, Any]) -> int:
        """The readings of one row of several in a message; the next ordinal."""
        if self._mapper is None:
            return self.add_object(message, ordinal, row)
        return self._add_mapped(message, ordinal, row, self._mapper)

    def _add_mapped(self, message: int, ordinal: int, document: Any, mapper: "Mapper") -> int:
        try:
            for element in mapper.objects(document, self.names(message)):
                ordinal = self.add_object(message, ordinal, element)
        except RefusedValueError as refused:
            self.refuse(message, refused.code, refused.detail, ordinal=ordinal)
            return ordinal + 1
        return ordinal

    def add_object(self, message: int, ordinal: int, element: Any) -> int:
        """The readings of one object, numbered from `ordinal` on; the next ordinal."""
        if type(element) is not dict:
            self.refuse(message, "not_an_object", f"{shown(element)} is not an object", ordinal=ordinal)
            return ordinal + 1
        number = len(self._collected.messages)
        self._collected.messages.append(message)
        time_field = _time_field(element)
        self._collected.times.append(ABSENT if time_field is None else element[time_field])
        if "quality" in element:
            self._collected.qualities[number] = element["quality"]
        if self._names_sensors and not element.keys().isdisjoint(IDENTITY):
            self._collected.identities[number] = {name: element[name] for name in IDENTITY if name in element}
        if "value" in element:
            return self._add_value(message, number, ordinal, element)
        metrics = element.get("metrics")
        if type(metrics) is dict:
            return self._add_leaves(message, number, ordinal, metrics, ())
        left_out = (time_field, "quality", *IDENTITY) if self._names_sensors else (time_field, "quality")
        return self._add_leaves(message, number, ordinal, element, left_out)

    def _add_value(self, message: int, number: int, ordinal: int, element: dict[str, Any]) -> int:
        row = len(self._collected.values)
        try:
            metric = metric_name(element.get("metric", "value"))
            unit = element.get("unit")
            if unit is not None and type(unit) is not str:
                raise RefusedValueError("invalid_reading", f"the unit {shown(unit)} is not a string")
            value = self._read_value(element["value"])
        except RefusedValueError as refused:
            named = element.get("metric")
            of = f"{shown(named)}: " if type(named) is str and named != "value" else ""
            self.refuse(message, refused.code, of + refused.detail, ordinal=ordinal)
            return ordinal + 1
        if unit is not None:
            self._collected.units[row] = unit
        if isinstance(value, str):
            self._collected.texts[row] = value
            self._collected.text_only.append(row)
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
        append, plain = self._append, self._plain
        try:
            for name, leaf in leaves(tree, left_out, names=self.names(message)):
                if type(leaf) in plain:
                    append(number, ordinal, name, leaf)
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
        self._collected.objects.append(number)
        self._collected.first_ordinals.append(ordinal)
        self._collected.lengths.append(len(tree))
        self._collected.metrics.extend(tree)
        self._collected.values.extend(tree.values())
        return ordinal + len(tree)

    def _add_rare_leaf(self, message: int, number: int, ordinal: int, name: str, leaf: Any) -> None:
        try:
            self._append(number, ordinal, name, convert(leaf))
        except RefusedValueError as refused:
            self.refuse(message, refused.code, f"{shown(name)}: {refused.detail}", ordinal=ordinal)

    def _append(self, number: int, ordinal: int, metric: str, value: float) -> None:
        self._collected.objects.append(number)
        self._collected.first_ordinals.append(ordinal)
        self._collected.lengths.append(1)
        self._collected.metrics.append(metric)
        self._collected.values.append(value)

    def doubtful_messages(self) -> list[int]:
        """Messages with a float that may have been written as an integer beyond 64 bits."""
        rows = np.flatnonzero(np.abs(np.array(self._collected.values, dtype=np.float64)) >= FIRST_DOUBTFUL)
        if not len(rows):
            return []
        objects, _ = self._collected.by_reading()
        return sorted({self._collected.messages[number] for number in objects[rows].tolist()})

    def finish(self) -> Decoded:
        """Judges what was collected; what does not pass is refused, reading by reading."""
        return Judge(self._collected, self._column, self._route).decoded()


def _time_field(element: dict[str, Any]) -> str | None:
    for name in TIME_FIELDS:
        if name in element:
            return name
    return None
