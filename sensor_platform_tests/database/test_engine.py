"""A database that does not answer is one error of ours, whatever the driver calls it."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from sensor_platform.database.engine import Database, connect_database
from sensor_platform.errors import ConfigurationError, DatabaseUnavailableError
from sensor_platform.settings import Settings
from sensor_platform_tests.conftest import free_port


def test_nobody_listens() -> None:
    with (
        Database(f"postgresql://user:very-secret@127.0.0.1:{free_port()}/plant") as database,
        pytest.raises(DatabaseUnavailableError, match="does not answer") as caught,
        database.connect(),
    ):
        pass
    assert "very-secret" not in str(caught.value)
    assert caught.value.retryable


def test_a_connection_that_dies_half_way(database: Database) -> None:
    own_backend = sa.text("SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(DatabaseUnavailableError), database.begin() as connection:
        connection.execute(own_backend)
    with database.connect() as connection:  # the pool has noticed
        assert connection.execute(sa.text("SELECT 1")).scalar_one() == 1


def test_an_error_of_the_statement_stays_what_it_is(database: Database) -> None:
    with pytest.raises(sa.exc.ProgrammingError), database.connect() as connection:
        connection.execute(sa.text("SELECT nonsense"))


def test_begin_rolls_back_what_raises(database: Database) -> None:
    def fail() -> None:
        with database.begin() as connection:
            connection.execute(sa.text("INSERT INTO sensor_platform.work_unit (name) VALUES ('press')"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM sensor_platform.work_unit")).scalar_one() == 0


def test_times_come_back_in_utc(database: Database) -> None:
    with database.connect() as connection:
        assert connection.execute(sa.text("SHOW timezone")).scalar_one() == "UTC"


def test_a_transaction_sees_what_others_commit_whatever_the_servers_default(database: Database) -> None:
    name = sa.make_url(database.url).database
    with database.begin() as connection:
        connection.execute(sa.text(f"ALTER DATABASE {name} SET default_transaction_isolation TO 'repeatable read'"))
    with Database(database.url) as fresh, fresh.connect() as connection:
        assert connection.execute(sa.text("SHOW transaction_isolation")).scalar_one() == "read committed"


def test_no_database_at_all_says_what_to_do(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        connect_database(Settings(home=home))
