"""Readings into PostgreSQL by binary COPY, its bytes built column by column.

A binary COPY row of fixed-width columns is a record of fixed size: an int16 count of fields, then an int32 length and
the big-endian data of each. So a numpy structured array *is* the stream, several times faster than a call a row. A NULL
or a text changes the width: rows are grouped by which of `value` and `text` they have.

The tables have no NULL where a number is all there is, since that would make each row eight bytes longer: `text` is ''
then. A text that is empty has no value beside it, so the two are never confused.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import pandas as pd
import psycopg
from psycopg import sql

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
#: PostgreSQL counts from 2000-01-01.
EPOCH_US = 946_684_800_000_000

#: Column -> (big-endian type, its length). `text` comes after these.
FIXED = {
    "time": (">i8", 8),
    "value": (">f8", 8),
    "sequence": (">i8", 8),
    "series": (">i4", 4),
    "micro_batch": (">i4", 4),
    "ordinal": (">i4", 4),
    "quality": ("u1", 1),
    "timed_by_receipt": ("u1", 1),
    "source_unit": ("i1", 1),
}
COLUMNS = (*FIXED, "text")
#: What the tables keep of a quality: good, uncertain, bad.
QUALITY_LETTERS = np.frombuffer(b"gub", np.uint8)


@dataclass(frozen=True, slots=True)
class ReadingRows:
    """Rows of `metric`, as columns of one length. A NaN `value` beside a `text` is NULL; without one it is NaN.

    There is no empty `text` beside a number.
    """

    time: np.ndarray  # int64, microseconds since 1970 UTC
    value: np.ndarray  # float64
    sequence: np.ndarray  # int64
    series: np.ndarray  # int32
    micro_batch: np.ndarray  # int32
    ordinal: np.ndarray  # int32
    quality: np.ndarray  # int16: 0 good, 1 uncertain, 2 bad
    timed_by_receipt: np.ndarray  # bool
    source_unit: np.ndarray  # int8: the place of the unit in `units` of the series, from 1; 0: none, -1: not noted
    text: np.ndarray  # object: str or None

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: np.ndarray) -> Self:
        """The rows at these places, or where a mask is true."""
        return type(self)(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @property
    def has_text(self) -> np.ndarray:
        """Where there is a text."""
        mask: np.ndarray = pd.notna(self.text)
        return mask

    @property
    def has_value(self) -> np.ndarray:
        """Where `value` is not NULL."""
        mask: np.ndarray = ~(np.isnan(self.value) & self.has_text)
        return mask


def copy_readings(
    cur: psycopg.Cursor[Any], table: sql.Identifier, rows: ReadingRows, places: np.ndarray | None = None
) -> None:
    """Appends `rows` to `table`, in this order within each group of equal width; `places` fills a column `place`."""
    names = [*COLUMNS] if places is None else ["place", *COLUMNS]
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        table, sql.SQL(", ").join(map(sql.Identifier, names))
    )
    with cur.copy(statement) as copy:
        copy.write(HEADER)
        for part in _parts(rows, places):
            copy.write(part)
        copy.write(TRAILER)


def _parts(rows: ReadingRows, places: np.ndarray | None) -> Iterator[bytes]:
    has_text, has_value = rows.has_text, rows.has_value
    for text, value in ((False, True), (True, True), (True, False)):
        group = (has_text == text) & (has_value == value)
        if group.any():
            part = rows.take(group)
            fixed = _fixed(part, has_value=value, has_text=text, places=None if places is None else places[group])
            yield _with_text(fixed, part.text) if text else fixed.tobytes()


def _fixed(part: ReadingRows, *, has_value: bool, has_text: bool, places: np.ndarray | None) -> np.ndarray:
    """One record a row: everything but a text and its length; that of none is part of it."""
    layout: list[tuple[str, str]] = [("fields", ">i2")]
    layout += [] if places is None else [("place_length", ">i4"), ("place", ">i4")]
    for name, (kind, _) in FIXED.items():
        layout.append((f"{name}_length", ">i4"))
        if name != "value" or has_value:
            layout.append((name, kind))
    layout += [] if has_text else [("text_length", ">i4")]
    out = np.empty(len(part), np.dtype(layout))
    out["fields"] = len(COLUMNS) + (places is not None)
    if places is not None:
        out["place_length"], out["place"] = 4, places
    for name, (_, length) in FIXED.items():
        if name == "value" and not has_value:
            out["value_length"] = -1
            continue
        out[f"{name}_length"] = length
        out[name] = _stored(part, name)
    if not has_text:
        out["text_length"] = 0
    return out


def _stored(part: ReadingRows, name: str) -> np.ndarray:
    column: np.ndarray = getattr(part, name)
    if name == "time":
        return column - EPOCH_US
    return QUALITY_LETTERS[column] if name == "quality" else column


def _with_text(fixed: np.ndarray, text: np.ndarray) -> bytes:
    width, stream = fixed.dtype.itemsize, fixed.tobytes()
    encoded = [value.encode() for value in text]
    return b"".join(
        stream[i * width : (i + 1) * width] + len(data).to_bytes(4, "big") + data for i, data in enumerate(encoded)
    )
