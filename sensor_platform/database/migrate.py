"""Brings a database to the newest tables. Every process that needs them calls `upgrade`: one lock makes that safe.

Alembic keeps its version in our schema, since Dagster's own Alembic uses the default place in `public`.
"""

import re
from datetime import datetime
from typing import Any

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.dialects.postgresql import insert

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.database.tables import SCHEMA, OneByte, installation
from sensor_platform.errors import TablesBusyError

#: That a migration waits for a table, unless it sets another one itself.
LOCK_TIMEOUT_MS = 10_000

_PARTITION = re.compile(r"(metric|metrics_minute|metrics_hourly)_\d{4}_\d{2}")


def upgrade(database: Database) -> None:
    """Makes or upgrades every table of ours, and notes the hour of installation once.

    Raises:
        TablesBusyError: somebody has a table that is to be changed; nothing was.
    """
    try:
        _upgrade(database)
    except sa.exc.OperationalError as err:
        if not isinstance(err.orig, psycopg.errors.LockNotAvailable):
            raise
        raise TablesBusyError(_told(err)) from err


def _told(err: sa.exc.OperationalError) -> str:
    statement = " ".join((err.statement or "").split())[:120]
    return (
        "the tables cannot be upgraded, and stay as they are: somebody has had one of them for longer than "
        f"{LOCK_TIMEOUT_MS} ms ({statement}). Wait for that query or end it, pg_stat_activity shows it, then try again"
    )


def _upgrade(database: Database) -> None:
    with database.begin() as connection:
        locks.take(connection, locks.MIGRATION)
        # Not CREATE SCHEMA IF NOT EXISTS: that asks for the right to create one even where it is there.
        if not sa.inspect(connection).has_schema(SCHEMA):
            connection.execute(sa.schema.CreateSchema(SCHEMA))
        command.upgrade(alembic_config(connection), "head")
        hour = sa.func.date_trunc("hour", sa.func.now(), "UTC")
        connection.execute(insert(installation).values(first_hour=hour).on_conflict_do_nothing())


def first_hour(database: Database) -> datetime:
    """The received hour in which this database was installed: the hourly partitions start there, for ever."""
    with database.connect() as connection:
        hour: datetime = connection.execute(sa.select(installation.c.first_hour)).scalar_one()
    return hour


def compare_options() -> dict[str, Any]:
    """What Alembic is to look at: our schema, without the partitions that loads make on demand."""

    def include_name(name: str | None, kind: str, _parents: object) -> bool:
        if kind == "schema":
            return name == SCHEMA
        return kind != "table" or _PARTITION.fullmatch(name or "") is None

    def is_other_type(_context: object, _column: object, _ours: object, found: object, ours: object) -> bool | None:
        # SQLAlchemy reads back a text of one character.
        return not isinstance(found, sa.String) if isinstance(ours, OneByte) else None

    return {
        "version_table_schema": SCHEMA,
        "include_schemas": True,
        "include_name": include_name,
        "compare_server_default": True,
        "compare_type": is_other_type,
    }


def alembic_config(connection: sa.Connection) -> Config:
    """For Alembic's commands, which then run on this connection, in its transaction."""
    config = Config()
    config.set_main_option("script_location", "sensor_platform.database:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
