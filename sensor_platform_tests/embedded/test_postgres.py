"""The embedded PostgreSQL: starts, keeps its data and port, recovers, and trusts nobody."""

import os
import signal
from pathlib import Path

import psutil
import psycopg
import pytest

from sensor_platform.embedded import account
from sensor_platform.embedded.account import NOBODY, Account
from sensor_platform.embedded.postgres import EmbeddedPostgres
from sensor_platform_tests.embedded.test_process import gone


def count(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("select count(*) from kept").fetchone()
    assert row is not None
    answer: int = row[0]
    return answer


def fill(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("create table if not exists kept (x int)")
        connection.execute("insert into kept values (1)")


def test_data_and_port_are_kept_over_a_restart(home: Path) -> None:
    with EmbeddedPostgres(home) as server:
        fill(server.url)
        url = server.url
    with EmbeddedPostgres(home) as server:
        assert server.url == url
        assert count(server.url) == 1


def test_it_comes_back_after_a_sigkill_with_a_busy_backend(home: Path) -> None:
    first = EmbeddedPostgres(home)
    first.start()
    fill(first.url)
    assert first.pid is not None
    busy = psycopg.connect(first.url)
    backend = psutil.Process(busy.info.backend_pid)
    backend.suspend()  # it cannot see that its server has died, as one in a long query cannot
    os.kill(first.pid, signal.SIGKILL)
    with EmbeddedPostgres(home) as second:
        assert second.url == first.url
        assert count(second.url) == 1
    busy.close()
    first.stop()
    assert gone(backend.pid, within_s=1)


def test_a_stale_pid_file_of_another_process_does_not_hold_it_up(home: Path) -> None:
    with EmbeddedPostgres(home) as server:
        data = server.data
    (data / "postmaster.pid").write_text(f"{os.getppid()}\n{data}\n0\n0\n\n127.0.0.1\n0 0\nready\n")
    with EmbeddedPostgres(home) as server:
        fill(server.url)
        assert count(server.url) == 1


def test_a_first_start_that_was_cut_off_is_begun_again(home: Path) -> None:
    half = home / "postgres" / "data.part"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(home) as server:
        fill(server.url)
        assert count(server.url) == 1


def test_a_wrong_password_is_refused(postgres_server: EmbeddedPostgres) -> None:
    url = f"postgresql://sensor_platform:wrong@127.0.0.1:{postgres_server.port}/sensor_platform"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url)


def test_a_connection_costs_no_thousands_of_hashes(database_url: str) -> None:
    """Dagster opens a connection for each question; a random password needs no stretching."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute("select rolpassword from pg_authid where rolname = 'sensor_platform'").fetchone()
    assert row is not None
    assert row[0].startswith("SCRAM-SHA-256$1:")


def test_only_its_owner_can_read_the_data_and_the_password(postgres_server: EmbeddedPostgres) -> None:
    home = postgres_server.home
    assert (home / "secrets" / "postgres_password").stat().st_mode & 0o777 == 0o600
    assert (home / "secrets").stat().st_mode & 0o777 == 0o700
    assert postgres_server.data.stat().st_mode & 0o777 == 0o700


def test_unqualified_tables_land_in_public_whatever_the_user_is_called(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("create schema sensor_platform")
        connection.execute("create table alembic_version (x int)")
        found = connection.execute("select schemaname from pg_tables where tablename = 'alembic_version'").fetchall()
    assert found == [("public",)]


def test_it_is_durable_and_in_utf8(database_url: str) -> None:
    names = ("fsync", "full_page_writes", "synchronous_commit", "server_encoding", "jit", "listen_addresses")
    with psycopg.connect(database_url) as connection:
        found = {name: connection.execute(f"show {name}").fetchone() for name in names}
    assert {name: row[0] for name, row in found.items() if row} == {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "server_encoding": "UTF8",
        "jit": "off",
        "listen_addresses": "127.0.0.1",
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_where_namespaces_are_forbidden_it_runs_as_nobody(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "_NAMESPACE", ("false",))
    with EmbeddedPostgres(home) as server:
        fill(server.url)
        assert server.pid is not None
        assert psutil.Process(server.pid).uids().effective == NOBODY
        assert home.stat().st_mode & 0o777 == 0o700
    # And back: the same data under the other account.
    monkeypatch.undo()
    with EmbeddedPostgres(home) as server:
        assert count(server.url) == 1


def test_a_folder_is_given_to_the_account_once(home: Path) -> None:
    before = home.stat().st_uid
    Account((), None).own(home)
    assert home.stat().st_uid == before
