"""The psycopg connection beneath SQLAlchemy's, for what Core has no words for: COPY and composed identifiers."""

from importlib.resources import files
from typing import Any, LiteralString, cast

import psycopg
import sqlalchemy as sa


def cursor(connection: sa.Connection) -> psycopg.Cursor[Any]:
    """A psycopg cursor in the transaction of `connection`."""
    driver = connection.connection.driver_connection
    return cast("psycopg.Connection[Any]", driver).cursor()


def statement(package: str, name: str) -> sa.TextClause:
    """The statement in `sql/<name>.sql` of `package`."""
    return sa.text(text(package, name))


def text(package: str, name: str) -> LiteralString:
    """The same as it is written, for psycopg's own placeholders: `{names}` to compose, `%(values)s` to pass."""
    return files(package).joinpath("sql", f"{name}.sql").read_text("utf-8")
