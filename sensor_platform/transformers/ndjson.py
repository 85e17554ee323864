"""NDJSON: a document of JSON a line, each read and refused by itself."""

from itertools import count
from typing import TYPE_CHECKING, Any

from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform.transformers.json import Unreadable, has_long_integers, in_utf8, parse
from sensor_platform.transformers.mapping import DocumentOptions
from sensor_platform.transformers.options import options_of
from sensor_platform.transformers.registry import transformer
from sensor_platform.transformers.table import ReadingTable

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route


@transformer("ndjson", version="1", columns=True, options=DocumentOptions)
def decode_ndjson(column: PayloadColumn, route: "Route") -> Decoded:
    table = _tabulate(column, route)
    if doubtful := table.doubtful_messages():
        table = _tabulate(column, route, exactly=frozenset(doubtful))
    return table.finish()


def _tabulate(column: PayloadColumn, route: "Route", *, exactly: frozenset[int] = frozenset()) -> ReadingTable:
    options = options_of(route, DocumentOptions)
    table = ReadingTable(column, route, mapper=options.mapper)
    for message, payload in enumerate(map(in_utf8, column.payloads)):
        lines = [(number, line) for number, line in zip(count(1), payload.split(b"\n"), strict=False) if line.strip()]
        if not lines:
            table.refuse(message, "empty_payload", "the payload has no line")
        is_exact = message in exactly or (options.scales and has_long_integers(payload))
        ordinal = 0
        for number, line in lines:
            ordinal = _add_line(table, message, ordinal, number, parse(line, exactly=is_exact))
    return table


def _add_line(table: ReadingTable, message: int, ordinal: int, number: int, document: Any) -> int:
    if type(document) is Unreadable:
        table.refuse(message, document.code, f"line {number}: {document.detail}", ordinal=ordinal)
        return ordinal + 1
    return table.add_document(message, document, ordinal=ordinal)
