"""Column schemas for the UI, taken from where columns are defined: the tables, with their types and comments."""

from collections.abc import Mapping

import sqlalchemy as sa
from dagster import TableColumn, TableColumnConstraints, TableSchema
from sqlalchemy.dialects import postgresql

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def column_schema(table: sa.Table, told: Mapping[str, str] | None = None) -> TableSchema:
    """What the UI shows under "Columns" of an asset that is this table; `told`: columns of which more is to be said."""
    return TableSchema(columns=[_column(column, (told or {}).get(column.name)) for column in table.columns])


def table_metadata(table: sa.Table, told: Mapping[str, str] | None = None) -> dict[str, object]:
    """Dagster's own keys for an asset that is a table: its columns and its name."""
    return {"dagster/column_schema": column_schema(table, told), "dagster/table_name": table.fullname}


def _column(column: sa.Column[object], told: str | None) -> TableColumn:
    return TableColumn(
        name=column.name,
        type=column.type.compile(dialect=_DIALECT).lower(),
        description=told or column.comment,
        constraints=TableColumnConstraints(nullable=bool(column.nullable), unique=bool(column.unique)),
    )
