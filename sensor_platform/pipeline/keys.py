"""The series of readings, by name: found out once for a whole column."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sensor_platform.pipeline.series import Key

IDENTITY = ["work_unit", "sensor", "metric"]


@dataclass(frozen=True, slots=True)
class Keys:
    """The different series of some readings, and which one each reading belongs to."""

    keys: list[Key]
    of: np.ndarray

    @classmethod
    def of_readings(cls, readings: pd.DataFrame) -> "Keys":
        """From the columns of IDENTITY; `of` is the place in `keys`, a reading each."""
        code = np.zeros(len(readings), np.int64)
        names = []
        for column in IDENTITY:
            codes, uniques = pd.factorize(readings[column])
            code = code * (len(uniques) + 1) + codes + 1  # -1 is None
            names.append(readings[column].to_numpy(object))
        of, different = pd.factorize(code)
        last = np.zeros(len(different), np.int64)
        last[of] = np.arange(len(of))
        return cls([tuple(column[place] for column in names) for place in last.tolist()], of)

    def taken(self, of: np.ndarray) -> "Keys":
        """The keys of only those readings whose places among `keys` are `of`."""
        present = np.zeros(len(self.keys), dtype=bool)
        present[of] = True
        kept = np.flatnonzero(present)
        return Keys([self.keys[place] for place in kept.tolist()], (np.cumsum(present) - 1)[of])

    def column(self, values: Sequence[Any]) -> np.ndarray:
        """One value a series, spread over the readings."""
        spread = np.empty(len(values), dtype=object)
        spread[:] = values
        column: np.ndarray = spread[self.of]
        return column
