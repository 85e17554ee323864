"""Metrics of Sparkplug B, a piece at a time, to readings: what an alias means, what a value is, and what is refused."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd

from sensor_platform.transformers import sparkplug_values as values
from sensor_platform.transformers.contract import WHOLE_MESSAGE, Refusal
from sensor_platform.transformers.judge import MAX_NAME_CHARACTERS
from sensor_platform.transformers.numbers import is_storable, shown
from sensor_platform.transformers.sparkplug_births import Birth
from sensor_platform.transformers.sparkplug_payload import Rows, as_arrays
from sensor_platform.transformers.sparkplug_wire import WireMetrics

#: More does not fit in microseconds.
GREATEST_MS = np.iinfo(np.int64).max // 1000

_VERDICTS = {
    values.NO_VALUE: ("missing_value", "there is no value"),
    values.NO_DATATYPE: ("invalid_sparkplug", "neither the message nor a birth says which datatype it is"),
    values.OTHER_FIELD: ("invalid_sparkplug", "the value is not in the field of its datatype"),
    values.OUT_OF_RANGE: ("invalid_sparkplug", "the value does not fit in its datatype"),
}


@dataclass(frozen=True, slots=True)
class Own:
    """What metrics say of themselves where the library read them. Names, texts and units are str or None."""

    name: np.ndarray
    text: np.ndarray
    quality: np.ndarray
    unit: np.ndarray


@dataclass(frozen=True, slots=True)
class Piece:
    """Metrics of some messages, in columns. What is not said is -1, kind 0."""

    message: np.ndarray
    ordinal: np.ndarray
    alias: np.ndarray
    timestamp: np.ndarray
    datatype: np.ndarray
    is_null: np.ndarray
    kind: np.ndarray
    bits: np.ndarray
    own: Own | None = None

    @classmethod
    def of_simple(cls, simple: WireMetrics, messages: np.ndarray) -> "Piece":
        """Metrics that hold nothing but numbers, as the wire has them. messages: place of each in the column."""
        return cls(
            messages[simple.message],
            simple.ordinal,
            simple.alias,
            simple.timestamp,
            simple.datatype,
            simple.is_null,
            simple.kind,
            simple.bits,
        )

    @classmethod
    def of_rows(cls, rows: Rows) -> "Piece":
        columns = as_arrays(rows)
        own = Own(**{name: columns.pop(name) for name in ("name", "text", "quality", "unit")})
        return cls(**columns, own=own)


class Vocabulary:
    """All births in force in a payload column, behind each other; the last place is that of what is not known."""

    def __init__(self, births: list[Birth], birth_of: np.ndarray, exclude: tuple[str, ...]) -> None:
        """`birth_of`: per message, the number of the birth in force; -1: none."""
        self.births = births
        self.birth_of = birth_of
        self.exclude = exclude
        self.offsets = np.cumsum([0, *(len(birth.name) for birth in births)])
        self.unknown = int(self.offsets[-1])
        nothing = np.array([None], dtype=object)
        self.name = np.concatenate([*(birth.name for birth in births), nothing])
        self.datatype = np.concatenate([*(birth.datatype for birth in births), np.zeros(1, dtype=np.int64)])
        self.unit = np.concatenate([*(birth.unit for birth in births), nothing])
        self.left_out = self.leaves_out(self.name)
        none = np.zeros(0, dtype=np.int64)
        aliases = np.concatenate([none, *(birth.alias for birth in births)])
        of = np.repeat(np.arange(len(births)), [len(birth.alias) for birth in births])
        self._ranks = np.unique(aliases)
        # Sorted, since each birth is, and its number counts most.
        self._keys = of * len(self._ranks) + np.searchsorted(self._ranks, aliases)
        self._places = np.concatenate([none, *(birth.place for birth in births)]) + self.offsets[of]

    def leaves_out(self, names: np.ndarray) -> np.ndarray:
        """Which of the names are no readings."""
        out = [
            name is not None and any(fnmatchcase(name, pattern) for pattern in self.exclude) for name in names.tolist()
        ]
        return np.array(out, dtype=bool)

    def places_of(self, birth: np.ndarray, alias: np.ndarray) -> np.ndarray:
        """Where each alias stands, by the birth of that number."""
        if not len(self._ranks):
            return np.full(len(alias), self.unknown, dtype=np.int64)
        rank = np.searchsorted(self._ranks, alias).clip(max=len(self._ranks) - 1)
        known = (self._ranks[rank] == alias) & (birth >= 0)
        if len(self.births) == 1 and len(self._ranks) == len(self._keys):
            return np.where(known, self._places[rank], self.unknown)
        key = birth * len(self._ranks) + rank
        found = np.searchsorted(self._keys, key).clip(max=len(self._keys) - 1)
        return np.where(known & (self._keys[found] == key), self._places[found], self.unknown)

    def place_of_name(self, birth: int, name: str) -> int:
        place = self.births[birth].by_name.get(name, -1) if birth >= 0 else -1
        return int(self.offsets[birth]) + place if place >= 0 else self.unknown


@dataclass(frozen=True, slots=True)
class _Resolved:
    """What each metric is called, by its own message or by the birth in force."""

    known: np.ndarray
    born: np.ndarray  # there is a birth
    left_out: np.ndarray
    name: np.ndarray
    datatype: np.ndarray
    unit: np.ndarray

    @classmethod
    def of(cls, words: Vocabulary, piece: Piece) -> "_Resolved":
        birth = words.birth_of[piece.message]
        place = words.places_of(birth, piece.alias)
        named = np.zeros(0, dtype=np.int64)
        if piece.own is not None:
            named = np.flatnonzero(pd.notna(piece.own.name))
            for row in named.tolist():
                place[row] = words.place_of_name(int(birth[row]), piece.own.name[row])
        datatype = words.datatype[place]
        unsaid = datatype <= 0
        if unsaid.any():
            datatype = np.where(unsaid, piece.datatype.clip(min=0), datatype)
        resolved = cls(
            known=place < words.unknown,
            born=birth >= 0,
            left_out=words.left_out[place],
            name=words.name[place],
            datatype=datatype,
            unit=words.unit[place],
        )
        if piece.own is not None and len(named):
            resolved.name[named] = piece.own.name[named]
            resolved.known[named] = True
            resolved.left_out[named] = words.leaves_out(piece.own.name[named])
            unit = piece.own.unit[named]
            resolved.unit[named] = np.where(pd.notna(unit), unit, resolved.unit[named])
        return resolved


@dataclass(slots=True)
class Reading:
    """Takes pieces, and has the columns of their readings and the refusals in the end."""

    words: Vocabulary
    received_at: np.ndarray
    payload_times: np.ndarray  # per message, ms, -1: none
    who: list[str]
    who_of: np.ndarray  # per message: place in `who`
    allow_nan: bool
    refusals: list[Refusal] = field(default_factory=list)
    heard: np.ndarray = field(init=False)  # messages that hold metrics
    _parts: list[dict[str, np.ndarray]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.heard = np.zeros(len(self.received_at), dtype=bool)

    def add(self, piece: Piece) -> None:
        """Judges the metrics of a piece: each is a reading, refused, or left out."""
        self.heard[piece.message] = True
        resolved = _Resolved.of(self.words, piece)
        judged = values.values_of(resolved.datatype, piece.kind, piece.bits)
        times, by_receipt, time_ok = self._times(piece)
        taken = resolved.known & ~resolved.left_out & ~piece.is_null
        good = taken & (judged.verdict == values.OK) & time_ok
        if not self.allow_nan:
            good &= np.isfinite(judged.number) | (piece.kind == values.STRING_VALUE)
        text = np.full(len(good), None, dtype=object) if piece.own is None else piece.own.text
        text[list(judged.digits)] = list(judged.digits.values())
        if not good.all():
            self._refuse(piece, resolved, taken & ~good, judged, time_ok)
            self._refuse_unknown(piece, resolved)
        if piece.own is not None:
            good &= self._storable(piece, resolved, good, text)
        columns = {
            "message": piece.message,
            "who": self.who_of[piece.message],
            "ordinal": piece.ordinal,
            "metric": resolved.name,
            "time": times,
            "timed_by_receipt": by_receipt,
            "value": judged.number,
            "text": text,
            "unit": resolved.unit,
            "quality": np.zeros(len(good), dtype=np.int8) if piece.own is None else piece.own.quality,
        }
        every = bool(good.all())
        self._parts.append(columns if every else {name: column[good] for name, column in columns.items()})

    def add_readings(self, columns: dict[str, np.ndarray]) -> None:
        """Readings that are no metrics of a payload."""
        self._parts.append(columns)

    def columns(self) -> dict[str, np.ndarray]:
        """Of all readings; `who` is a place in `who`."""
        return {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}

    def _times(self, piece: Piece) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Microseconds (of the metric, the payload or receipt), whether by receipt, and whether it is a time."""
        ms = piece.timestamp
        untimed = ms < 0
        if untimed.any():
            ms = np.where(untimed, self.payload_times[piece.message], ms)
        by_receipt = ms < 0
        ok = ms <= GREATEST_MS
        times = np.where(ok, ms, 0) * 1000
        if by_receipt.any():
            times = np.where(by_receipt, self.received_at[piece.message], times)
        return times, by_receipt, ok

    # ---- refusals

    def _storable(self, piece: Piece, resolved: _Resolved, good: np.ndarray, text: np.ndarray) -> np.ndarray:
        """Names and texts of what the library read; those of births in force were looked at when they were kept."""
        ok = np.ones(len(good), dtype=bool)
        for row in np.flatnonzero(good).tolist():
            name, words = resolved.name[row], (resolved.name[row], text[row], resolved.unit[row])
            if not all(is_storable(word) for word in words if word is not None):
                ok[row] = False
                detail = f"{shown(name)}: the name, text or unit holds U+0000 or a lone surrogate"
                self._say(piece, row, "text_not_storable", detail)
            elif len(name) > MAX_NAME_CHARACTERS:
                ok[row] = False
                self._say(piece, row, "invalid_metric", f"the metric's name has {len(name)} characters, not 1 to 500")
        return ok

    def _refuse(
        self, piece: Piece, resolved: _Resolved, rows: np.ndarray, judged: values.Values, time_ok: np.ndarray
    ) -> None:
        for row in np.flatnonzero(rows).tolist():
            verdict, name, datatype = int(judged.verdict[row]), shown(resolved.name[row]), int(resolved.datatype[row])
            if not time_ok[row]:
                own = int(piece.timestamp[row])
                ms = own if own >= 0 else self.payload_times[piece.message[row]]
                code, reason = "invalid_timestamp", f"the time {ms} ms is none"
            elif verdict == values.OK:
                code = "nan_not_allowed"
                reason = f"the value is {judged.number[row]} and the route does not say allow_nan"
            elif verdict == values.NOT_SUPPORTED:
                kind = values.UNSUPPORTED.get(datatype, f"datatype {datatype}")
                code, reason = "unsupported_datatype", f"{kind} is neither one number nor one text"
            else:
                code, reason = _VERDICTS[verdict]
            self._say(piece, row, code, f"{name}: {reason}")

    def _refuse_unknown(self, piece: Piece, resolved: _Resolved) -> None:
        """A message of which nothing is known is refused once; one of which something is, metric by metric."""
        named = set(piece.message[resolved.known].tolist())
        whole: set[int] = set()
        for row in np.flatnonzero(~resolved.known).tolist():
            message, alias = int(piece.message[row]), int(piece.alias[row])
            who = shown(self.who[self.who_of[message]])
            if alias < 0:
                self._say(piece, row, "invalid_sparkplug", "a metric has neither a name nor an alias")
            elif resolved.born[row]:
                self._say(piece, row, "unknown_alias", f"the birth of {who} in force says nothing of alias {alias}")
            elif message in named:
                self._say(piece, row, "no_birth", f"alias {alias}: no birth of {who} stands before it")
            elif message not in whole:
                whole.add(message)
                detail = f"no birth of {who} stands before it: what its aliases mean is not known"
                self.refusals.append(Refusal(message, WHOLE_MESSAGE, "no_birth", detail))

    def _say(self, piece: Piece, row: int, code: str, detail: str) -> None:
        self.refusals.append(Refusal(int(piece.message[row]), int(piece.ordinal[row]), code, detail))
