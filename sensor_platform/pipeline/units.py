"""Readings to the unit that is wanted of them: that of the route first, then that of their series.

`unit` becomes the wanted one, and `source_unit` keeps what the payload said, or, where that names none (`unnamed`),
what the reading is taken to be in: the unit of the route, else that of unnamed readings of the series. What does not
convert is told with its code, and stays as it was.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from fractions import Fraction

import numpy as np
import pandas as pd

from sensor_platform.routes.model import Route
from sensor_platform.transformers.contract import Decoded, Refusal
from sensor_platform.transformers.numbers import EXACT_INTEGER, GREATEST_INTEGER, LEAST_INTEGER
from sensor_platform.transformers.units import INCOMPATIBLE_UNIT, Conversion, conversion, unit_sentence

#: 20 digits are what 64 bits hold.
_DIGITS = re.compile(r"[+-]?\d{1,20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Converted:
    """Readings, one for one; `problem` has the code of those that do not convert, otherwise None."""

    readings: pd.DataFrame
    problem: np.ndarray


def in_route_units(decoded: Decoded, route: Route) -> tuple[Decoded, pd.DataFrame]:
    """The readings in the units that the route names; one that names no unit is taken to be in it already. And those
    that are refused, since theirs does not convert."""
    readings = decoded.readings.assign(
        source_unit=pd.Series(None, index=decoded.readings.index, dtype=object), unnamed=decoded.readings["unit"].isna()
    )
    if not route.units or readings.empty:
        return replace(decoded, readings=readings), readings[:0]
    wanted = _wanted(readings["metric"], route)
    readings = readings.assign(sent_value=readings["value"], sent_text=readings["text"])
    converted = in_units(_taken_to_be(readings, wanted), wanted)
    bad = np.flatnonzero(pd.notna(converted.problem))
    refusals = [
        Refusal(int(row["message"]), int(row["ordinal"]), code, unit_sentence(code, row["unit"], want, "route"))
        for row, code, want in zip(
            readings.iloc[bad][["message", "ordinal", "unit"]].to_dict("records"),
            converted.problem[bad],
            wanted[bad],
            strict=True,
        )
    ]
    kept = converted.readings[pd.isna(converted.problem)]
    return replace(decoded, readings=kept, refusals=[*decoded.refusals, *refusals]), readings.iloc[bad]


def unit_of_route(metric: str, route: Route) -> str | None:
    """The unit that the route names for a metric: that of the first pattern that matches."""
    return next((unit for pattern, unit in route.units.items() if fnmatchcase(metric, pattern)), None)


def in_series_units(readings: pd.DataFrame, wanted: np.ndarray, unnamed: np.ndarray) -> Converted:
    """`in_units`; a reading that still has no unit is taken to be in that of `unnamed` (str or None, one a reading)."""
    return in_units(_taken_to_be(readings, unnamed), wanted)


def _taken_to_be(readings: pd.DataFrame, assumed: np.ndarray) -> pd.DataFrame:
    unit = readings["unit"].to_numpy(object)
    assumed_here = pd.notna(assumed)
    assumed_here = assumed_here & pd.isna(unit) if assumed_here.any() else assumed_here
    if not assumed_here.any():
        return readings
    return readings.assign(unit=pd.Series(np.where(assumed_here, assumed, unit), index=readings.index, dtype=object))


def in_units(readings: pd.DataFrame, wanted: np.ndarray) -> Converted:
    """Converts what names another unit than `wanted` (str or None, one a reading); without one of them: as it is.

    What was converted before (it has a `source_unit`) is converted from what was sent, never a second time.
    """
    problem = np.full(len(readings), None, dtype=object)
    unit = readings["unit"].to_numpy(object)
    named = pd.notna(unit)
    if not named.any():
        return Converted(readings, problem)
    places = np.flatnonzero(named & pd.notna(wanted) & (unit != wanted))
    places = places[[isinstance(one, str) for one in unit[places]]] if len(places) else places
    if not len(places):
        return Converted(readings, problem)
    value, text = readings["value"].to_numpy(np.float64).copy(), readings["text"].to_numpy(object).copy()
    source, unit = readings["source_unit"].to_numpy(object).copy(), unit.copy()
    for (said, asked), rows in _pairs(np.where(pd.isna(source), unit, source), wanted, places):
        verdict = conversion(said, asked)
        if isinstance(verdict, str):
            problem[rows] = verdict
            continue
        before = rows[pd.notna(source[rows])]
        if len(before):
            value[before] = readings["sent_value"].to_numpy(np.float64)[before]
            text[before] = readings["sent_text"].to_numpy(object)[before]
        _convert(value, text, rows, verdict)
        source[rows] = np.where(pd.isna(source[rows]), said, source[rows])
        unit[rows] = asked
    # Finite before, and beyond a float in the unit that is wanted.
    lost = np.isinf(value) & np.isfinite(readings["value"].to_numpy(np.float64))
    problem[lost] = INCOMPATIBLE_UNIT
    columns = {"value": value, "text": text, "unit": unit, "source_unit": source}
    for name, column in columns.items():
        column[lost] = readings[name].to_numpy()[lost]
    changed = {name: pd.Series(column, readings.index, column.dtype) for name, column in columns.items()}
    return Converted(readings.assign(**changed), problem)


def _wanted(metric: pd.Series, route: Route) -> np.ndarray:
    codes, metrics = pd.factorize(metric)
    units = [unit_of_route(name, route) if isinstance(name, str) else None for name in metrics.tolist()]
    # Code -1 is None: the last place.
    return np.array([*units, None], dtype=object)[codes]


def _pairs(unit: np.ndarray, wanted: np.ndarray, places: np.ndarray) -> list[tuple[tuple[str, str], np.ndarray]]:
    said, units = pd.factorize(unit[places])
    asked, targets = pd.factorize(wanted[places])
    pair, of = np.unique(said * len(targets) + asked, return_inverse=True)
    return [
        ((units[one // len(targets)], targets[one % len(targets)]), places[of == number])
        for number, one in enumerate(pair.tolist())
    ]


def _convert(value: np.ndarray, text: np.ndarray, rows: np.ndarray, how: Conversion) -> None:
    """In place. Integers past 2^53 have their digits in `text`, and stay exact if what they become is an integer."""
    if how.changes_nothing:
        return
    value[rows] = how.column(value[rows])
    convert_digits(value, text, rows, how.integer)


def convert_digits(value: np.ndarray, text: np.ndarray, rows: np.ndarray, exactly: Callable[[int], Fraction]) -> None:
    """In place, of those `rows` that have digits in `text` beside a value: both become what `exactly` makes of them."""
    for row in rows[pd.notna(text[rows]) & ~np.isnan(value[rows])].tolist():
        if not _DIGITS.fullmatch(text[row]):
            continue
        exact = exactly(int(text[row]))
        value[row] = float(exact)  # at most 2^64 times GREATEST_FACTOR
        whole = exact.denominator == 1 and abs(exact) > EXACT_INTEGER and LEAST_INTEGER <= exact <= GREATEST_INTEGER
        text[row] = str(exact) if whole else None
