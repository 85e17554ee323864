"""Each role may do its part and nothing else: real processes and loads, connected as that role."""

import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from sensor_platform.database.engine import Database
from sensor_platform.database.migrate import upgrade
from sensor_platform.database.roles import Part, grant
from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform.errors import ConfigurationError
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.read_out import read_arrow
from sensor_platform.pipeline.rollups import changed_days, roll_up
from sensor_platform_tests.faults.conftest import own_broker
from sensor_platform_tests.faults.plant import Plant
from sensor_platform_tests.pipeline.staged import HOUR, load, new_staging, rows, stage, value

__all__ = ["own_broker"]  # a fixture

As = Callable[[Part], Database]


@pytest.fixture
def connected_as(database: Database) -> Iterator[As]:
    """The same database through a new role that has the rights of a part."""
    made: list[tuple[str, Database]] = []

    def connect(part: Part) -> Database:
        role = f"{part}_{secrets.token_hex(4)}"
        with psycopg.connect(database.url, autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'secret'").format(sql.Identifier(role)))
        with database.begin() as connection:
            grant(connection, role, part)
            grant(connection, role, part)
        parts = urlsplit(database.url)
        address = parts.netloc.rpartition("@")[2]
        made.append((role, Database(urlunsplit(parts._replace(netloc=f"{role}:secret@{address}")))))
        return made[-1][1]

    yield connect
    for role, own in made:
        own.dispose()
        with psycopg.connect(database.url, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP OWNED BY {}; DROP ROLE {}").format(*[sql.Identifier(role)] * 2))


def refused(database: Database, statement: str) -> bool:
    """Whether PostgreSQL denies it; nothing of it stays."""
    with database.connect() as connection:
        connection.execute(sa.text("SET search_path TO sensor_platform"))
        try:
            connection.execute(sa.text(statement))
        except sa.exc.ProgrammingError as err:
            return "permission denied" in str(err) or "must be owner" in str(err)
    return False


def test_a_reader_sees_everything_and_changes_nothing(database: Database, connected_as: As, tmp_path: Path) -> None:
    reader = connected_as(Part.READER)
    staging = new_staging(tmp_path)
    # A month of its own: its partition is made after the grant.
    stage(staging, "c-1", [value(n, HOUR - timedelta(days=900, seconds=n)) for n in range(5)])
    load(staging, database)
    assert read_arrow(reader, sensor="p1").num_rows == 5
    assert rows(reader, "SELECT count(*) FROM metric") == [(5,)]
    for statement in (
        "DELETE FROM metric",
        "UPDATE sensor SET description = 'mine'",
        "INSERT INTO subscription (filter, added_by) VALUES ('#', 'me')",
        "TRUNCATE ledger",
        "CREATE TABLE mine (id integer)",
        "DROP VIEW reading",
    ):
        assert refused(reader, statement), statement


@pytest.mark.slow
def test_a_collector_tells_how_it_stands_and_sees_no_readings(
    own_broker: EmbeddedBroker, home: Path, database: Database, connected_as: As
) -> None:
    collector_role = connected_as(Part.COLLECTOR)
    plant = Plant(own_broker, home, "roles", database_url=collector_role.url)
    with plant.collecting() as collector:
        plant.publish(20)
        plant.wait_staged()
        assert plant.wait_for_witness(collector)[0] >= 20
    assert rows(database, "SELECT event FROM collector_connection ORDER BY id")[0] == ("connected",)
    for statement in ("SELECT FROM metric", "SELECT FROM dead_letter_message", "DELETE FROM subscription"):
        assert refused(collector_role, statement), statement


def test_a_loader_loads_again_and_rolls_up_but_changes_no_table(
    database: Database, connected_as: As, tmp_path: Path
) -> None:
    loader = connected_as(Part.LOADER)
    upgrade(loader)  # as every process does; there is nothing to do
    staging = new_staging(tmp_path)
    months = [HOUR - timedelta(days=31 * n) for n in range(4)]
    stage(staging, "c-1", [value(n, at) for n, at in enumerate(months)] + [value("N/A")])
    load(staging, loader)
    load(staging, loader, mode=Mode.AGAIN)
    for day in changed_days(loader):
        roll_up(loader, first=day, last=day)
    assert mismatches(loader) == []
    assert rows(loader, "SELECT count(*) FROM metrics_daily") == [(4,)]
    for statement in (
        "ALTER TABLE metric ADD COLUMN mine integer",
        "DROP TABLE ledger",
        "UPDATE collector_heartbeat SET state = 'collecting'",
        "UPDATE alembic_version SET version_num = '0001'",
        "CREATE TABLE mine (id integer)",
    ):
        assert refused(loader, statement), statement


def test_a_role_that_is_not_there_or_owns_the_tables_is_refused(database: Database) -> None:
    with database.begin() as connection:
        with pytest.raises(ConfigurationError, match='there is no role "nobody_here"'):
            grant(connection, "nobody_here", Part.READER)
        owner = urlsplit(database.url).username or ""
        with pytest.raises(ConfigurationError, match="no right can be withheld"):
            grant(connection, owner, Part.READER)


def test_what_the_owner_makes_later_is_covered_whoever_granted(database: Database) -> None:
    owner, reader = (f"{name}_{secrets.token_hex(4)}" for name in ("owner", "reader"))
    with database.connect() as connection:  # nothing of it stays
        connection.execute(sa.text(f"CREATE ROLE {owner}; CREATE ROLE {reader}"))
        connection.execute(sa.text(f"ALTER SCHEMA sensor_platform OWNER TO {owner}"))
        grant(connection, reader, Part.READER)
        connection.execute(sa.text(f"SET LOCAL ROLE {owner}"))
        connection.execute(sa.text("CREATE TABLE sensor_platform.of_a_later_version (id integer)"))
        allowed = "SELECT has_table_privilege(:reader, 'sensor_platform.of_a_later_version', 'SELECT')"
        assert connection.execute(sa.text(allowed), {"reader": reader}).scalar_one()
