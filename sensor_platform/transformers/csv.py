"""CSV: each row is read as the JSON object whose names are the header's."""

import csv
import io
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import AfterValidator

from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform.transformers.csv_columns import read, sheets
from sensor_platform.transformers.mapping import DocumentOptions
from sensor_platform.transformers.numbers import read_number, shown
from sensor_platform.transformers.options import options_of
from sensor_platform.transformers.registry import transformer
from sensor_platform.transformers.table import ReadingTable

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route

#: Beside a `value` these are words, also where they read as a number: a metric may be called 1.
WORDS = ("metric", "unit", "quality")


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or not all(names) or len(set(names)) < len(names):
        raise ValueError("columns have names, each its own")
    return names


class CsvOptions(DocumentOptions):
    """columns: their names, where the payload has no header. delimiter: left out, `,` or `;` is found from the header.

    decimal: what stands before the fraction of a number.
    """

    columns: Annotated[tuple[str, ...], AfterValidator(_distinct)] | None = None
    delimiter: Literal[",", ";", "\t", "|"] | None = None
    decimal: Literal[".", ","] = "."


@transformer("csv", version="1", columns=True, options=CsvOptions)
def decode_csv(column: PayloadColumn, route: "Route") -> Decoded:
    options = options_of(route, CsvOptions)
    if options.model_fields_set:
        return _row_by_row(column, route, options)
    return _column_wise(column, route, options)


def _column_wise(column: PayloadColumn, route: "Route", options: CsvOptions) -> Decoded:
    """The usual kind in columns, what is left over row by row."""
    left_over = np.ones(len(column), dtype=bool)
    frames = []
    for sheet in sheets(column.payloads, lambda header: delimiter(header.decode("latin-1"))):
        frame, odd = read(sheet, column)
        frames.append(frame)
        left_over[sheet.places] = False
        left_over[odd] = True
    places = np.flatnonzero(left_over)
    if len(places) == 0 and len(frames) == 1:
        return Decoded(frames[0])
    rest = _row_by_row(column.take(places), route, options).moved(places)
    # In received order, as if every message had gone the same way.
    readings = pd.concat([*(frame for frame in frames if len(frame)), rest.readings], ignore_index=True)
    order = np.lexsort((readings["ordinal"].to_numpy(), readings["message"].to_numpy()))
    return Decoded(readings.take(order).reset_index(drop=True), rest.refusals)


def _row_by_row(column: PayloadColumn, route: "Route", options: CsvOptions) -> Decoded:
    table = ReadingTable(column, route, mapper=options.mapper)
    for message, payload in enumerate(column.payloads):
        _add_payload(table, message, payload, options)
    return table.finish()


def _add_payload(table: ReadingTable, message: int, payload: bytes, options: CsvOptions) -> None:
    if not payload:
        return table.refuse(message, "empty_payload", "the payload has no bytes")
    try:
        text = payload.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        return table.refuse(message, "invalid_encoding", f"byte {err.start} is not valid UTF-8")
    between = options.delimiter or delimiter(text)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=between, strict=True) if row]
    except csv.Error as err:
        return table.refuse(message, "invalid_csv", str(err))
    if options.columns is not None:
        return _add_rows(table, message, list(options.columns), rows, options)
    header = [name.strip() for name in rows[0]] if rows else []
    if not all(header) or len(set(header)) < len(header):
        return table.refuse(message, "invalid_csv", f"the header has an empty or a repeated name: {shown(text[:80])}")
    return _add_rows(table, message, header, rows[1:], options)


def delimiter(text: str) -> str:
    """`,` or `;`, whichever the header has more of."""
    header = text.split("\n", 1)[0]
    return ";" if header.count(";") > header.count(",") else ","


def _add_rows(table: ReadingTable, message: int, header: list[str], rows: list[list[str]], options: CsvOptions) -> None:
    words = WORDS if "value" in header else ()
    ordinal = 0
    for number, row in enumerate(rows, start=1):
        if len(row) == len(header):
            cells = {
                name: cell if name in words else _cell(cell, options.decimal)
                for name, cell in zip(header, row, strict=True)
                if cell
            }
            ordinal = table.add_row(message, ordinal, cells)
        else:
            detail = f"row {number} has {len(row)} cells, the header {len(header)}"
            table.refuse(message, "invalid_csv", detail, ordinal=ordinal)
            ordinal += 1


def _cell(cell: str, decimal: str) -> Any:
    number = read_number(cell if decimal == "." else cell.replace(",", "."))
    return cell if number is None else number
