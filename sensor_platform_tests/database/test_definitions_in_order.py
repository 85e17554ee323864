"""Definitions that stood before they carried their place in received order have it after the migration."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from sensor_platform.database.engine import Database
from sensor_platform.database.migrate import alembic_config, upgrade
from sensor_platform.database.migrations import versions
from sensor_platform.database.tables import SCHEMA
from sensor_platform_tests.pipeline.staged import rows


@pytest.fixture
def before(database_url: str) -> Iterator[Database]:
    """A database as it was before that migration."""
    (path,) = Path(versions.__path__[0]).glob("*_definitions_in_order.py")
    earlier = import_module(f"{versions.__name__}.{path.stem}").down_revision
    with Database(database_url) as database:
        with database.begin() as connection:
            connection.execute(sa.schema.CreateSchema(SCHEMA))
            command.upgrade(alembic_config(connection), earlier)
        yield database


def test_they_have_the_place_of_their_micro_batch(before: Database) -> None:
    zeros = ", ".join(["0"] * 11)
    with before.begin() as connection:
        for name, minute in (("a-1", 1), ("a-2", 0)):
            connection.execute(
                sa.text(
                    "INSERT INTO sensor_platform.ledger (name, hour, first_received_at, last_received_at,"
                    " route_versions, transformer_versions, staged, accepted, partial, dead_lettered, duplicate,"
                    " ignored, decoded, inserted, duplicate_readings, refused, conflicts)"
                    " VALUES (:name, '2026-01-01Z', :at, :at, '{}', '{}', " + zeros + ")"
                ),
                {"name": name, "at": f"2026-01-01 00:0{minute}Z"},
            )
        connection.execute(sa.text("INSERT INTO sensor_platform.definition_content VALUES ('x', '{}')"))
        connection.execute(
            sa.text(
                "INSERT INTO sensor_platform.definition (format, key, micro_batch, sequence, content)"
                " SELECT 'f', 'k', id, sequence, 'x' FROM sensor_platform.ledger, generate_series(1, 2) AS sequence"
            )
        )
    upgrade(before)
    found = (
        "SELECT name, to_char(first_received_at, 'MI'), sequence FROM definition ORDER BY first_received_at, sequence"
    )
    assert rows(before, found) == [("a-2", "00", 1), ("a-2", "00", 2), ("a-1", "01", 1), ("a-1", "01", 2)]
