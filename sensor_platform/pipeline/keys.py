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
        _, first, of = np.unique(code, return_index=True, return_inverse=True)
        return cls([tuple(column[place] for column in names) for place in first.tolist()], of)

    def column(self, values: Sequence[Any]) -> np.ndarray:
        """One value a series, spread over the readings."""
        spread = np.empty(len(values), dtype=object)
        spread[:] = values
        column: np.ndarray = spread[self.of]
        return column
