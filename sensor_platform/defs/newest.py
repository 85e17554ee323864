"""The newest rows of a table in the metadata of its newest materialization: few columns, so that a page shows all."""

from collections.abc import Mapping, Sequence
from typing import Any

from dagster import MetadataValue

from sensor_platform.defs.markdown import table_entry

#: Shown as they stand: a text of more than a thousand characters hides behind a link.
NEWEST = 8
NEWEST_LETTERS = 5
NAME = "newest_rows"

Rows = Sequence[Mapping[str, Any]]
Entry = dict[str, MetadataValue]


def readings_entry(rows: Rows) -> Entry:
    return table_entry(NAME, [{"time": row["time"], "series": _series(row), "value": _value(row)} for row in rows])


def letters_entry(rows: Rows) -> Entry:
    columns = ("id", "received_at", "code", "detail")
    return table_entry(NAME, [{column: row[column] for column in columns} for row in rows])


def rollups_entry(rows: Rows) -> Entry:
    figures = ("count", "min", "mean", "max", "unit")
    return table_entry(
        NAME, [{"bucket": row["bucket"], "series": _series(row), **{f: row[f] for f in figures}} for row in rows]
    )


def _series(row: Mapping[str, Any]) -> str:
    return f"{row['work_unit']}/{row['sensor']} {row['metric']}"


def _value(row: Mapping[str, Any]) -> str:
    value = f"{row['value']:.7g}" if row["text"] is None else row["text"]
    quality = "" if row["quality"] == "good" else f" ({row['quality']})"
    return f"{value} {row['unit'] or ''}".rstrip() + quality
