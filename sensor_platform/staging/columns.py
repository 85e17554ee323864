"""Arrow columns from and to numpy and lists, through their buffers.

Not `pa.array` and `to_numpy`: both import pandas where it is installed, a second and 60 MB that the collector must not
pay. Buffers are also faster.
"""

from collections.abc import Iterable, Sequence, Sized
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[Any]
Booleans = npt.NDArray[np.bool_]
ZEROS = bytes(8192)


def numbers(values: Numbers, kind: pa.DataType, *, valid: Booleans | None = None) -> pa.Array:
    """A column of a fixed width; the dtype of `values` must be the one of `kind`."""
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [_bits(valid), data])


def booleans(values: Numbers) -> pa.Array:
    """A column that is true where `values` is not zero."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))])


def falses(length: int) -> pa.Array:
    """A column of nothing but false."""
    bits = ZEROS if length <= 8 * len(ZEROS) else bytes(length // 8 + 1)
    return pa.Array.from_buffers(pa.bool_(), length, [None, pa.py_buffer(bits)])


def optional_numbers(values: Iterable[int | None], kind: pa.DataType, dtype: type[np.generic]) -> pa.Array:
    listed = list(values)
    valid = np.array([value is not None for value in listed], np.bool_)
    return numbers(np.array([value or 0 for value in listed], dtype), kind, valid=valid)


def binaries(values: Sequence[bytes], kind: pa.DataType) -> pa.Array:
    """A column of bytes, or of UTF-8 text, without nulls."""
    return pa.Array.from_buffers(kind, len(values), [None, _offsets(values), pa.py_buffer(b"".join(values))])


def optional_binaries(values: Sequence[bytes | None], kind: pa.DataType) -> pa.Array:
    present = [value or b"" for value in values]
    valid = np.array([value is not None for value in values], np.bool_)
    return pa.Array.from_buffers(kind, len(present), [_bits(valid), _offsets(present), pa.py_buffer(b"".join(present))])


def maps(values: Sequence[Sequence[tuple[str, str]] | None], kind: pa.MapType) -> pa.Array:
    """A column of lists of name and value."""
    present = [value or () for value in values]
    valid = np.array([value is not None for value in values], np.bool_)
    names = binaries([name.encode() for entry in present for name, _ in entry], pa.string())
    items = binaries([item.encode() for entry in present for _, item in entry], pa.string())
    struct = pa.Array.from_buffers(
        pa.struct([kind.key_field, kind.item_field]), len(names), [None], children=[names, items]
    )
    return pa.Array.from_buffers(kind, len(present), [_bits(valid), _offsets(present)], children=[struct])


def to_numpy(column: pa.Array, dtype: type[np.generic]) -> Numbers:
    """The values of a column of a fixed width; what a null has there is undefined."""
    values: Numbers = np.frombuffer(column.buffers()[1], dtype)
    return values[column.offset : column.offset + len(column)]


def to_booleans(column: pa.Array) -> Booleans:
    bits = np.unpackbits(np.frombuffer(column.buffers()[1], np.uint8), bitorder="little")
    return bits[column.offset : column.offset + len(column)].astype(np.bool_)


def valid_rows(column: pa.Array) -> Booleans:
    """Which rows are not null."""
    return to_booleans(column.is_valid())


def _bits(valid: Booleans | None) -> pa.Buffer | None:
    if valid is None or valid.all():
        return None
    return pa.py_buffer(np.packbits(valid, bitorder="little"))


def _offsets(values: Sequence[Sized]) -> pa.Buffer:
    """Where each value begins, and where the last one ends."""
    offsets = np.zeros(len(values) + 1, np.int32)
    np.fromiter(map(len, values), np.int32, len(values)).cumsum(dtype=np.int32, out=offsets[1:])
    return pa.py_buffer(offsets)
