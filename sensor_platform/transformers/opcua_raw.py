"""Raw fields of UADP (OPC 10000-14, 7.2.4.5.11): values without types, of which only metadata says what they are.

Numbers stand as they are; an array has the size of each dimension before its elements, and is filled up to the sizes
that metadata names; a text has its length before it, and is filled up to the length that metadata names.
"""

from math import prod
from typing import Any

from sensor_platform.transformers.leaves import RefusedValueError
from sensor_platform.transformers.numbers import shown
from sensor_platform.transformers.opcua_binary import INVALID, NUMBERS, Reader, read_value, type_name
from sensor_platform.transformers.opcua_dataset import TYPES, NamedField

_FILLED = frozenset({TYPES["String"], TYPES["ByteString"]})
_READ = frozenset({*NUMBERS, *_FILLED, TYPES["DateTime"], TYPES["Guid"]})


def read_raw(reader: Reader, named: NamedField) -> Any:
    """The value; a matrix as a list, row by row.

    Raises:
        RefusedValueError: its type is not read, or is not known; the fields after it are then not found either.
    """
    if named.type not in _READ or (named.is_array and named.type not in NUMBERS):
        what = f"{'an array of ' if named.is_array else ''}{type_name(named.type)}"
        raise RefusedValueError("unsupported_type", f"the raw field {shown(named.name)} is {what}: it is not read")
    if named.is_array:
        return _array(reader, named, NUMBERS[named.type])
    start = reader.at
    value = read_value(reader, named.type)
    if named.type in _FILLED and named.max_length:
        filled = start + 4 + named.max_length - reader.at
        _fill(reader, filled, named)
    return value


def _array(reader: Reader, named: NamedField, code: str) -> list[Any]:
    sizes = reader.numbers("I", max(len(named.dimensions), 1))
    most = named.dimensions or (0,)
    if any(limit and size > limit for size, limit in zip(sizes, most, strict=True)):
        raise RefusedValueError(
            INVALID, f"the raw field {shown(named.name)} has {sizes} elements, {list(most)} at most"
        )
    values = reader.numbers(code, prod(sizes))
    missing = prod(most) - len(values) if all(most) else 0
    if missing and len(most) > 1:
        detail = f"the raw field {shown(named.name)} is a matrix of {sizes}, not of {list(most)}: it is not read"
        raise RefusedValueError("unsupported_type", detail)
    reader.numbers(code, missing)
    return values


def _fill(reader: Reader, size: int, named: NamedField) -> None:
    if size < 0:
        detail = f"the raw field {shown(named.name)} is longer than the {named.max_length} bytes that metadata names"
        raise RefusedValueError(INVALID, detail)
    reader.take(size)
