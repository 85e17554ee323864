"""How commands answer: data on stdout as one JSON value or a table, words on stderr."""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Characters of a line in a file or a pipe.
WIDTH = 1000


def emit_json(value: object) -> None:
    """Prints `value` as the one JSON value of a command."""
    sys.stdout.write(json.dumps(_plain(value), ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def print_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Prints `rows` as a table; whole and without colours where stdout is not a terminal."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Text, not markup: a payload may hold square brackets.
        table.add_row(*(Text(shown(row.get(column))) for column in columns))
    console = Console(file=sys.stdout)
    if not console.is_terminal:
        console.width = WIDTH  # print(width=...) would not go past that of the console
    console.print(table, crop=False)


def shown(value: object) -> str:
    """`value` for a person."""
    if value is None:
        return ""
    return iso(value) if isinstance(value, datetime) else str(value)


def iso(at: datetime) -> str:
    """ISO 8601 in UTC, with a Z."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _plain(value: object) -> object:
    """`value` in JSON's own types. JSON has no NaN nor infinities: they become strings, as PostgreSQL writes them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if isinstance(value, datetime):
        return iso(value)
    return value
