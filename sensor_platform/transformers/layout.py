"""Fixed layouts of bytes: which number stands where. Read for all messages of one length at once, as a matrix of bytes.

Binary structures and Modbus registers share it. No Python call a reading; integers past 2^53 keep their exact digits.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Annotated, Literal, Self

import numpy as np
import pandas as pd
from pydantic import AfterValidator, Field, model_validator

from sensor_platform.transformers.contract import READING_COLUMNS, WHOLE_MESSAGE, Decoded, PayloadColumn, Refusal
from sensor_platform.transformers.keeping import no_readings
from sensor_platform.transformers.numbers import EXACT_INTEGER, is_storable, scaled, shown
from sensor_platform.transformers.options import FormatOptions
from sensor_platform.transformers.times import PER_SECOND, TimeUnit, parse_times

NumberType = Literal[
    "uint8", "int8", "uint16", "int16", "uint24", "int24", "uint32", "int32", "uint48", "int48", "uint64", "int64",
    "float16", "float32", "float64", "bcd8", "bcd16", "bcd32",
]  # fmt: skip

#: Within these seconds of 1970 every unit stays inside 64 bits, of itself and of microseconds.
_GREATEST_SECONDS = 2**33


def _name(value: str) -> str:
    if not 0 < len(value) <= 500 or not is_storable(value):
        raise ValueError("a name has 1 to 500 characters that PostgreSQL can store")
    return value


def _bits(value: str | int) -> str:
    first, _, last = str(value).partition("-")
    if not (first.isdecimal() and (last or first).isdecimal()) or int(first) > int(last or first):
        raise ValueError('accepted: the number of a bit, 0 the lowest, or a range such as "4-7"')
    return str(value)


class NumberField(FormatOptions):
    """One number, or an array of them, in a layout.

    bits: part of an unsigned integer, "3" or "4-7", 0 the lowest.
    count: so many in a row, metrics `name.0`, `name.1`, ...
    every_s: the row is one metric sampled at this interval, the first one at the message's time.
    missing: raw values that stand for none.
    scale, offset: value = raw * scale + offset.
    """

    name: Annotated[str, AfterValidator(_name)]
    type: NumberType = "uint16"
    bits: Annotated[str | int, AfterValidator(_bits)] | None = None
    count: int = Field(1, ge=1, le=10_000)
    every_s: float | None = Field(None, gt=0)
    scale: float = 1.0
    offset: float = 0.0
    unit: str | None = None
    missing: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.bits is not None and not self.type.startswith("uint"):
            raise ValueError("bits are those of an unsigned integer: uint8, uint16, uint24, uint32, uint48 or uint64")
        if self.bits is not None and self.bit_range[1] >= self.size * 8:
            raise ValueError(f"bits: {self.type} has the bits 0 to {self.size * 8 - 1}")
        return self

    @property
    def size(self) -> int:
        """Bytes of one number."""
        return int(self.type.lstrip("abcdefghijklmnopqrstuvwxyz")) // 8

    @property
    def bit_range(self) -> tuple[int, int]:
        first, _, last = str(self.bits).partition("-")
        return int(first), int(last or first)

    @property
    def metrics(self) -> list[str]:
        if self.count == 1 or self.every_s is not None:
            return [self.name] * self.count
        return [f"{self.name}.{place}" for place in range(self.count)]


class TimeField(FormatOptions):
    """The field that holds the time, and its unit; auto: seconds unless the number can only be finer."""

    field: str
    unit: TimeUnit = "auto"


def refuse_ambiguous(fields: Sequence[NumberField], time: TimeField | None) -> None:
    """Raises ValueError where two fields share a name, or the time's field is not there."""
    names = [field.name for field in fields]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two fields are called {', '.join(twice)}")
    if time is not None and time.field not in names:
        raise ValueError(f'time: there is no field "{time.field}"')


@dataclass(frozen=True, slots=True)
class Block:
    """Messages of one length. `places`: rows -> places in the payload column; `bytes`: uint8, one row a message."""

    places: np.ndarray
    bytes: np.ndarray

    @property
    def length(self) -> int:
        return int(self.bytes.shape[1])

    def rows(self, keep: np.ndarray) -> "Block":
        return Block(self.places[keep], self.bytes[keep])

    def columns(self, start: int, stop: int) -> "Block":
        return Block(self.places, self.bytes[:, start:stop])


def blocks(payloads: Sequence[bytes], places: Iterable[int] | None = None) -> Iterator[Block]:
    """`payloads` by length; those without a byte too."""
    taken = np.arange(len(payloads)) if places is None else np.fromiter(places, dtype=np.int64)
    lengths = np.fromiter(map(len, payloads), dtype=np.int64, count=len(payloads))
    for length in np.unique(lengths[taken]).tolist():
        own = taken[lengths[taken] == length]
        joined = b"".join(payloads if len(own) == len(payloads) else [payloads[place] for place in own.tolist()])
        yield Block(own, np.frombuffer(joined, dtype=np.uint8).reshape(len(own), length))


@dataclass(frozen=True, slots=True)
class Placed:
    """A field with the byte offset and the order (most significant byte first) of each of its numbers."""

    field: NumberField
    at: int
    order: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.at + self.field.count * self.field.size

    def read(self, block: Block) -> np.ndarray:
        """Raw numbers, one row a message and one column a number."""
        field = self.field
        first = [self.at + number * field.size for number in range(field.count)]
        raw = np.stack([_numbers(block.bytes[:, [at + o for o in self.order]], field.type) for at in first], axis=1)
        if field.bits is not None:
            low, high = field.bit_range
            raw = (raw >> np.uint64(low)) & np.uint64(2 ** (high - low + 1) - 1)
        return raw


def _numbers(raw: np.ndarray, kind: NumberType) -> np.ndarray:
    """Big-endian bytes, one row a number, as int64, uint64 or float64."""
    size = raw.shape[1]
    if kind.startswith("float"):
        return np.ascontiguousarray(raw).view(f">f{size}")[:, 0].astype(np.float64)
    if kind.startswith("bcd"):
        digits = np.stack([raw >> 4, raw & 15], axis=2).reshape(len(raw), 2 * size).astype(np.float64)
        digits[np.any(digits > 9, axis=1)] = np.nan  # refused later, like any other value that is not a number
        powers = 10.0 ** np.arange(2 * size - 1, -1, -1)
        return np.asarray(digits @ powers)
    wide = np.zeros((len(raw), 8), dtype=np.uint8)
    wide[:, 8 - size :] = raw
    unsigned = wide.view(">u8")[:, 0].astype(np.uint64)
    if kind.startswith("uint"):
        return unsigned
    shift = np.int64(64 - 8 * size)
    return np.asarray((unsigned.view(np.int64) << shift) >> shift)  # the arithmetic shift carries the sign


class Assembly:
    """Readings and refusals of the blocks of a payload column, a column of numbers at a time."""

    def __init__(self, column: PayloadColumn, *, allow_nan: bool) -> None:
        self._column = column
        self._allow_nan = allow_nan
        self._frames: list[pd.DataFrame] = []
        self.refusals: list[Refusal] = []

    def refuse(self, places: Iterable[int], code: str, detail: str) -> None:
        self.refusals += [Refusal(place, WHOLE_MESSAGE, code, detail) for place in places]

    def add(self, block: Block, layout: Sequence[Placed], time: TimeField | None) -> None:
        """The readings of a block in which every field has its place."""
        raw = {placed.field.name: placed.read(block) for placed in layout}
        times, ok = self._times(block, None if time is None else raw.pop(time.field), time)
        self.refuse(block.places[~ok].tolist(), "invalid_timestamp", "the time field is not a time")
        fields = [placed.field for placed in layout if placed.field.name in raw]
        if fields and ok.any():
            self._add_fields(block.rows(ok), fields, [raw[field.name][ok] for field in fields], times[ok], time is None)

    def _add_fields(
        self, block: Block, fields: list[NumberField], raw: list[np.ndarray], times: np.ndarray, by_receipt: bool
    ) -> None:
        count, metrics = len(block.places), [metric for field in fields for metric in field.metrics]
        width = len(metrics)
        values = np.hstack([_scaled(field, numbers) for field, numbers in zip(fields, raw, strict=True)]) + 0.0
        present = np.hstack(
            [~np.isin(numbers, np.array(field.missing)) for field, numbers in zip(fields, raw, strict=True)]
        )
        steps = np.concatenate([_steps(field) for field in fields])
        finite = np.isfinite(values) | self._allow_nan
        for row, place in np.argwhere(present & ~finite).tolist():
            detail = f"{shown(metrics[place])}: the value is {values[row, place]} and the route does not say allow_nan"
            self.refusals.append(Refusal(int(block.places[row]), place, "nan_not_allowed", detail))
        columns = {
            "message": np.repeat(block.places, width),
            "ordinal": np.tile(np.arange(width), count),
            "work_unit": self._captured("work_unit", block, width),
            "sensor": self._captured("sensor", block, width),
            "metric": np.tile(np.array(metrics, dtype=object), count),
            "time": (times[:, None] + steps).ravel(),
            "timed_by_receipt": np.full(count * width, by_receipt),
            "value": values.ravel(),
            "text": _digits(fields, raw).ravel(),
            "unit": np.tile(np.array([f.unit for f in fields for _ in f.metrics], dtype=object), count),
            "quality": np.zeros(count * width, dtype=np.int8),
        }
        kept = (present & finite).ravel()
        if not kept.all():
            columns = {name: entries[kept] for name, entries in columns.items()}
        series = {name: pd.Series(columns[name], dtype=columns[name].dtype, copy=False) for name in READING_COLUMNS}
        self._frames.append(pd.DataFrame(series, copy=False))

    def _captured(self, name: str, block: Block, width: int) -> np.ndarray:
        captures = self._column.captures
        if not captures or name not in captures[0]:  # all are of one route
            return np.full(len(block.places) * width, None, dtype=object)
        names = np.empty(len(captures), dtype=object)
        names[:] = list(map(itemgetter(name), captures))
        return np.repeat(names[block.places], width)

    def _times(self, block: Block, raw: np.ndarray | None, time: TimeField | None) -> tuple[np.ndarray, np.ndarray]:
        if raw is None or time is None:
            return self._column.received_at[block.places].astype(np.int64), np.ones(len(block.places), dtype=bool)
        if time.unit == "auto":
            return parse_times(raw[:, 0].tolist())
        per_second = PER_SECOND[time.unit]
        numbers = raw[:, 0]
        ok = np.isfinite(numbers) & (np.abs(numbers.astype(np.float64)) < _GREATEST_SECONDS * per_second)
        numbers = np.where(ok, numbers, numbers.dtype.type(0))
        if numbers.dtype.kind == "f":
            return np.rint(numbers * (1_000_000 / per_second)).astype(np.int64), ok
        whole = numbers.astype(np.int64)
        return (whole * (1_000_000 // per_second) if per_second <= 1_000_000 else whole // 1_000), ok

    def decoded(self) -> Decoded:
        if len(self._frames) == 1:
            return Decoded(self._frames[0], self.refusals)
        readings = pd.concat(self._frames, ignore_index=True) if self._frames else no_readings()
        return Decoded(readings, self.refusals)


def _scaled(field: NumberField, raw: np.ndarray) -> np.ndarray:
    numbers = raw.astype(np.float64)
    return numbers if (field.scale, field.offset) == (1, 0) else np.asarray(scaled(numbers, field.scale, field.offset))


def _steps(field: NumberField) -> np.ndarray:
    step_us = 0 if field.every_s is None else round(field.every_s * 1_000_000)
    return np.arange(field.count, dtype=np.int64) * step_us


def _digits(fields: Sequence[NumberField], raw: Sequence[np.ndarray]) -> np.ndarray:
    """The exact digits of unscaled integers that a float does not hold; None elsewhere."""
    texts = []
    for field, numbers in zip(fields, raw, strict=True):
        text = np.full(numbers.shape, None, dtype=object)
        if numbers.dtype.kind in "iu" and field.size == 8 and (field.scale, field.offset) == (1, 0):
            large = (numbers > EXACT_INTEGER) | (numbers.astype(np.float64) < -EXACT_INTEGER)
            text[large] = [str(number) for number in numbers[large].tolist()]
        texts.append(text)
    return np.hstack(texts)
