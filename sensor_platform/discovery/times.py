"""Which field of documents is their time, and how it is written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sensor_platform.transformers.numbers import read_number
from sensor_platform.transformers.times import (
    FIRST_MICROSECONDS,
    FIRST_MILLISECONDS,
    FIRST_NANOSECONDS,
    TimeUnit,
    parse_time,
)

#: Those of the default rules first, in their order.
DEFAULT_NAMES = ("timestamp", "time", "ts")
NAMES = (
    *DEFAULT_NAMES,
    "datetime", "date_time", "date", "at", "t", "measured_at", "sampled_at", "created_at", "received_at", "last_seen",
    "last_update", "updated_at", "sourcetimestamp", "source_timestamp", "utc", "epoch", "unixtime", "unix_time", "gwts",
)  # fmt: skip
FIRST_US = 978_307_200_000_000  # 2001-01-01
AHEAD_US = 300_000_000
#: A field that fewer documents have is not their time.
LEAST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class TimeFound:
    """path: its names from the top. naive: a text without an offset."""

    path: tuple[str, ...]
    unit: TimeUnit
    is_text: bool
    naive: bool

    @property
    def by_default(self) -> bool:
        """The default rules find it without being told."""
        return len(self.path) == 1 and self.path[0] in DEFAULT_NAMES

    def __str__(self) -> str:
        how = "ISO 8601" if self.is_text else f"a number, in {self.unit}"
        return f"{'.'.join(self.path)}, {how}" + (", without an offset: read as UTC" if self.naive else "")


def find_time(documents: Sequence[dict[str, Any]], *, received_at: datetime) -> TimeFound | None:
    """The most likely one; None where no field is a time in most of them."""
    latest_us = int(received_at.timestamp() * 1_000_000) + AHEAD_US
    values: dict[tuple[str, ...], list[Any]] = {}
    for document in documents:
        for path, value in _named(document):
            values.setdefault(path, []).append(value)
    likely = [
        path
        for path, found in values.items()
        if len(found) >= LEAST_SHARE * len(documents) and all(_is_time(value, latest_us) for value in found)
    ]
    if not likely:
        return None
    best = min(likely, key=lambda path: (len(path), _rank(path)))
    return _described(best, values[best])


def _rank(path: tuple[str, ...]) -> tuple[int, bool]:
    """A name as the default rules write it goes before `Time`."""
    return NAMES.index(path[-1].lower()), path[-1] not in DEFAULT_NAMES


def _named(tree: dict[str, Any], before: tuple[str, ...] = (), depth: int = 3) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in tree.items():
        if type(value) is dict and depth:
            yield from _named(value, (*before, name), depth - 1)
        elif name.lower() in NAMES and not isinstance(value, bool | list | dict):
            yield (*before, name), value


def _is_time(value: Any, latest_us: int) -> bool:
    time = parse_time(value)
    return time is not None and FIRST_US <= time <= latest_us


def _described(path: tuple[str, ...], values: Sequence[Any]) -> TimeFound:
    first = values[0]
    number = read_number(first) if isinstance(first, str) else first
    if isinstance(number, int | float):
        return TimeFound(path, _unit(abs(number)), is_text=False, naive=False)
    naive = datetime.fromisoformat(first).tzinfo is None if _reads(first) else False
    return TimeFound(path, "auto", is_text=True, naive=naive)


def _reads(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _unit(number: float) -> TimeUnit:
    limits: tuple[tuple[int, TimeUnit], ...] = (
        (FIRST_MILLISECONDS, "s"),
        (FIRST_MICROSECONDS, "ms"),
        (FIRST_NANOSECONDS, "us"),
    )
    return next((unit for limit, unit in limits if number < limit), "ns")
