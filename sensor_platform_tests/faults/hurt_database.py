"""A PostgreSQL of the tests' own, that they stop, freeze, kill and starve of connections."""

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import psutil
import psycopg
import pytest

from sensor_platform.database.engine import Database
from sensor_platform.database.migrate import upgrade
from sensor_platform.embedded.postgres import EmbeddedPostgres


class HurtDatabase:
    """A fresh database in the server; `opened` once it has our tables."""

    def __init__(self, server: EmbeddedPostgres, name: str) -> None:
        self.server = server
        self._maintenance = f"{server.url.rpartition('/')[0]}/postgres"
        self.url = f"{server.url.rpartition('/')[0]}/{name}"
        with psycopg.connect(self._maintenance, autocommit=True) as sql:
            sql.execute(f"create database {name}")  # type: ignore[call-overload]  # a name of ours
        self.opened = Database(self.url)
        upgrade(self.opened)

    def crash(self) -> None:
        """SIGKILL of the server, at whatever its backends are doing."""
        assert self.server.pid is not None
        os.kill(self.server.pid, signal.SIGKILL)

    def is_loading(self) -> bool:
        """Whether a command of ours is in a transaction."""
        query = "select 1 from pg_stat_activity where application_name = 'sensor-platform' and xact_start is not null"
        with psycopg.connect(self._maintenance) as sql:
            return sql.execute(query).fetchone() is not None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Nobody listens."""
        self.server.stop()
        try:
            yield
        finally:
            self.server.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Everybody listens, and nobody answers."""
        assert self.server.pid is not None
        postmaster = psutil.Process(self.server.pid)
        postmaster.suspend()
        processes = [postmaster, *postmaster.children(recursive=True)]
        try:
            for each in processes:
                each.suspend()
            yield
        finally:
            for each in processes:
                with suppress(psutil.NoSuchProcess):  # a backend ends when it finds that its client has gone
                    each.resume()

    @contextmanager
    def starved(self) -> Iterator[list[psycopg.Connection[tuple[object]]]]:
        """Every connection that the server allows is taken by us; those of others were ended."""
        with ExitStack() as stack:
            taken = [stack.enter_context(psycopg.connect(self._maintenance, autocommit=True))]
            while self._end_others(taken[0]) or len(taken) < 10:
                with suppress(psycopg.OperationalError):  # too many clients
                    while True:
                        taken.append(stack.enter_context(psycopg.connect(self._maintenance, autocommit=True)))
            yield taken

    def _end_others(self, connection: psycopg.Connection[tuple[object]]) -> bool:
        """Whether there were any."""
        query = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
        return bool(connection.execute(query, [self.url.rpartition("/")[2]]).fetchall())


@pytest.fixture(scope="module")
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("hurt server")) as server:
        yield server


@pytest.fixture
def hurt(own_postgres: EmbeddedPostgres) -> Iterator[HurtDatabase]:
    database = HurtDatabase(own_postgres, f"hurt_{secrets.token_hex(4)}")
    with database.opened:
        yield database
