"""Units: what a text means, and how values of one unit become values of another. pint knows the units.

pint converts no reading itself: it is asked once a pair of units, in exact fractions, and what it says becomes
`(value * factor + offset) / divisor`, a numpy expression of a whole column. It is imported when two units differ, which
on most plants is never.
"""

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from math import isfinite, lcm
from typing import TYPE_CHECKING, Any

import numpy as np

from sensor_platform.transformers.numbers import EXACT_INTEGER, shown
from sensor_platform.transformers.unit_spellings import OWN_UNITS, by_spelling

if TYPE_CHECKING:
    from pint import UnitRegistry

#: Pairs of units that are remembered: a device that sends rubbish as units fills no memory.
PAIRS = 4096
#: A longer text is no unit. It bounds what is parsed.
MAX_UNIT_CHARACTERS = 60
MAX_FACTORS = 8
#: Between two units that a plant measures in. Beyond it floats overflow.
GREATEST_FACTOR = Fraction(10) ** 50

UNKNOWN_UNIT = "unknown_unit"
INCOMPATIBLE_UNIT = "incompatible_unit"

_FACTOR = re.compile(r"(?P<name>.*?[^\d^*+-])(?:\^|\*\*)?(?P<power>[+-]?[1-9])?")
_WRITTEN_OUT = re.compile(r"[a-z_]{4,}")
_MINUS = str.maketrans({"\N{MINUS SIGN}": "-", "\N{DOT OPERATOR}": "*", "\N{MIDDLE DOT}": "*", "\N{BULLET}": "*"})


@dataclass(frozen=True, slots=True)
class Conversion:
    """`(value * factor + offset) / divisor`: integers for the usual conversions, which give what a person gets."""

    factor: float
    offset: float
    divisor: float

    @classmethod
    def of(cls, slope: Fraction, intercept: Fraction) -> "Conversion":
        """`value * slope + intercept`, in integers where a float holds them exactly."""
        divisor = lcm(slope.denominator, intercept.denominator)
        factor, offset = slope * divisor, intercept * divisor
        if all(abs(number) <= EXACT_INTEGER for number in (factor, offset, Fraction(divisor))):
            return cls(float(factor), float(offset), float(divisor))
        return cls(float(slope), float(intercept), 1.0)

    @property
    def changes_nothing(self) -> bool:
        return self == AS_IT_IS

    def column(self, values: np.ndarray) -> np.ndarray:
        """What does not fit becomes infinite."""
        with np.errstate(over="ignore", invalid="ignore"):
            converted: np.ndarray = (values * self.factor + self.offset) / self.divisor
        return values if self.changes_nothing else converted

    def integer(self, digits: int | Fraction) -> Fraction:
        """An integer that a float does not hold, exactly."""
        return (digits * Fraction(self.factor) + Fraction(self.offset)) / Fraction(self.divisor)


AS_IT_IS = Conversion(1.0, 0.0, 1.0)


def conversion(unit: str, wanted: str) -> Conversion | str:
    """From `unit` to `wanted`; or UNKNOWN_UNIT where one of them is not known, INCOMPATIBLE_UNIT for two kinds."""
    return _conversion(unit, wanted)


def unit_sentence(code: str, unit: object, wanted: object, of: str) -> str:
    """What a person reads of a unit that does not convert to the one of `of`: a route, or a series."""
    if unit == wanted:
        return f"the value, calibrated in {shown(wanted)}, does not fit in a float"
    if code == UNKNOWN_UNIT:
        return f"the unit {shown(unit)} is not {shown(wanted)}, the unit of the {of}, and one of the two is not known"
    return f"the unit {shown(unit)} does not convert to {shown(wanted)}, the unit of the {of}"


def original(value: float | None, unit: str, canonical: str) -> dict[str, Any]:
    """What was sent: unit, and the value that became `value` in `canonical`, as the shortest decimal that does."""
    return {"value": _value_sent(value, unit, canonical), "unit": unit}


def _value_sent(value: float | None, unit: str, canonical: str) -> float | None:
    if value is None or not isfinite(value):
        return None
    forth, back = _conversion(unit, canonical), _conversion(canonical, unit)
    if isinstance(forth, str) or isinstance(back, str):
        return None  # the unit of the series was set by hand
    return float(sent(np.array([value]), forth, back)[0])


def sent(values: np.ndarray, forth: Conversion, back: Conversion) -> np.ndarray:
    """What became `values` (float64) by `forth`: of each the shortest decimal that does. `back` undoes `forth`."""
    if forth.changes_nothing:
        return values
    stored, of = np.unique(values, return_inverse=True)
    near = back.column(stored)
    found, still = near.copy(), np.flatnonzero(np.isfinite(near) & np.isfinite(stored))
    for digits in range(1, 18):
        shorter = np.array([float(f"{one:.{digits}g}") for one in near[still].tolist()], np.float64)
        fits = forth.column(shorter) == stored[still]
        found[still[fits]] = shorter[fits]
        still = still[~fits]
    whole: np.ndarray = found[of]
    return whole


def expression(text: str) -> str | None:
    """`text` in pint's words; None: not known. No part of it is evaluated."""
    written = unicodedata.normalize("NFKC", text.strip()).translate(_MINUS) if len(text) <= MAX_UNIT_CHARACTERS else ""
    known = _spellings().get(written)
    if known is not None:
        return known
    factors = []
    for place, below in enumerate(written.split("/")):
        above = re.split(r"(?<!\*)\*(?!\*)|\s+|(?<=[^\d])\.", below.strip())
        parts = [_factor(part, -1 if place else 1) for part in above if part or len(above) == 1]
        factors += parts
    if not written or None in factors or not any(factors) or len(factors) > MAX_FACTORS:
        return None
    return "*".join(factor for factor in factors if factor)


def _factor(part: str, sign: int) -> str | None:
    """`m3` as `(meter)**3`; a 1 as nothing; None: not known."""
    if part == "1" and sign == 1:
        return ""
    whole, power = _name(part), 1
    if whole is None and (found := _FACTOR.fullmatch(part)) is not None:
        whole, power = _name(found["name"]), int(found["power"] or 1)
    return None if whole is None else f"({whole})**{sign * power}"


def _name(name: str) -> str | None:
    if name in _spellings():
        return _spellings()[name]
    # A name written out means itself: `cell` is not a hundredth of an ell.
    if _WRITTEN_OUT.fullmatch(name) and _pint_name(name) in (name, name.removesuffix("s")):
        return name
    return None


def _pint_name(name: str) -> str | None:
    import pint

    try:
        return str(_registry().parse_units(name))
    except (pint.PintError, TypeError, ValueError, AssertionError):
        return None


@cache
def _spellings() -> dict[str, str]:
    return by_spelling()


@cache
def _registry() -> "UnitRegistry[Any]":
    import pint

    registry: UnitRegistry[Any] = pint.UnitRegistry(non_int_type=Fraction)
    for definition in OWN_UNITS:
        registry.define(definition)
    return registry


@lru_cache(maxsize=PAIRS)
def _conversion(unit: str, wanted: str) -> Conversion | str:
    if unit == wanted:
        return AS_IT_IS
    said, asked = expression(unit), expression(wanted)
    if said is None or asked is None:
        return UNKNOWN_UNIT
    if said == asked:
        return AS_IT_IS
    return _ask_pint(said, asked) or INCOMPATIBLE_UNIT


def _ask_pint(said: str, asked: str) -> Conversion | None:
    """None: another kind, or a scale that is not straight."""
    import pint

    registry = _registry()
    try:
        unit, wanted = registry.parse_units(said), registry.parse_units(asked)
        # Not dimensions alone: to them turns, percent and nothing at all are one.
        if registry.get_root_units(unit)[1] != registry.get_root_units(wanted)[1]:
            return None
        at = [Fraction(registry.Quantity(Fraction(value), unit).to(wanted).magnitude) for value in (0, 1, 3)]
    except (pint.PintError, TypeError, ValueError, ArithmeticError):
        return None
    slope, intercept = at[1] - at[0], at[0]
    is_sane = 1 / GREATEST_FACTOR <= slope <= GREATEST_FACTOR and abs(intercept) <= GREATEST_FACTOR
    return Conversion.of(slope, intercept) if is_sane and at[2] == slope * 3 + intercept else None
