"""The pandera models of a reading: what its columns are, and what they may hold.

All checks take a whole column; those of two columns take the difference, which `judged` adds, since pandera reports a
failing check of a whole frame once a column.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from sensor_platform.transformers.judge import MAX_NAME_CHARACTERS

#: 2001-01-01: a time before it comes from a clock that was never set.
FIRST_VALID_TIME = 978_307_200_000_000
#: How far a device's clock may lead ours.
MAX_AHEAD_US = 5 * 60 * 1_000_000


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= MAX_NAME_CHARACTERS


def _is_text(text: object) -> bool:
    return isinstance(text, str)


def _each_different(column: pd.Series, test: Callable[[object], bool], *, missing: bool) -> pd.Series:
    """`test` of each entry, called once for each different one; `missing` is the verdict on None."""
    codes, different = pd.factorize(column)
    # Code -1 is None: the last place.
    verdicts = np.array([*map(test, different.tolist()), missing], dtype=bool)
    return pd.Series(verdicts[codes], index=column.index)


class Reading(pa.DataFrameModel):
    """One value of one metric of one sensor at one time."""

    message: int = pa.Field(description="place of the message among those decoded together")
    ordinal: int = pa.Field(ge=0, description="place of the reading in its message")
    work_unit: Series[object] = pa.Field(nullable=True, description="place in the plant that the sensor belongs to")
    sensor: Series[object] = pa.Field(nullable=True, description="name of the sensor in its work unit")
    metric: Series[object] = pa.Field(nullable=True, description="what is measured")
    time: int = pa.Field(description="microseconds since 1970 UTC")
    timed_by_receipt: bool = pa.Field(description="the payload has no time: it is the one of its receipt")
    value: float = pa.Field(nullable=True, description="the number; NaN beside a text alone")
    text: Series[object] = pa.Field(nullable=True, description="a text, or the digits that a float does not hold")
    unit: Series[object] = pa.Field(nullable=True, description="unit of the value, as sent")
    quality: np.int8 = pa.Field(description="0 good, 1 uncertain, 2 bad")

    @pa.check("work_unit", "sensor", "metric", name="is_name", ignore_na=False)
    def _names(cls, column: pd.Series) -> pd.Series:  # noqa: N805 - pandera calls it with the class
        return _each_different(column, _is_name, missing=False)

    @pa.check("unit", name="is_text", ignore_na=False)
    def _units(cls, column: pd.Series) -> pd.Series:  # noqa: N805
        return _each_different(column, _is_text, missing=True)

    @pa.check("quality", name="is_quality")
    def _qualities(cls, column: pd.Series) -> pd.Series:  # noqa: N805
        return column.between(0, 2)

    @pa.check("time", name="before_valid_time")
    def _times(cls, column: pd.Series) -> pd.Series:  # noqa: N805
        return column >= FIRST_VALID_TIME


class ReadingInContext(Reading):
    """A reading beside what is known of its sensor, its series and its message."""

    ahead_us: int = pa.Field(description="time - received time")
    below: float = pa.Field(nullable=True, description="the sensor's minimum - value")
    above: float = pa.Field(nullable=True, description="value - the sensor's maximum")
    unknown_unit: bool = pa.Field(description="unit is not the one of the series, and one of both is not known")
    incompatible_unit: bool = pa.Field(description="unit does not convert to the one of the series")

    @pa.check("ahead_us", name="in_the_future")
    def _ahead(cls, column: pd.Series) -> pd.Series:  # noqa: N805
        return column <= MAX_AHEAD_US

    @pa.check("below", "above", name="outside")
    def _range(cls, column: pd.Series) -> pd.Series:  # noqa: N805
        return ~(column > 0)

    @pa.check("unknown_unit", "incompatible_unit", name="unit")
    def _unit(cls, column: pd.Series) -> pd.Series:  # noqa: N805
        return ~column


# pandera drops the inherited checks where the parent's schema is built before the child's: this one comes first.
ReadingInContext.to_schema()
