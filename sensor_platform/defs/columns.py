"""Column schemas for the UI, taken from where columns are defined: the tables, with their types and comments."""

import sqlalchemy as sa
from dagster import TableColumn, TableColumnConstraints, TableSchema
from sqlalchemy.dialects import postgresql

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def column_schema(table: sa.Table) -> TableSchema:
    """What the UI shows under "Columns" of an asset that is this table."""
    return TableSchema(columns=[_column(column) for column in table.columns])


def table_metadata(table: sa.Table) -> dict[str, object]:
    """Dagster's own keys for an asset that is a table: its columns and its name."""
    return {"dagster/column_schema": column_schema(table), "dagster/table_name": table.fullname}


def _column(column: sa.Column[object]) -> TableColumn:
    return TableColumn(
        name=column.name,
        type=column.type.compile(dialect=_DIALECT).lower(),
        description=column.comment,
        constraints=TableColumnConstraints(nullable=bool(column.nullable), unique=bool(column.unique)),
    )
