"""The schema as the database itself describes it: tables and views with their columns, from PostgreSQL's own comments.

`docs/schema.md` is what `markdown` makes of a database of this version.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import sqlalchemy as sa

from sensor_platform.database.raw import statement

KINDS = {"v": "view", "r": "table", "p": "table"}


@dataclass(frozen=True, slots=True)
class Column:
    """`type` in PostgreSQL's words."""

    name: str
    type: str
    nullable: bool
    comment: str | None


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or a view, without its partitions."""

    name: str
    kind: str
    comment: str | None
    columns: tuple[Column, ...]


def describe(connection: sa.Connection) -> list[Relation]:
    """Every view, then every table of the schema `sensor_platform`, each by name."""
    rows = connection.execute(statement(__package__, "describe")).all()
    return [
        Relation(name, KINDS[kind], comment, tuple(Column(*row[3:]) for row in of_relation))
        for (kind, name, comment), of_relation in groupby(rows, key=lambda row: tuple(row[:3]))
    ]


def markdown(relations: list[Relation]) -> str:
    """A page with a table of columns for each relation."""
    return "\n".join(_lines(relations)) + "\n"


def _lines(relations: list[Relation]) -> Iterator[str]:
    for kind, of_kind in groupby(relations, key=lambda one: one.kind):
        yield from ("", f"## {kind.capitalize()}s")
        for relation in of_kind:
            yield from ("", f"### `{relation.name}`", "")
            if relation.comment:
                yield from (f"{relation.comment}.", "")
            yield from ("| column | type | null | meaning |", "| --- | --- | --- | --- |")
            for column in relation.columns:
                null = "yes" if column.nullable else ""
                yield f"| `{column.name}` | {column.type} | {null} | {_cell(column.comment)} |"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")
