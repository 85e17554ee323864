"""A month of event time gets its partition when it is first needed, once, whoever asks."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.partitions import make_partitions
from sensor_platform.database.tables import metric, metrics_hourly, metrics_minute
from sensor_platform_tests.pipeline.staged import rows

BOUNDS = """
    SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class
    WHERE relispartition AND relkind = 'r' ORDER BY relname"""


def make(database: Database, *months: tuple[int, int], of: sa.Table = metric) -> None:
    with database.begin() as connection:
        make_partitions(connection, of, months)


def test_each_month_once_the_turn_of_the_year_included(database: Database) -> None:
    make(database, (2026, 12), (2001, 1), (2026, 12))
    make(database, (2026, 12))
    assert rows(database, BOUNDS) == [
        ("metric_2001_01", "FOR VALUES FROM ('2001-01-01 00:00:00+00') TO ('2001-02-01 00:00:00+00')"),
        ("metric_2026_12", "FOR VALUES FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00')"),
    ]


def test_partitions_have_the_indexes_of_the_whole(database: Database) -> None:
    make(database, (2026, 11))
    found = rows(database, "SELECT indexdef FROM pg_indexes WHERE tablename = 'metric_2026_11'")
    assert len(found) == 3


def test_those_of_rollups_are_made_as_those_of_readings(database: Database) -> None:
    make(database, (2026, 11), of=metrics_minute)
    make(database, (2026, 12), of=metrics_hourly)
    assert rows(database, BOUNDS) == [
        ("metrics_hourly_2026_12", "FOR VALUES FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00')"),
        ("metrics_minute_2026_11", "FOR VALUES FROM ('2026-11-01 00:00:00+00') TO ('2026-12-01 00:00:00+00')"),
    ]


@pytest.mark.parametrize("function", ["make_partition", "drop_partition"])
def test_other_tables_have_none(database: Database, function: str) -> None:
    """Whoever may execute these has the rights of the owner: of three tables, and no other."""
    with database.begin() as connection, pytest.raises(sa.exc.DBAPIError, match="ledger has no partitions"):
        connection.execute(sa.text(f"SELECT sensor_platform.{function}('ledger', '2026-11-01')"))


def test_several_processes_at_once(database: Database) -> None:
    months = [(2010 + year, month) for year in range(3) for month in range(1, 13)]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(make, database, *months) for _ in range(4)]:
            done.result(timeout=60)
    assert len(rows(database, BOUNDS)) == 36


def test_readers_of_the_whole_do_not_wait(database: Database) -> None:
    with database.connect() as reader:
        reader.execute(sa.text("SELECT count(*) FROM sensor_platform.metric"))  # holds its lock until it ends
        with database.begin() as connection:
            connection.execute(sa.text("SET LOCAL lock_timeout = '2s'"))
            make_partitions(connection, metric, [(2026, 11)])
    assert len(rows(database, BOUNDS)) == 1
