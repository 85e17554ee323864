"""Columns of raw time fields to microseconds since 1970 UTC, by type, a whole column at once.

ISO 8601: naive is UTC, what is finer than a microsecond is cut off. Numbers are seconds unless they can only be finer:
from 1e11 on (seconds of the year 5138) milliseconds, from 1e14 on microseconds, from 1e17 on nanoseconds. No integer
passes through a float.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensor_platform.transformers.numbers import read_number

TimeUnit = Literal["auto", "s", "ms", "us", "ns"]
PER_SECOND: dict[TimeUnit, int] = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

FIRST_MILLISECONDS = 10**11
FIRST_MICROSECONDS = 10**14
FIRST_NANOSECONDS = 10**17

#: What stands for a time field that is not there.
ABSENT: Any = ...


class Microseconds(int):
    """A time that was read already: microseconds since 1970 UTC."""

    __slots__ = ()


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_YEAR_ONE = -62_135_596_800_000_000
_YEAR_10000 = 253_402_300_800_000_000
_GREATEST = 2**63 - 1


def parse_times(raw: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds, and whether each is a time; ABSENT is none."""
    kinds = set(map(type, raw))
    if len(kinds) == 1 and (column := _whole_column(kinds.pop(), raw)) is not None:
        return column, np.ones(len(raw), dtype=bool)
    parsed = [parse_time(each) for each in raw]
    valid = np.array([time is not None for time in parsed], dtype=bool)
    return np.array([time or 0 for time in parsed], dtype=np.int64), valid


def _whole_column(kind: type, raw: Sequence[Any]) -> np.ndarray | None:
    """The column where all of one type are times of the usual form; None: look at each."""
    if kind is Microseconds and all(abs(time) <= _GREATEST for time in raw):
        times: np.ndarray | None = np.array(raw, dtype=np.int64)
    else:
        times = _iso_column(raw) if kind is str else _integer_column(raw) if kind is int else None
    # Arrow reads years that Python has not: one verdict, whatever the company.
    return None if times is None or not np.all(in_reach(times)) else times


def in_reach(times: np.ndarray) -> np.ndarray:
    """Which of these microseconds since 1970 Python's dates reach."""
    return np.asarray((times >= _YEAR_ONE) & (times < _YEAR_10000))


def _integer_column(raw: Sequence[int]) -> np.ndarray | None:
    try:
        numbers = np.array(raw, dtype=np.int64)
    except OverflowError:
        return None
    if numbers.min() < -_GREATEST:  # the size of -2^63 would wrap
        return None
    size = np.abs(numbers)
    finest = [size < FIRST_MILLISECONDS, size < FIRST_MICROSECONDS, size < FIRST_NANOSECONDS]
    # The two products wrap where they are not chosen.
    return np.select(finest, [numbers * 1_000_000, numbers * 1_000, numbers], numbers // 1_000)


def _iso_column(raw: Sequence[str]) -> np.ndarray | None:
    try:
        texts = pa.array(raw, pa.string())
    except (pa.ArrowException, UnicodeEncodeError):
        return None
    for kind in (pa.timestamp("us", "UTC"), pa.timestamp("us")):
        try:
            return np.asarray(pc.cast(texts, kind).cast(pa.int64()))
        except pa.ArrowException:
            continue
    return None


def parse_time(raw: Any) -> int | None:
    """Microseconds since 1970 UTC; None where `raw` is not a time, or one that Python's dates do not reach."""
    time = _parse(raw)
    return time if time is not None and _YEAR_ONE <= time < _YEAR_10000 else None


def _parse(raw: Any) -> int | None:
    if isinstance(raw, bool | Microseconds):
        return int(raw) if isinstance(raw, Microseconds) else None
    if isinstance(raw, str):
        return _parse_text(raw)
    if isinstance(raw, int):
        return _parse_integer(raw)
    if isinstance(raw, float):
        return _parse_number(Decimal(raw)) if abs(raw) < _GREATEST else None
    return _from_datetime(raw) if isinstance(raw, datetime) else None


def in_unit(raw: Any, unit: TimeUnit) -> Any:
    """A number, or a text that reads as one, in that unit; what is none stays as it is."""
    number = read_number(raw) if isinstance(raw, str) else raw
    if isinstance(number, bool | str) or not isinstance(number, int | float) or not abs(number) < _GREATEST:
        return raw
    if isinstance(number, int):
        return Microseconds(number * 1_000_000 // PER_SECOND[unit])
    try:
        exact = Decimal(raw.strip()) if isinstance(raw, str) else Decimal(number)
        return Microseconds(round(exact * 1_000_000 / PER_SECOND[unit]))
    except ArithmeticError:  # an exponent that floats read, as 0, and decimals do not
        return raw


def in_zone(text: str, zone: str, pattern: str | None) -> Any:
    """The time of a text, in `zone` where it names no offset; the earlier of two where a clock was set back."""
    try:
        when = datetime.fromisoformat(text) if pattern is None else datetime.strptime(text, pattern)  # noqa: DTZ007 - below
        aware = when if when.tzinfo is not None else when.replace(tzinfo=ZoneInfo(zone))
        return Microseconds(_from_datetime(aware))
    except (ValueError, OverflowError):
        return text


def iso(microseconds: int) -> str:
    """ISO 8601 of microseconds since 1970, in UTC."""
    return f"{np.datetime64(microseconds, 'us')}Z"


def _parse_text(text: str) -> int | None:
    number = read_number(text)
    if number is not None:
        if isinstance(number, int):
            return _parse_integer(number)
        return _parse_decimal(text.strip()) if isinstance(number, float) and abs(number) < _GREATEST else None
    try:
        return _from_datetime(datetime.fromisoformat(text))
    except ValueError:
        return None


def _parse_decimal(literal: str) -> int | None:
    try:
        return _parse_number(Decimal(literal))
    except ArithmeticError:  # its exponent is beyond those of decimals
        return None


def _from_datetime(when: datetime) -> int:
    aware = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND


def _parse_integer(number: int) -> int | None:
    size = abs(number)
    if size < FIRST_MILLISECONDS:
        return number * 1_000_000
    if size < FIRST_MICROSECONDS:
        return number * 1_000
    if size < FIRST_NANOSECONDS:
        return number
    return number // 1_000 if size <= _GREATEST else None


def _parse_number(number: Decimal) -> int:
    """Rounded to the microsecond: 1700000000.123456 as a float is a little less than it says."""
    size = abs(number)
    if size < FIRST_MILLISECONDS:
        return round(number * 1_000_000)
    if size < FIRST_MICROSECONDS:
        return round(number * 1_000)
    return round(number) if size < FIRST_NANOSECONDS else int(number // 1_000)
