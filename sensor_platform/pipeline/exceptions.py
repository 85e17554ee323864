"""Report by exception: readings that say nothing new beside the last kept one of their series are thinned.

The chain of kept readings runs through one micro-batch, in received order, and begins anew in each. So what is thinned
depends on the micro-batch and the routes alone: neither the order of loading nor the other micro-batches of a group
have a part in it, and a backfill or a re-run thins the same again (docs/decisions/0010-report-by-exception.md).
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from sensor_platform.routes.deadband import deadband_of
from sensor_platform.routes.model import Routes
from sensor_platform.validation.rates import ROUNDING

#: Place, series within its micro-batch, time (us), value, quality, deadband, longest silence (us).
_Link = tuple[int, int, int, float, int, float, float]


def thins(routes: Routes) -> bool:
    """Whether any route asks for it."""
    return any(route.report_by_exception for route in routes)


def thinned(readings: pd.DataFrame, series_of: np.ndarray, routes: Routes, source_of: np.ndarray) -> np.ndarray:
    """Which of `readings` (accepted, in the unit of their series) are thinned: a bool each.

    series_of: a number for the series of each. source_of: by message, a number for the micro-batch that it came in.
    """
    found = np.zeros(len(readings), dtype=bool)
    if readings.empty or not thins(routes):
        return found
    deadband, silence_us = _asked(readings, routes)
    # Of a series that several routes feed, the readings of the others are kept, and compared with.
    concerned = np.flatnonzero(np.isin(series_of, np.unique(series_of[~np.isnan(deadband)])))
    message = readings["message"].to_numpy(np.int64)[concerned]
    key = source_of[message].astype(np.int64) * (int(series_of.max()) + 1) + series_of[concerned]
    order = np.lexsort((readings["ordinal"].to_numpy(np.int64)[concerned], message, key))
    places = concerned[order]
    columns = (
        places,
        key[order],
        readings["time"].to_numpy(np.int64)[places],
        _comparable(readings)[places],
        readings["quality"].to_numpy(np.int64)[places],
        deadband[places],
        silence_us[places],
    )
    found[list(_thinned(zip(*(column.tolist() for column in columns), strict=True)))] = True
    return found


def _thinned(links: Iterable[_Link]) -> Iterator[int]:
    """The places of those that are thinned. Links of one chain stand together, in received order."""
    chain, kept_at, kept, kept_quality = -1, 0, 0.0, 0
    for place, key, time, value, quality, deadband, silence_us in links:
        if key == chain:
            since = time - kept_at
            if since < 0:
                continue  # Late: it is kept, and what came before it says nothing of what comes after.
            if since <= silence_us and quality == kept_quality and _near(value, kept, deadband):
                yield place
                continue
        chain, kept_at, kept, kept_quality = key, time, value, quality


def _near(value: float, kept: float, deadband: float) -> bool:
    """NaN, in any place, is near nothing. What floating point adds to a difference counts only beside a deadband."""
    rounding = ROUNDING * max(abs(value), abs(kept)) if deadband else 0.0
    return abs(value - kept) <= deadband + rounding


def _comparable(readings: pd.DataFrame) -> np.ndarray:
    """The values; NaN for texts, for integers that a float does not hold exactly, and for infinities."""
    value: np.ndarray = readings["value"].to_numpy(np.float64)
    return np.where(np.isfinite(value) & readings["text"].isna().to_numpy(bool), value, np.nan)


def _asked(readings: pd.DataFrame, routes: Routes) -> tuple[np.ndarray, np.ndarray]:
    """By reading: the deadband, and the longest silence in microseconds; NaN where its route asks for none."""
    deadband, silence_us = np.full(len(readings), np.nan), np.full(len(readings), np.nan)
    places_of: dict[Any, Any] = readings.groupby(["route", "metric"], sort=False).indices
    for (name, metric), places in places_of.items():
        rule = deadband_of(metric, routes[name].deadbands)
        if rule is not None:
            deadband[places], silence_us[places] = rule.deadband, rule.longest_silence_s * 1e6
    return deadband, silence_us
