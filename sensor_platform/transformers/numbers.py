"""What reads as a number, and what of it fits: 64-bit integers, and floats that are not beyond their range.

Python's own `float()` and `int()` take more than a person means by a number: `1_000`, `infinity`, digits of any script.
"""

import re
from typing import Any

#: Integers up to here are exact as a float; beyond it a reading keeps the digits in `text`.
EXACT_INTEGER = 2**53
#: orjson makes a float of an integer that does not fit in 64 bits: from here on a float may have been one.
FIRST_DOUBTFUL = 2.0**63
LEAST_INTEGER, GREATEST_INTEGER = -(2**63), 2**64 - 1
MAX_SHOWN_CHARACTERS = 80

_NUMBER = re.compile(r"\s*([+-]?(?:(\d+)|(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d+)?))\s*", re.ASCII)
_NOT_FINITE = re.compile(r"\s*[+-]?(?:nan|inf(?:inity)?)\s*", re.IGNORECASE | re.ASCII)


class OutOfRange(str):
    """A number, as written, that does not fit in 64 bits."""

    __slots__ = ()


def read_number(text: str) -> int | float | OutOfRange | None:
    """The number that `text` reads as; None where it is not one. NaN and infinity are read too."""
    found = _NUMBER.fullmatch(text)
    if found:
        return read_integer(found[1]) if found[2] else read_float(found[1])
    return float(text) if _NOT_FINITE.fullmatch(text) else None


def read_integer(literal: str) -> int | OutOfRange:
    """Of digits, perhaps with a sign before them."""
    digits = literal.lstrip("+-0")
    # The length first: int() refuses thousands of digits with an error of its own.
    if len(digits) > 20:
        return OutOfRange(literal)
    number = int(digits or "0") * (-1 if literal.startswith("-") else 1)
    return number if LEAST_INTEGER <= number <= GREATEST_INTEGER else OutOfRange(literal)


def read_float(literal: str) -> float | OutOfRange:
    number = float(literal)
    return number if abs(number) != float("inf") else OutOfRange(literal)


def scaled(numbers: Any, scale: float, offset: float) -> Any:
    """`numbers` (one, or an array) * scale + offset; 1013 * 0.001 would be 1.0130000000000001, so it is 1013 / 1000."""
    divisor = round(1 / scale) if 0 < abs(scale) < 1 and abs(1 / scale) < EXACT_INTEGER else 0
    return (numbers / divisor if divisor and 1 / divisor == scale else numbers * scale) + offset


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can hold `text`: no U+0000 and no lone surrogate."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: Any) -> str:
    """`value` as a detail may show it: short, and storable whatever it holds."""
    text = f'"{_cut(value)}"' if type(value) is str else _cut(str(value) if isinstance(value, str) else _plain(value))
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\u0000")


def _plain(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case dict():
            return "an object"
        case list() | tuple():
            return "an array"
        case _:
            return str(value)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "…"
