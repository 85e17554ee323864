"""Calibrations: `value * scale + offset` for readings whose event time lies in [valid_from, valid_to).

Applied to values in the unit of their series, before its limits are asked. The times are event times: so a backfill of
any hour applies to each reading the calibration of its own time, whenever it is run and in whatever order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from sensor_platform.transformers.units import INCOMPATIBLE_UNIT, Conversion

#: Microseconds that stand for "always before" and "ever after".
ALWAYS, EVER = -(2**63), 2**63 - 1
#: [from, to); None: open at that end.
Span = tuple[datetime | None, datetime | None]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Times are aware, in UTC; None: open at that end."""

    valid_from: datetime | None
    valid_to: datetime | None
    scale: float = 1.0
    offset: float = 0.0

    @property
    def start_us(self) -> int:
        return ALWAYS if self.valid_from is None else _microseconds(self.valid_from)

    @property
    def end_us(self) -> int:
        return EVER if self.valid_to is None else _microseconds(self.valid_to)

    def __str__(self) -> str:
        times = [("from", self.valid_from), ("to", self.valid_to)]
        held = "".join(f" {word} {at.isoformat().replace('+00:00', 'Z')}" for word, at in times if at is not None)
        return f"* {self.scale} + {self.offset}{held}"

    @property
    def changes_nothing(self) -> bool:
        return (self.scale, self.offset) == (1.0, 0.0)

    def in_unit(self, how: Conversion) -> "Calibration":
        """The same where values are in another unit: what `how` makes of a value before makes of one after."""
        return replace(self, offset=(how.factor * self.offset + how.offset * (1 - self.scale)) / how.divisor)

    def before(self, value: float) -> float:
        """The shortest decimal that becomes `value`."""
        near = (value - self.offset) / self.scale
        shorter = (float(f"{near:.{digits}g}") for digits in range(1, 18)) if isfinite(near) else iter(())
        return next((one for one in shorter if one * self.scale + self.offset == value), near)

    def described(self) -> dict[str, Any]:
        """As JSON has it."""
        times = {"valid_from": self.valid_from, "valid_to": self.valid_to}
        said = {name: None if at is None else at.isoformat().replace("+00:00", "Z") for name, at in times.items()}
        return {**said, "scale": self.scale, "offset": self.offset}


def in_order(calibrations: Iterable[Calibration]) -> tuple[Calibration, ...]:
    """By time, without those that change nothing."""
    return tuple(sorted((one for one in calibrations if not one.changes_nothing), key=lambda one: one.start_us))


def overlap(calibrations: Iterable[Calibration]) -> str | None:
    """A sentence where two hold at one time."""
    for one, following in pairwise(in_order(calibrations)):
        if following.start_us < one.end_us:
            return f"two calibrations hold from {following.valid_from or 'the beginning'} on"
    return None


def laid_over(standing: Iterable[Calibration], new: Calibration) -> tuple[Calibration, ...]:
    """`new`, and of those that stand what it leaves of them."""
    kept = []
    for one in standing:
        if one.start_us < new.start_us:
            kept.append(replace(one, valid_to=_earlier(one.valid_to, new.valid_from)))
        if one.end_us > new.end_us:
            kept.append(replace(one, valid_from=_later(one.valid_from, new.valid_to)))
    return in_order([*kept, new])


def differing(before: Sequence[Calibration], after: Sequence[Calibration]) -> list[Span]:
    """The times at which a value becomes another than before."""
    ends = sorted({ALWAYS, EVER, *(at for one in (*before, *after) for at in (one.start_us, one.end_us))})
    spans = [span for span in pairwise(ends) if _holds(before, span[0]) != _holds(after, span[0])]
    return [(_time(start), _time(end)) for start, end in spans]


def calibrated(
    readings: pd.DataFrame, of: np.ndarray, calibrations: Sequence[Sequence[Calibration]], problem: np.ndarray
) -> tuple[pd.DataFrame, np.ndarray]:
    """The readings with calibrated values. What does not fit in a float stays as it was, and has its code in `problem`.

    of: the place in `calibrations` of each reading's series. Digits in `text` beside a value are of before, and go.
    """
    concerned = [place for place, own in enumerate(calibrations) if own]
    if not concerned:
        return readings, problem
    before, time = readings["value"].to_numpy(np.float64), readings["time"].to_numpy(np.int64)
    value, text = before.copy(), readings["text"].to_numpy(object).copy()
    rows = np.flatnonzero(np.isin(of, concerned))
    rows = rows[np.argsort(of[rows], kind="stable")]
    of_rows = of[rows]
    for place in concerned:
        first, last = np.searchsorted(of_rows, [place, place + 1])
        own = rows[first:last]
        for one in calibrations[place]:
            held = own[(time[own] >= one.start_us) & (time[own] < one.end_us)]
            with np.errstate(over="ignore", invalid="ignore"):
                value[held] = before[held] * one.scale + one.offset
            text[held[~np.isnan(before[held])]] = None
    lost = np.isinf(value) & np.isfinite(before)
    if lost.any():
        value[lost], problem = before[lost], np.where(lost, INCOMPATIBLE_UNIT, problem)
    columns = {"value": pd.Series(value, readings.index), "text": pd.Series(text, readings.index, object)}
    return readings.assign(**columns), problem


def _holds(calibrations: Iterable[Calibration], at_us: int) -> tuple[float, float]:
    return next(((one.scale, one.offset) for one in calibrations if one.start_us <= at_us < one.end_us), (1.0, 0.0))


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((at for at in (one, other) if at is not None), default=None)


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((at for at in (one, other) if at is not None), default=None)


def _time(us: int) -> datetime | None:
    return None if us in (ALWAYS, EVER) else _EPOCH + timedelta(microseconds=us)


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)
