"""CSV with a header: each row is read as the JSON object whose names are the header's."""

import csv
import io
from typing import TYPE_CHECKING, Any

from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform.transformers.numbers import read_number, shown
from sensor_platform.transformers.registry import transformer
from sensor_platform.transformers.table import ReadingTable

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route

#: Beside a `value` these are words, also where they read as a number: a metric may be called 1.
WORDS = ("metric", "unit", "quality")


@transformer("csv", version="1", columns=True)
def decode_csv(column: PayloadColumn, route: "Route") -> Decoded:
    table = ReadingTable(column, route)
    for message, payload in enumerate(column.payloads):
        _add_payload(table, message, payload)
    return table.finish()


def _add_payload(table: ReadingTable, message: int, payload: bytes) -> None:
    if not payload:
        return table.refuse(message, "empty_payload", "the payload has no bytes")
    try:
        text = payload.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        return table.refuse(message, "invalid_encoding", f"byte {err.start} is not valid UTF-8")
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter(text), strict=True) if row]
    except csv.Error as err:
        return table.refuse(message, "invalid_csv", str(err))
    header = [name.strip() for name in rows[0]] if rows else []
    if not all(header) or len(set(header)) < len(header):
        return table.refuse(message, "invalid_csv", f"the header has an empty or a repeated name: {shown(text[:80])}")
    return _add_rows(table, message, header, rows[1:])


def delimiter(text: str) -> str:
    """`,` or `;`, whichever the header has more of."""
    header = text.split("\n", 1)[0]
    return ";" if header.count(";") > header.count(",") else ","


def _add_rows(table: ReadingTable, message: int, header: list[str], rows: list[list[str]]) -> None:
    words = WORDS if "value" in header else ()
    ordinal = 0
    for number, row in enumerate(rows, start=1):
        if len(row) == len(header):
            cells = {
                name: cell if name in words else _cell(cell) for name, cell in zip(header, row, strict=True) if cell
            }
            ordinal = table.add_object(message, ordinal, cells)
        else:
            detail = f"row {number} has {len(row)} cells, the header {len(header)}"
            table.refuse(message, "invalid_csv", detail, ordinal=ordinal)
            ordinal += 1


def _cell(cell: str) -> Any:
    number = read_number(cell)
    return cell if number is None else number
