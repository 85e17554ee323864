"""Holds a transformer to the contract: it may be anybody's, and what it gets wrong must not reach the load."""

from typing import Any

import numpy as np
import pandas as pd

from sensor_platform.errors import DEAD_LETTER_CODES
from sensor_platform.transformers.contract import READING_COLUMNS, WHOLE_MESSAGE, Decoded, Quality
from sensor_platform.transformers.definitions import check_definitions
from sensor_platform.transformers.numbers import is_storable

DTYPES: dict[str, type] = {
    "message": np.int64,
    "ordinal": np.int64,
    "work_unit": object,
    "sensor": object,
    "metric": object,
    "time": np.int64,
    "timed_by_receipt": bool,
    "value": np.float64,
    "text": object,
    "unit": object,
    "quality": np.int8,
}
NAMES = ("work_unit", "sensor", "metric", "unit")
#: The tables hold it in four bytes.
GREATEST_ORDINAL = 2**31 - 1


def no_readings() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=DTYPES[name]) for name in READING_COLUMNS})


def kept_contract(decoded: Any, count: int) -> Decoded:
    """`decoded` with the columns and types of the contract, for `count` messages. Raises TypeError or ValueError."""
    if not isinstance(decoded, Decoded):
        raise TypeError(f"the transformer returned {type(decoded).__name__}, not Decoded")
    missing = [name for name in READING_COLUMNS if name not in decoded.readings.columns]
    if missing:
        raise TypeError(f"the transformer's readings have no column {', '.join(missing)}")
    readings = pd.DataFrame({name: _column(decoded.readings[name], DTYPES[name]) for name in READING_COLUMNS})
    unknown = {refusal.code for refusal in decoded.refusals} - DEAD_LETTER_CODES.keys()
    if unknown:
        raise ValueError(f"the transformer refuses with unknown codes: {', '.join(sorted(unknown))}")
    if not set(readings["quality"].unique()) <= set(Quality):
        raise ValueError("the transformer's readings have a quality that is not 0, 1 or 2")
    _check_places(readings, decoded, count)
    _check_texts(readings, decoded)
    # The tables tell an empty text from none by the number beside it.
    readings.loc[(readings["text"] == "") & readings["value"].notna(), "text"] = None
    check_definitions(decoded.definitions, count)
    heard = {*readings["message"].tolist(), *(refusal.message for refusal in decoded.refusals)}
    if not set(decoded.ignored) <= set(range(count)) - heard:
        raise ValueError("the transformer ignores a message that is not there, or that it has readings or refusals of")
    return Decoded(readings, decoded.refusals, decoded.definitions, decoded.ignored)


def _column(column: pd.Series, dtype: type) -> pd.Series:
    if dtype is not object:
        return column.astype(dtype).reset_index(drop=True)
    texts = column.astype(object).reset_index(drop=True)
    return texts.where(texts.notna(), None)


def _check_places(readings: pd.DataFrame, decoded: Decoded, count: int) -> None:
    messages = [*readings["message"].tolist(), *(refusal.message for refusal in decoded.refusals)]
    ordinals = [*readings["ordinal"].tolist(), *(refusal.ordinal for refusal in decoded.refusals)]
    if messages and not 0 <= min(messages) <= max(messages) < count:
        raise ValueError(f"the transformer names a message outside of its {count}")
    least = [0] * len(readings) + [WHOLE_MESSAGE] * len(decoded.refusals)
    if not all(low <= ordinal <= GREATEST_ORDINAL for low, ordinal in zip(least, ordinals, strict=True)):
        raise ValueError("the transformer gives an ordinal that is not a place in a message")
    if len(set(zip(messages, ordinals, strict=True))) < len(messages):
        raise ValueError("the transformer gives one ordinal to two readings of a message")


def _check_texts(readings: pd.DataFrame, decoded: Decoded) -> None:
    """Names and units of a wrong type are refused later, reading by reading; what cannot be stored at all, here."""
    texts = {*readings["text"].dropna(), *(refusal.detail for refusal in decoded.refusals)}
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("the transformer's texts and details are not all strings")
    names = {name for column in NAMES for name in readings[column] if isinstance(name, str)}
    if not all(map(is_storable, texts | names)):
        raise ValueError("the transformer's readings hold U+0000 or a lone surrogate")
