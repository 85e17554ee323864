"""`Decoded` as bytes: Arrow and JSON, which can be wrong but cannot run anything in the process that reads them."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sensor_platform.errors import DEAD_LETTER_CODES
from sensor_platform.transformers.contract import READING_COLUMNS, WHOLE_MESSAGE, Decoded, Quality, Refusal
from sensor_platform.transformers.definitions import Definition, check_definitions
from sensor_platform.transformers.keeping import DTYPES, NAMES
from sensor_platform.transformers.numbers import shown
from sensor_platform.transformers.worker.framing import Frame

_NAME = pa.dictionary(pa.int32(), pa.string())  # a few names on many readings
_NUMBERS: dict[type, pa.DataType] = {
    np.int64: pa.int64(),
    np.float64: pa.float64(),
    np.int8: pa.int8(),
    bool: pa.bool_(),
}


def _type(name: str) -> pa.DataType:
    return _NAME if name in NAMES else _NUMBERS.get(DTYPES[name], pa.string())


SCHEMA = pa.schema([(name, _type(name)) for name in READING_COLUMNS])


def to_bytes(decoded: Decoded) -> Frame:
    """What JSON holds, and the readings as an Arrow stream; a name or unit that is not text refuses its reading.

    `decoded` has kept the contract.
    """
    odd = {name: _odd(decoded.readings[name]) for name in NAMES}
    refusals, readings = list(decoded.refusals), decoded.readings
    if any(column.any() for column in odd.values()):
        refusals += _refuse_odd(readings, odd)
        readings = readings[~np.logical_or.reduce(list(odd.values()))]
    batch = pa.record_batch([_array(readings[field.name], field.type) for field in SCHEMA], schema=SCHEMA)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_batch(batch)
    header = {
        "refusals": [[int(each.message), int(each.ordinal), each.code, each.detail] for each in refusals],
        "definitions": [[int(each.message), each.key, each.content] for each in decoded.definitions],
        "ignored": [int(message) for message in decoded.ignored],
    }
    return header, sink.getvalue().to_pybytes()


def from_bytes(header: dict[str, Any], body: bytes, count: int) -> Decoded:
    """The `Decoded` of `count` messages again. Raises ValueError, TypeError or KeyError where it is none."""
    table = pa.ipc.open_stream(body).read_all()
    table.validate(full=True)
    if table.schema != SCHEMA:
        raise ValueError("the readings do not have the columns of the contract")
    decoded = Decoded(
        # As Series, whose type is what it says: of an array of strings pandas makes a column of its own string type.
        pd.DataFrame(
            {name: pd.Series(_column(table[name], DTYPES[name]), dtype=DTYPES[name]) for name in READING_COLUMNS}
        ),
        [
            Refusal(int(message), int(ordinal), str(code), str(detail))
            for message, ordinal, code, detail in header["refusals"]
        ],
        [Definition(int(message), key, content) for message, key, content in header["definitions"]],
        [int(message) for message in header["ignored"]],
    )
    _check(decoded, count)
    return decoded


def _check(decoded: Decoded, count: int) -> None:
    """What the load relies on: the worker has checked it too, but other code runs in it."""
    readings = decoded.readings
    others = np.array([*(refusal.message for refusal in decoded.refusals), *decoded.ignored], dtype=np.int64)
    places = np.concatenate([readings["message"].to_numpy(), others])
    if len(places) and not 0 <= places.min() <= places.max() < count:
        raise ValueError("the answer names a message that was not asked for")
    if not all(each.code in DEAD_LETTER_CODES and each.ordinal >= WHOLE_MESSAGE for each in decoded.refusals):
        raise ValueError("the answer refuses with a code that is none")
    if not set(readings["quality"].unique()) <= set(Quality) or (readings["ordinal"] < 0).any():
        raise ValueError("the answer has a quality or an ordinal that is none")
    check_definitions(decoded.definitions, count)


def _odd(column: pd.Series) -> np.ndarray:
    """Which values are neither texts nor absent."""
    kinds = set(map(type, column))
    if kinds <= {str, type(None)}:
        return np.zeros(len(column), dtype=bool)
    return np.array([value is not None and not isinstance(value, str) for value in column], dtype=bool)


def _refuse_odd(readings: pd.DataFrame, odd: dict[str, np.ndarray]) -> list[Refusal]:
    refusals: dict[int, Refusal] = {}
    for name, rows in odd.items():
        for row in np.flatnonzero(rows).tolist():
            reading = readings.iloc[row]
            detail = f"the {name} {shown(reading[name])} is not a text"
            refusal = Refusal(int(reading["message"]), int(reading["ordinal"]), "invalid_reading", detail)
            refusals.setdefault(row, refusal)
    return list(refusals.values())


def _array(column: pd.Series, type_: pa.DataType) -> pa.Array:
    if type_ == _NAME:
        return pa.array(column.to_numpy(), pa.string()).dictionary_encode()
    return pa.array(column.to_numpy(), type_, from_pandas=False)


def _column(column: pa.ChunkedArray, dtype: type) -> np.ndarray:
    """A column of the contract's type, that may be written to."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if array.type == _NAME:
        names = np.array([*array.dictionary.to_pylist(), None], dtype=object)
        named: np.ndarray = names[array.indices.fill_null(len(names) - 1).to_numpy(zero_copy_only=False)]
        return named
    if array.null_count and dtype is not object:
        raise ValueError("the answer has a number that is missing")
    return np.array(array.to_numpy(zero_copy_only=False), dtype=dtype)
