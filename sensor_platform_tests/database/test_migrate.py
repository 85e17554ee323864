"""The migration gives the tables of `tables.py`, to a plain role, however many processes ask at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg import sql

from sensor_platform.database.engine import Database
from sensor_platform.database.migrate import compare_options, first_hour, upgrade
from sensor_platform.database.migrations import versions
from sensor_platform.database.tables import metadata
from sensor_platform_tests.pipeline.staged import rows


def test_the_migrated_schema_is_that_of_the_tables(database: Database) -> None:
    options = compare_options()
    schema = options.pop("version_table_schema")
    with database.connect() as connection:
        context = MigrationContext.configure(connection, opts={**options, "version_table_schema": schema})
        assert compare_metadata(context, metadata) == []
        inspector = sa.inspect(connection)
        for table in metadata.tables.values():
            ours = {str(c.name) for c in table.constraints if isinstance(c, sa.CheckConstraint)}
            assert {c["name"] for c in inspector.get_check_constraints(table.name, table.schema)} == ours


def test_partitioned_by_time_and_indexed_for_its_queries(database: Database) -> None:
    found = rows(
        database, "SELECT indexdef FROM pg_indexes WHERE schemaname = 'sensor_platform' AND tablename = 'metric'"
    )
    assert sorted(definition.split(" USING ")[1] for (definition,) in found) == [
        "brin (\"time\") WITH (autosummarize='on')",
        "brin (micro_batch)",
        "btree (series, \"time\") WITH (fillfactor='95')",
    ]
    assert rows(database, "SELECT pg_get_partkeydef('sensor_platform.metric'::regclass)") == [('RANGE ("time")',)]


def test_several_processes_may_upgrade_at_once_and_again(database_url: str) -> None:
    with Database(database_url) as database:
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(upgrade, database) for _ in range(4)]:
                done.result(timeout=60)
        upgrade(database)
        newest = max(path.name[:4] for path in Path(versions.__path__[0]).glob("0*.py"))
        assert rows(database, "SELECT version_num FROM alembic_version") == [(newest,)]
        assert rows(database, "SELECT count(*) FROM installation") == [(1,)]


def test_the_hour_of_installation_is_kept(database_url: str) -> None:
    with Database(database_url) as database:
        before = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        upgrade(database)
        assert before <= first_hour(database) <= datetime.now(UTC)
        assert first_hour(database).minute == 0
        with database.begin() as connection:
            connection.execute(sa.text("UPDATE sensor_platform.installation SET first_hour = '2020-01-01 05:00Z'"))
        upgrade(database)
        assert first_hour(database) == datetime(2020, 1, 1, 5, tzinfo=UTC)


def test_public_is_left_to_dagster(database: Database) -> None:
    assert rows(database, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []


def test_a_plain_role_that_owns_nothing_but_the_database_is_enough(database_url: str) -> None:
    name = urlsplit(database_url).path.lstrip("/")
    role = f"plain_{name}"
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'secret'").format(sql.Identifier(role)))
        grant = sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(sql.Identifier(name), sql.Identifier(role))
        admin.execute(grant)
        parts = urlsplit(database_url)
        address = (parts.netloc.rpartition("@")[2]) or ""
        url = urlunsplit(parts._replace(netloc=f"{role}:secret@{address}"))
        with Database(url) as database:
            upgrade(database)
            upgrade(database)
            owners = rows(database, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'sensor_platform'")
        assert owners == [(role,)]
        admin.execute(sql.SQL("DROP OWNED BY {}; DROP ROLE {}").format(sql.Identifier(role), sql.Identifier(role)))


@pytest.mark.parametrize("statement", ["UPDATE ledger SET accepted = 1", "UPDATE ledger SET inserted = 1"])
def test_the_database_itself_refuses_a_ledger_row_that_does_not_add_up(database: Database, statement: str) -> None:
    zeros = ", ".join(["0"] * 11)
    insert = f"""
        INSERT INTO ledger (name, hour, first_received_at, last_received_at, route_versions, transformer_versions,
            staged, accepted, partial, dead_lettered, duplicate, ignored,
            decoded, inserted, duplicate_readings, refused, conflicts)
        VALUES ('a', now(), now(), now(), '{{}}', '{{}}', {zeros})"""
    with database.connect() as connection:
        connection.execute(sa.text("SET search_path TO sensor_platform"))
        connection.execute(sa.text(insert))
        with pytest.raises(sa.exc.IntegrityError, match=r"ledger_(messages|readings)_check"):
            connection.execute(sa.text(statement))
