"""Tables in the metadata of assets and runs, as Markdown: small, and safe from what stands in their cells."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from dagster import MetadataValue

MOST_ROWS = 10
LONGEST_CELL = 80


def markdown_table(rows: Sequence[Mapping[str, object]], *, most: int = MOST_ROWS) -> str:
    """A table of the first rows; cells are shortened, and cannot break out of their row. Columns without a value go."""
    if not rows:
        return ""
    header = [name for name in rows[0] if any(row.get(name) is not None for row in rows)] or list(rows[0])
    lines = [header, ["---"] * len(header), *([_cell(row.get(name)) for name in header] for row in rows[:most])]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def table_entry(name: str, rows: Sequence[Mapping[str, object]]) -> dict[str, MetadataValue]:
    """Metadata that is a table, or none where there are no rows."""
    return {name: MetadataValue.md(markdown_table(rows))} if rows else {}


def figures_table(figures: Mapping[str, object]) -> str:
    """Names and values, one below the other. Not numbers of their own: Dagster would plot each."""
    return markdown_table(
        [{"figure": name, "value": _grouped(value)} for name, value in figures.items()], most=len(figures)
    )


def _grouped(value: object) -> object:
    return f"{value:,}" if isinstance(value, int) else value


def _cell(value: object) -> str:
    text = _text(value)
    text = text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("`", "'").replace("<", "&lt;").replace("\n", " ")


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case datetime():
            at = value.astimezone(UTC)
            to_the_minute = at == at.replace(second=0, microsecond=0)
            return (f"{at:%Y-%m-%d %H:%M}" if to_the_minute else f"{at:%Y-%m-%d %H:%M:%S.%f}"[:-3]) + "Z"
        case float():
            return f"{value:.7g}"
        case _:
            return str(value)
