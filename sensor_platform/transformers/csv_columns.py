"""CSV of the usual kind, many messages at once: one header, no quotes, numbers and a time. What is odd is left over.

What is left over is read row by row (`csv`), with the same result; this exists because a Python call a cell is slow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import itemgetter, methodcaller

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from sensor_platform.transformers.contract import READING_COLUMNS, PayloadColumn
from sensor_platform.transformers.judge import MAX_NAME_CHARACTERS
from sensor_platform.transformers.numbers import EXACT_INTEGER, read_number
from sensor_platform.transformers.table import MAX_METRICS, TIME_FIELDS
from sensor_platform.transformers.times import parse_times

NUMBER = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
#: Different headers in one group; messages under further ones are left over.
MAX_HEADERS = 64
#: Columns with rules of their own.
SPECIAL = frozenset(("value", "quality", "metric", "unit", "metrics"))


@dataclass(frozen=True, slots=True)
class Sheet:
    """The rows of several messages under one header. `places`: of the messages; `rows`: how many each has."""

    header: tuple[str, ...]
    delimiter: str
    places: np.ndarray
    rows: np.ndarray
    body: bytes


def sheets(payloads: Sequence[bytes], delimiter_of: Callable[[bytes], str]) -> list[Sheet]:
    """The messages of the usual kind, by header. `delimiter_of`: of a header line."""
    found: list[Sheet] = []
    places, rest = np.arange(len(payloads)), payloads
    while len(places) and len(found) < MAX_HEADERS:
        header = rest[0].partition(b"\n")[0]
        same = np.fromiter(map(methodcaller("startswith", header + b"\n"), rest), dtype=bool, count=len(rest))
        if is_usual(header, delimiter_of(header)):
            start = len(header) + 1
            bodies = [payload[start:] for payload in (rest if same.all() else compress(rest, same))]
            found.append(_sheet(header, delimiter_of(header), places[same], bodies))
        same[0] = True
        places, rest = places[~same], list(compress(rest, ~same))
    return [sheet for sheet in found if len(sheet.places)]


def _sheet(header: bytes, delimiter: str, places: np.ndarray, bodies: list[bytes]) -> Sheet:
    names = tuple(name.strip() for name in header.decode("ascii").rstrip("\r").split(delimiter))
    bodies = [body if body[-1:] == b"\n" else body + b"\n" for body in bodies]
    whole = b"".join(bodies)
    if not _is_plain(whole):
        plain = [_is_plain(body) for body in bodies]
        places, bodies = places[plain], list(compress(bodies, plain))
        whole = b"".join(bodies)
    rows = np.fromiter(map(methodcaller("count", b"\n"), bodies), dtype=np.int64, count=len(bodies))
    return Sheet(names, delimiter, places, rows, whole)


def _is_plain(body: bytes) -> bool:
    return body.isascii() and body[:1] != b"\n" and not any(odd in body for odd in (b'"', b"\r", b"\0", b"\n\n"))


def is_usual(header: bytes, delimiter: str) -> bool:
    """Whether every message under this header line could be of the usual kind."""
    if not header.isascii() or b'"' in header or b"\0" in header or b"\r" in header.rstrip(b"\r"):
        return False
    names = [name.strip() for name in header.decode("ascii").rstrip("\r").split(delimiter)]
    fits = all(0 < len(name) <= MAX_NAME_CHARACTERS for name in names) and len(names) <= MAX_METRICS
    return fits and len(set(names)) == len(names) and SPECIAL.isdisjoint(names)


def read(sheet: Sheet, column: PayloadColumn) -> tuple[pd.DataFrame, np.ndarray]:
    """The readings of a sheet, and the places of the messages that are left over."""
    nothing = pd.DataFrame(columns=list(READING_COLUMNS))
    cells = _cells(sheet)
    if cells is None:
        return nothing, sheet.places
    message = np.repeat(np.arange(len(sheet.places)), sheet.rows)  # of each row
    time_name = next((name for name in TIME_FIELDS if name in sheet.header), None)
    odd = np.zeros(cells.num_rows, dtype=bool)
    times = np.repeat(column.received_at[sheet.places].astype(np.int64), sheet.rows)
    if time_name is not None:
        times, odd = _times(cells[time_name])
    metrics = [name for name in sheet.header if name != time_name]
    values = np.full((cells.num_rows, len(metrics)), np.nan)
    present = np.zeros(values.shape, dtype=bool)
    for place, name in enumerate(metrics):
        values[:, place], present[:, place], strange = _numbers(cells[name])
        odd |= strange
    left_over = np.zeros(len(sheet.places), dtype=bool)
    left_over[message[odd]] = True
    present &= ~left_over[message][:, None]
    rows, of_metric = np.nonzero(present)
    frame = _frame(sheet, column, message[rows])
    frame["metric"] = pd.Series(np.array(metrics, dtype=object)[of_metric], dtype=object)
    frame["time"], frame["value"] = times[rows], values[rows, of_metric]
    frame["timed_by_receipt"] = time_name is None
    return frame[list(READING_COLUMNS)], sheet.places[left_over]


def _cells(sheet: Sheet) -> pa.Table | None:
    """Every cell as text; None where a row has another width than the header."""
    try:
        return csv.read_csv(
            pa.BufferReader(sheet.body),
            csv.ReadOptions(column_names=list(sheet.header), use_threads=False, block_size=len(sheet.body) + 1),
            csv.ParseOptions(delimiter=sheet.delimiter, quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(column_types=dict.fromkeys(sheet.header, pa.string()), strings_can_be_null=False),
        ).combine_chunks()
    except pa.ArrowInvalid:
        return None


def _times(cells: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds, and where it takes a closer look."""
    texts = cells.to_pylist()
    numeric = np.asarray(pc.match_substring_regex(cells, NUMBER))
    if numeric.any():
        return np.zeros(len(texts), dtype=np.int64), np.ones(len(texts), dtype=bool)
    times, ok = parse_times(texts)
    return times, ~ok


def _numbers(cells: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, where there is one, and where it takes a closer look; other texts are left out."""
    numeric = pc.match_substring_regex(cells, NUMBER)
    is_number = np.asarray(numeric)
    values = np.asarray(pc.cast(pc.if_else(numeric, cells, "0"), pa.float64())) + 0.0
    strange = ~np.isfinite(values) | (np.abs(values) >= EXACT_INTEGER)
    if not is_number.all():
        texts = cells.filter(pc.invert(numeric)).unique().to_pylist()
        doubtful = [text for text in texts if text and read_number(text) is not None]  # nan, or spaces around it
        if doubtful:
            strange |= np.asarray(pc.is_in(cells, pa.array(doubtful)))
    return values, is_number, strange


def _frame(sheet: Sheet, column: PayloadColumn, of: np.ndarray) -> pd.DataFrame:
    """What readings have of their message. `of`: its place in the sheet, for each of them."""
    # The place of a reading in its message: readings before it, less those of the messages before.
    ordinals = np.arange(len(of)) - np.searchsorted(of, np.arange(len(sheet.places)))[of]
    nothing = np.full(len(of), None, dtype=object)
    columns = {
        "message": sheet.places[of],
        "ordinal": ordinals,
        "work_unit": _captured("work_unit", column, sheet.places)[of],
        "sensor": _captured("sensor", column, sheet.places)[of],
        "text": nothing,
        "unit": nothing,
        "quality": np.zeros(len(of), dtype=np.int8),
    }
    # Held to object: pandas would make its own strings of them.
    return pd.DataFrame({name: pd.Series(entries, dtype=entries.dtype) for name, entries in columns.items()})


def _captured(name: str, column: PayloadColumn, places: np.ndarray) -> np.ndarray:
    names = np.full(len(column), None, dtype=object)
    if len(column) and name in column.captures[0]:  # all are of one route
        names[:] = list(map(itemgetter(name), column.captures))
    taken: np.ndarray = names[places]
    return taken
