"""Values of Sparkplug B as its datatypes mean them, a column at a time.

Integers below zero travel as two's complement, by some encoders of their own width and by some of the field's: both are
read. A value that its datatype cannot hold is refused, never cut.
"""

from dataclasses import dataclass

import numpy as np

from sensor_platform.transformers.numbers import EXACT_INTEGER

FLOAT, DOUBLE, BOOLEAN, STRING, DATETIME, TEXT, UUID = 9, 10, 11, 12, 13, 14, 15
#: Datatype -> bits and whether it has a sign.
INTEGERS = {
    1: (8, True),
    2: (16, True),
    3: (32, True),
    4: (64, True),
    5: (8, False),
    6: (16, False),
    7: (32, False),
    8: (64, False),
    DATETIME: (64, True),
}
TEXTS = (STRING, TEXT, UUID)
#: What is no single number or text, by name.
UNSUPPORTED = {
    16: "DataSet",
    17: "Bytes",
    18: "File",
    19: "Template",
    20: "PropertySet",
    21: "PropertySetList",
    22: "Int8Array",
    23: "Int16Array",
    24: "Int32Array",
    25: "Int64Array",
    26: "UInt8Array",
    27: "UInt16Array",
    28: "UInt32Array",
    29: "UInt64Array",
    30: "FloatArray",
    31: "DoubleArray",
    32: "BooleanArray",
    33: "StringArray",
    34: "DateTimeArray",
}
#: No datatype; it stands for all that are to come.
LAST = 35
#: Fields of Metric's `value`.
INT_VALUE, LONG_VALUE, FLOAT_VALUE, DOUBLE_VALUE, BOOLEAN_VALUE, STRING_VALUE = 10, 11, 12, 13, 14, 15

#: Verdicts on a value.
OK, NO_VALUE, NO_DATATYPE, OTHER_FIELD, OUT_OF_RANGE, NOT_SUPPORTED = range(6)

_u64 = np.uint64


@dataclass(frozen=True, slots=True)
class Values:
    """Per metric: the number (NaN: a text), its exact digits where a float does not hold them, and the verdict."""

    number: np.ndarray
    digits: dict[int, str]
    verdict: np.ndarray


def values_of(datatype: np.ndarray, kind: np.ndarray, bits: np.ndarray) -> Values:
    """Judges `bits` (an integer, a boolean, or the bits of a float or double), as field `kind` carried them."""
    number = np.full(len(kind), np.nan)
    verdict = np.full(len(kind), OTHER_FIELD, dtype=np.int8)
    digits: dict[int, str] = {}
    datatype = np.minimum(_inferred(datatype, kind), LAST)
    for each in np.flatnonzero(np.bincount(datatype)).tolist():
        some = np.flatnonzero(datatype == each)
        rows: np.ndarray | slice = some if len(some) < len(kind) else slice(None)
        if each in INTEGERS:
            number[rows], verdict[rows], more = _integers(*INTEGERS[each], kind[rows], bits[rows])
            digits |= {int(some[row]): text for row, text in more.items()}
        elif each in (FLOAT, DOUBLE):
            number[rows], verdict[rows] = _reals(kind[rows], bits[rows])
        elif each == BOOLEAN:
            number[rows] = np.where(kind[rows] == BOOLEAN_VALUE, bits[rows] != 0, np.nan)
            verdict[rows] = np.where(kind[rows] == BOOLEAN_VALUE, OK, OTHER_FIELD)
        elif each in TEXTS:
            verdict[rows] = np.where(kind[rows] == STRING_VALUE, OK, OTHER_FIELD)
        else:
            verdict[rows] = NO_DATATYPE if each == 0 else NOT_SUPPORTED
    verdict[kind == 0] = NO_VALUE
    return Values(number, digits, verdict)


def _inferred(datatype: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Where nobody says the datatype, that of the field, if it can be only one."""
    unknown = datatype == 0
    if not unknown.any():
        return datatype
    datatype = datatype.copy()
    only = ((FLOAT_VALUE, FLOAT), (DOUBLE_VALUE, DOUBLE), (BOOLEAN_VALUE, BOOLEAN), (STRING_VALUE, STRING))
    for field, type_ in only:
        datatype[unknown & (kind == field)] = type_
    return datatype


def _reals(kind: np.ndarray, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    number = bits.view(np.float64).copy()
    short = kind == FLOAT_VALUE
    if short.any():
        number[short] = bits[short].astype(np.uint32).view(np.float32)
    known = short | (kind == DOUBLE_VALUE)
    # + 0.0 makes 0 of -0, which PostgreSQL and people take for the same number.
    return np.where(known, number + 0.0, np.nan), np.where(known, OK, OTHER_FIELD)


def _integers(
    width: int, signed: bool, kind: np.ndarray, bits: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    is_int, known = kind == INT_VALUE, (kind == INT_VALUE) | (kind == LONG_VALUE)
    mask = _u64(2**width - 1)
    fits = bits <= mask
    if signed:
        sign = 2 ** (width - 1)
        # Of the field's width: all bits above are ones.
        extended = np.where(is_int, bits >= _u64(max(2**32 - sign, 0)), bits >= _u64(2**64 - sign))
        # 32 bits of a number of 64: whether the highest is a sign, nobody says.
        fits = ~is_int | (bits < _u64(2**31)) if width == 64 else fits | extended
        whole = (bits & mask).view(np.int64)
        whole = whole if width == 64 else (whole ^ sign) - sign
    else:
        whole = bits
    number = whole.astype(np.float64)
    good = known & fits
    large = np.flatnonzero(good & (np.abs(number) >= EXACT_INTEGER))
    digits = {int(row): str(whole[row]) for row in large if abs(int(whole[row])) > EXACT_INTEGER}
    verdict = np.where(good, OK, np.where(known, OUT_OF_RANGE, OTHER_FIELD))
    return np.where(good, number, np.nan), verdict, digits
