"""How fast values change: within one micro-batch, from one reading of a series to the next by event time.

Never across micro-batches: which of two is loaded first must not decide what either of them becomes.
"""

import numpy as np
import pandas as pd

#: What floating point may add to a difference, relative to the values.
ROUNDING = 1e-12


def excess(readings: pd.DataFrame, limit: np.ndarray, source_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By reading: its change since the one before less what `limit` (a second) allows, and the place of that one.

    NaN (and place -1) where it is the first, or there is no limit or no number. Readings stand in received order; of
    several at one time each is compared with the last received of the time before.
    """
    value = readings["value"].to_numpy(np.float64)
    judged = np.flatnonzero(np.isfinite(value) & ~np.isnan(limit))
    over, before = np.full(len(readings), np.nan), np.full(len(readings), -1, np.int64)
    time = readings["time"].to_numpy(np.int64)
    series = _series(readings.iloc[judged], source_of)
    order = np.lexsort((judged, time[judged], series))
    place, series = judged[order], series[order]
    starts_series = np.concatenate([[True], series[1:] != series[:-1]])[: len(place)]
    starts_time = starts_series | np.concatenate([[True], np.diff(time[place]) != 0])[: len(place)]
    # Where the run of equal times begins; the reading just before it is the last of the time before.
    first = np.maximum.accumulate(np.where(starts_time, np.arange(len(place)), 0))
    has_before = ~starts_series[first]
    later, earlier = place[has_before], place[first[has_before] - 1]
    allowed = limit[later] * (time[later] - time[earlier]) / 1_000_000
    rounding = ROUNDING * np.maximum(np.abs(value[later]), np.abs(value[earlier]))
    over[later] = np.abs(value[later] - value[earlier]) - allowed - rounding
    before[later] = earlier
    return over, before


def _series(readings: pd.DataFrame, source_of: np.ndarray) -> np.ndarray:
    """A number for each different series of each micro-batch."""
    code: np.ndarray = source_of[readings["message"].to_numpy(np.int64)].astype(np.int64)
    for name in ("work_unit", "sensor", "metric"):
        codes, different = pd.factorize(readings[name])
        code = code * (len(different) + 1) + codes + 1  # -1 is None
    return code
