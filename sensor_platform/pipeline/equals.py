"""Equal readings inside a group: which stands, which are duplicates, which are in conflict. Numpy, no database."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sensor_platform.database.copy import ReadingRows


@dataclass(frozen=True, slots=True)
class Split:
    """A group's readings, judged among themselves. All are places in the group."""

    first: np.ndarray  # of equals the one received first, and all timed by receipt; sorted by (series, time)
    repeats: np.ndarray  # equal to one in `first`
    conflicting: np.ndarray  # bool per reading: it stands where another value stands already


def split_equals(rows: ReadingRows) -> Split:
    """Judges `rows`, which are in received order.

    Equal is (series, time, value, text, quality), with NULL = NULL, NaN = NaN, -0 = 0. A reading timed by receipt
    equals none: its time is ours, and says nothing of being sent twice.
    """
    order = np.lexsort((rows.time, rows.series))  # stable: received order stays within a slot
    series, time = rows.series[order], rows.time[order]
    same_slot = np.zeros(len(order), dtype=bool)
    same_slot[1:] = (series[1:] == series[:-1]) & (time[1:] == time[:-1])
    repeated = np.zeros(len(order), dtype=bool)
    conflicting = np.zeros(len(order), dtype=bool)
    if same_slot.any():
        crowded = same_slot.copy()
        crowded[:-1] |= same_slot[1:]
        places, slot = order[crowded], np.cumsum(~same_slot)[crowded]
        repeated[places], conflicting[places] = _judge_slots(rows.take(places), slot)
    return Split(order[~repeated[order]], np.flatnonzero(repeated), conflicting)


def _judge_slots(rows: ReadingRows, slot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of readings sorted by slot (a series and time), then received order: who repeats, who differs from the first."""
    content = pd.DataFrame(
        {
            "slot": slot,
            "value": value_bits(rows.value),
            "null": ~rows.has_value,
            "text": pd.factorize(rows.text)[0],
            "quality": rows.quality,
        }
    )
    identity = content.groupby(list(content.columns), sort=False).ngroup()
    of_the_first = identity.groupby(slot).transform("first")
    free = pd.Series(rows.timed_by_receipt)
    repeats = pd.DataFrame({"identity": identity, "free": free}).duplicated() & ~free
    return repeats.to_numpy(), ((identity != of_the_first) & ~repeats).to_numpy()


def value_bits(value: np.ndarray) -> np.ndarray:
    """The bits of a float, the same for all NaN and for both zeros."""
    bits: np.ndarray = np.where(np.isnan(value), np.nan, value + 0.0).view(np.int64)
    return bits
