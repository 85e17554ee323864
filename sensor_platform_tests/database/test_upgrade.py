"""A database that was populated with the first version of the tables, brought forward step by step: nothing is lost."""

import math
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory
from psycopg import sql

from sensor_platform.database import migrate
from sensor_platform.database.engine import Database
from sensor_platform.database.partitions import make_partitions
from sensor_platform.database.tables import metric
from sensor_platform.errors import TablesBusyError
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.pipeline.committed import read_rows
from sensor_platform.pipeline.mode import Mode
from sensor_platform_tests.database.plant_of_0001 import staged
from sensor_platform_tests.pipeline.staged import HOUR, load, routes, rows

#: In words of the first version: value, text, quality, timed by receipt.
EVERY_KIND: list[tuple[float | None, str | None, int, bool]] = [
    (1.5, None, 0, False),
    (2.5, None, 1, True),
    (-0.0, None, 2, False),
    (math.nan, None, 0, True),
    (math.inf, None, 0, False),
    (None, "warm", 0, False),
    (None, "", 0, False),
    (None, "", 2, True),
    (float(2**53), str(2**53 + 1), 0, False),
]
#: What people and programs may rely on, whatever the version.
READINGS = (
    "SELECT work_unit, sensor, metric, time, value::text, text, unit, quality FROM reading ORDER BY 1, 2, 3, 4, 5, 6"
)
LEDGER = """
    SELECT name, staged, accepted, partial, dead_lettered, duplicate, ignored, decoded, inserted, duplicate_readings,
           refused, conflicts FROM ledger ORDER BY name"""
LETTERS = "SELECT micro_batch, sequence, ordinal, state, stage, code, attempts, closed_by FROM dead_letter ORDER BY id"
ROLLUPS = "SELECT series, bucket, count, min, max, sum FROM metrics_hourly ORDER BY 1, 2"


@pytest.fixture
def old(database_url: str) -> Iterator[Database]:
    """The database as version 0001 left it."""
    dump = files("sensor_platform_tests.database").joinpath("written_by_0001.sql").read_text("utf-8")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(dump.encode())
    with Database(database_url) as database:
        yield database


def stands(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    queries = {"readings": READINGS, "ledger": LEDGER, "letters": LETTERS, "rollups": ROLLUPS}
    return {name: rows(database, query) for name, query in queries.items()}


def test_each_step_keeps_what_stands(old: Database) -> None:
    before = stands(old)
    assert [len(found) for found in before.values()] == [140, 3, 6, 8]
    for revision in _revisions():
        with old.begin() as connection:
            command.upgrade(migrate.alembic_config(connection), revision)
        assert stands(old) == before, revision
    assert mismatches(old) == []


def test_what_was_staged_then_can_be_told_again_now(old: Database, tmp_path: Path) -> None:
    staging = staged(tmp_path)
    before = stands(old)
    migrate.upgrade(old)
    assert load(staging, old).micro_batches == 0, "the ledger knows them all"
    for hour in (-1, 0, 1):
        load(staging, old, mode=Mode.AGAIN, using=routes(", text: true"), hour=HOUR + timedelta(hours=hour))
    assert mismatches(old) == []
    assert stands(old)["readings"] == before["readings"]


def test_a_table_that_somebody_has_is_not_waited_for_for_ever(old: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stands(old)
    with monkeypatch.context() as patched, old.connect() as reader:
        patched.setattr(migrate, "LOCK_TIMEOUT_MS", 50)
        reader.execute(sa.text("SELECT count(*) FROM sensor_platform.metric"))
        with pytest.raises(TablesBusyError, match=r"longer than 50 ms \(ALTER TABLE sensor_platform\.metric"):
            migrate.upgrade(old)
    assert rows(old, "SELECT version_num FROM alembic_version") == [("0001",)]
    migrate.upgrade(old)
    assert stands(old) == before


def test_unnamed_readings_of_before_are_in_the_unit_of_their_series(old: Database) -> None:
    migrate.upgrade(old)
    found = rows(old, "SELECT DISTINCT unit IS NOT DISTINCT FROM unnamed_unit, unnamed_by FROM series")
    assert found == [(True, None)]


def test_what_retention_had_deleted_is_known_to_be_gone(old: Database) -> None:
    with old.begin() as connection:
        command.upgrade(migrate.alembic_config(connection), "0020")
    with old.begin() as connection:
        connection.execute(sa.text("DROP TABLE sensor_platform.metric_2026_10"))
        connection.execute(sa.text("DELETE FROM sensor_platform.metrics_minute WHERE bucket >= '2026-11-23'"))
    migrate.upgrade(old)
    assert rows(old, "SELECT level, CAST(timezone('UTC', day) AS text) FROM gone_day ORDER BY 1") == [
        ("minute", "2026-11-23 00:00:00"),
        ("raw", "2026-10-14 00:00:00"),
    ]


@pytest.mark.parametrize("table", ["metric", "metric_duplicate"])
def test_readings_of_every_kind_say_what_they_said(old: Database, table: str) -> None:
    with old.begin() as connection:
        connection.execute(sa.text(f"DELETE FROM sensor_platform.{table}"))
        connection.execute(
            sa.text(
                f"INSERT INTO sensor_platform.{table} (time, value, sequence, series, micro_batch, ordinal, quality,"
                " timed_by_receipt, text) VALUES ('2026-10-31 23:55Z'::timestamptz + :n * interval '1 minute', :value,"
                " 2^40 + :n, 5, 1, :n, :quality, :by_receipt, :text)"
            ),
            [
                {"n": n, "value": value, "text": text, "quality": quality, "by_receipt": by_receipt}
                for n, (value, text, quality, by_receipt) in enumerate(EVERY_KIND)
            ],
        )
    for revision in _revisions():
        with old.begin() as connection:
            command.upgrade(migrate.alembic_config(connection), revision)
            if revision == "0006":  # from then on a reading knows the unit that was sent: of the last ones it is noted
                noted = f"""UPDATE sensor_platform.{table} SET source_unit = (ordinal - 4)::"char" WHERE ordinal >= 4"""
                connection.execute(sa.text(noted))
    found = rows(old, f"SELECT sequence, ordinal, timed_by_receipt, source_unit::integer FROM {table} ORDER BY ordinal")
    assert found == [(2**40 + n, n, kind[-1], max(n - 4, -1)) for n, kind in enumerate(EVERY_KIND)]
    assert rows(old, f"SELECT DISTINCT series, micro_batch, time - ordinal * interval '1 minute' FROM {table}") == [
        (5, 1, datetime(2026, 10, 31, 23, 55, tzinfo=UTC))
    ]
    assert rows(old, f"SELECT value::text, text, quality FROM {table} ORDER BY ordinal") == [
        ("1.5", "", "g"),
        ("2.5", "", "u"),
        ("-0", "", "b"),
        ("NaN", "", "g"),
        ("Infinity", "", "g"),
        (None, "warm", "g"),
        (None, "", "g"),
        (None, "", "b"),
        ("9.007199254740992e+15", "9007199254740993", "g"),
    ]
    with old.connect() as connection:
        again = read_rows(connection, sql.SQL("SELECT * FROM sensor_platform.{}").format(sql.Identifier(table)))
    order = np.argsort(again.ordinal)
    told = zip(*(getattr(again, name)[order].tolist() for name in ("value", "text", "quality")), strict=True)
    expected = [(math.nan if value is None else value, text, quality) for value, text, quality, _ in EVERY_KIND]
    assert repr(list(told)) == repr(expected)


def test_views_that_others_made_of_readings_stay(old: Database) -> None:
    query = "SELECT sensor, time, value, text, quality FROM {} ORDER BY 1, 2, 3"
    with old.begin() as connection:
        connection.execute(sa.text("CREATE VIEW public.of_a_plant AS SELECT * FROM sensor_platform.reading"))
    before = rows(old, query.format("public.of_a_plant"))
    migrate.upgrade(old)
    assert rows(old, query.format("public.of_a_plant")) == before
    assert rows(old, query.format("sensor_platform.reading")) == before


def test_rollups_of_every_month_get_partitions(old: Database) -> None:
    role = f"reader_{secrets.token_hex(4)}"
    with old.begin() as connection:
        command.upgrade(migrate.alembic_config(connection), "0024")
        connection.execute(sa.text(f"CREATE ROLE {role}"))
        connection.execute(sa.text(f"GRANT SELECT ON sensor_platform.metrics_minute TO {role}"))
        connection.execute(
            sa.text(
                "CREATE VIEW public.minutes_of_a_plant WITH (security_invoker = true)"
                " AS SELECT * FROM sensor_platform.metrics_minute"
            )
        )
        connection.execute(
            sa.text("UPDATE sensor_platform.metrics_minute SET m2 = 0.1, first = min, area = 0.7 WHERE series = 2")
        )
    try:
        tables = ("metrics_minute", "metrics_hourly", "rollup_minute", "rollup_hour", "public.minutes_of_a_plant")
        before = [rows(old, f"SELECT * FROM {table} ORDER BY series, bucket") for table in tables]
        migrate.upgrade(old)
        assert [rows(old, f"SELECT * FROM {table} ORDER BY series, bucket") for table in tables] == before
        assert all(before)
        assert rows(old, f"SELECT has_table_privilege('{role}', 'metrics_minute', 'SELECT')") == [(True,)]
        options = "SELECT reloptions FROM pg_class WHERE oid = 'public.minutes_of_a_plant'::regclass"
        assert rows(old, options) == [(["security_invoker=true"],)]
    finally:
        with old.begin() as connection:
            connection.execute(sa.text(f"DROP OWNED BY {role}"))
            connection.execute(sa.text(f"DROP ROLE {role}"))
    partitions = "SELECT tableoid::regclass::text, count(*) FROM {} GROUP BY 1 ORDER BY 1"
    assert rows(old, partitions.format("metrics_hourly")) == [
        ("metrics_hourly_2026_10", 1),
        ("metrics_hourly_2026_11", 7),
    ]
    assert [name for name, _ in rows(old, partitions.format("metrics_minute"))] == [
        "metrics_minute_2026_10",
        "metrics_minute_2026_11",
    ]
    left = "SELECT relname FROM pg_class WHERE relname ~ '_whole' OR relname IN ('untied')"
    assert rows(old, left) == []


def test_what_is_loaded_after_it_lies_as_what_was_loaded_before(old: Database) -> None:
    migrate.upgrade(old)
    with old.begin() as connection:
        make_partitions(connection, metric, [(2027, 1)])
    found = rows(
        old,
        "SELECT DISTINCT reloptions FROM pg_class JOIN pg_index ON indexrelid = oid"
        " WHERE indrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'metric'::regclass)"
        " AND pg_get_indexdef(oid) LIKE '%(series, %'",
    )
    assert found == [(["fillfactor=95"],)]
    assert rows(old, "SELECT max(pg_column_size(metric.*)) FROM metric WHERE text = ''") == [(64,)]


def _revisions() -> list[str]:
    """After the first, oldest first."""
    script = ScriptDirectory(str(files("sensor_platform.database").joinpath("migrations")))
    return [step.revision for step in script.walk_revisions()][::-1][1:]
