"""What a walk over documents collected, and its judgement: a column at a time, into readings and refusals."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sensor_platform.transformers.contract import READING_COLUMNS, Decoded, PayloadColumn, Quality, Refusal
from sensor_platform.transformers.numbers import EXACT_INTEGER, is_storable, shown
from sensor_platform.transformers.times import ABSENT, parse_times

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route

IDENTITY = ("work_unit", "sensor")
MAX_NAME_CHARACTERS = 500

_QUALITIES = {quality.name.lower(): int(quality) for quality in Quality}

#: Code and detail of a refusal.
Reason = tuple[str, str]


@dataclass(slots=True)
class Collected:
    """Lists with an entry an object, a run (readings of one object with one ordinal after the other) or a reading;
    dicts hold what few of them have."""

    messages: list[int] = field(default_factory=list)  # by object
    times: list[Any] = field(default_factory=list)
    qualities: dict[int, Any] = field(default_factory=dict)
    identities: dict[int, dict[str, Any]] = field(default_factory=dict)
    objects: list[int] = field(default_factory=list)  # by run
    first_ordinals: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    metrics: list[str] = field(default_factory=list)  # by reading
    values: list[float] = field(default_factory=list)
    texts: dict[int, str] = field(default_factory=dict)
    text_only: list[int] = field(default_factory=list)
    units: dict[int, str] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)

    def by_reading(self) -> tuple[np.ndarray, np.ndarray]:
        """The object of each reading, and its ordinal."""
        lengths = np.array(self.lengths, dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        first = np.array(self.first_ordinals, dtype=np.int64)
        ordinals = np.repeat(first - starts, lengths) + np.arange(len(self.values))
        return np.repeat(np.array(self.objects, dtype=np.int64), lengths), ordinals


class Judge:
    """Turns `collected` into columns; a reading that does not pass is refused, with the first reason found."""

    def __init__(self, collected: Collected, column: PayloadColumn, route: "Route") -> None:
        self._found = collected
        self._column = column
        self._route = route

    def decoded(self) -> Decoded:
        """The readings that pass, as the contract has them, and a refusal of each other."""
        objects, ordinals = self._found.by_reading()
        messages = np.array(self._found.messages, dtype=np.int64)
        times, time_ok, by_receipt = self._judge_times(messages)
        qualities = self._judge_qualities()
        work_units, sensors = (self._identity(name, messages) for name in IDENTITY)
        count = len(objects)
        # + 0.0 makes 0 of -0, which PostgreSQL and people take for the same number.
        values = np.array(self._found.values, dtype=np.float64) + 0.0
        self._keep_digits(values)
        refused = self._refuse_rows(objects, ordinals, values, time_ok, qualities)
        columns = {
            "message": messages[objects],
            "ordinal": ordinals,
            "work_unit": work_units[objects],
            "sensor": sensors[objects],
            "metric": np.array(self._found.metrics, dtype=object),
            "time": times[objects],
            "timed_by_receipt": by_receipt[objects],
            "value": values,
            "text": _sparse(self._found.texts, count),
            "unit": _sparse(self._found.units, count),
            "quality": qualities[objects].astype(np.int8),
        }
        if refused:
            columns = {name: np.delete(column, refused) for name, column in columns.items()}
        # Held to object: pandas would make its own strings of them, and NaN of None.
        series = {name: pd.Series(columns[name], dtype=columns[name].dtype, copy=False) for name in READING_COLUMNS}
        return Decoded(pd.DataFrame(series, copy=False), self._found.refusals)

    def _keep_digits(self, values: np.ndarray) -> None:
        """The exact digits, as text, of integers that a float does not hold."""
        for row in np.flatnonzero(np.abs(values) >= EXACT_INTEGER).tolist():
            raw = self._found.values[row]
            if type(raw) is int and abs(raw) > EXACT_INTEGER:
                self._found.texts[row] = str(raw)

    def _judge_times(self, messages: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        times_given = self._found.times
        by_receipt = np.fromiter((time is ABSENT for time in times_given), dtype=bool, count=len(times_given))
        times = self._column.received_at[messages].astype(np.int64)
        ok = np.ones(len(times), dtype=bool)
        own = np.flatnonzero(~by_receipt)
        if len(own):
            raw = times_given if len(own) == len(times) else [times_given[row] for row in own]
            times[own], ok[own] = parse_times(raw)
        return times, ok, by_receipt

    def _judge_qualities(self) -> np.ndarray:
        """-1 where the quality is none of the three."""
        qualities = np.zeros(len(self._found.messages), dtype=np.int64)
        for number, raw in self._found.qualities.items():
            qualities[number] = _quality(raw)
        return qualities

    def _identity(self, name: str, messages: np.ndarray) -> np.ndarray:
        captures = self._column.captures
        captured = np.full(len(captures), None, dtype=object)
        if len(captures) and name in captures[0]:  # all are of one route
            captured[:] = list(map(itemgetter(name), captures))
        column: np.ndarray = captured[messages]
        for number, named in self._found.identities.items():
            if name in named:
                column[number] = named[name]
        return column

    def _refuse_rows(
        self,
        objects: np.ndarray,
        ordinals: np.ndarray,
        values: np.ndarray,
        time_ok: np.ndarray,
        qualities: np.ndarray,
    ) -> list[int]:
        """The rows that cannot go on; each becomes a refusal, with the first reason found."""
        refused: dict[int, Reason] = {}
        for row in np.flatnonzero(~time_ok[objects]).tolist():
            raw = self._found.times[objects[row]]
            refused[row] = ("invalid_timestamp", f"the time {shown(raw)} is neither ISO 8601 nor a number")
        for row in np.flatnonzero(qualities[objects] < 0).tolist():
            raw = self._found.qualities[int(objects[row])]
            refused.setdefault(row, ("invalid_quality", f"the quality {shown(raw)} is not good, uncertain or bad"))
        for row, reason in (*self._bad_names(), *self._bad_texts(objects), *self._bad_values(values)):
            refused.setdefault(row, reason)
        for row, (code, detail) in refused.items():
            refusal = Refusal(self._found.messages[objects[row]], int(ordinals[row]), code, detail)
            self._found.refusals.append(refusal)
        return list(refused)

    def _bad_values(self, values: np.ndarray) -> Iterator[tuple[int, Reason]]:
        if self._route.allow_nan:
            return
        finite = np.isfinite(values)
        finite[self._found.text_only] = True
        for row in np.flatnonzero(~finite).tolist():
            detail = (
                f"{shown(self._found.metrics[row])}: the value is {values[row]} and the route does not say allow_nan"
            )
            yield row, ("nan_not_allowed", detail)

    def _bad_names(self) -> Iterator[tuple[int, Reason]]:
        reasons: dict[str, Reason] = {}
        for name in set(self._found.metrics):
            if not is_storable(name):
                reasons[name] = (
                    "text_not_storable",
                    f"the metric's name {shown(name)} holds U+0000 or a lone surrogate",
                )
            elif not 0 < len(name) <= MAX_NAME_CHARACTERS:
                reasons[name] = ("invalid_metric", f"the metric's name has {len(name)} characters, not 1 to 500")
        if reasons:
            yield from ((row, reasons[name]) for row, name in enumerate(self._found.metrics) if name in reasons)

    def _bad_texts(self, objects: np.ndarray) -> Iterator[tuple[int, Reason]]:
        for word, sparse in (("text", self._found.texts), ("unit", self._found.units)):
            for row, text in sparse.items():
                if not is_storable(text):
                    yield row, ("text_not_storable", f"the {word} {shown(text)} holds U+0000 or a lone surrogate")
        if self._found.identities:
            yield from self._bad_identities(objects)

    def _bad_identities(self, objects: np.ndarray) -> Iterator[tuple[int, Reason]]:
        for row, number in enumerate(objects):
            for name, given in self._found.identities.get(number, {}).items():
                if type(given) is not str:
                    yield row, ("invalid_reading", f"the {name} {shown(given)} is not a string")
                elif not is_storable(given):
                    yield row, ("text_not_storable", f"the {name} {shown(given)} holds U+0000 or a lone surrogate")


def _quality(raw: Any) -> int:
    if type(raw) is str:
        return _QUALITIES.get(raw.lower(), -1)
    return int(raw) if isinstance(raw, Quality) else -1


def _sparse(entries: dict[int, str], count: int) -> np.ndarray:
    column = np.full(count, None, dtype=object)
    for row, entry in entries.items():
        column[row] = entry
    return column
