"""A real PostgreSQL and a real broker, once a session; a fresh database, once a test.

A tool that is missing skips the tests that need it, with the reason; with CI=true it fails them instead.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import hypothesis
import psycopg
import pytest
from psycopg import sql

from sensor_platform.embedded.broker import EmbeddedBroker, find_mosquitto
from sensor_platform.embedded.ports import HOST, any_free_port
from sensor_platform.embedded.postgres import EmbeddedPostgres
from sensor_platform_tests.platform_process import platform

__all__ = ["platform"]  # a fixture of every folder

CI = os.environ.get("CI", "").lower() in ("1", "true")

# No verdict by the clock: a busy machine is no fault. CI repeats the same examples; everybody else looks for new ones.
hypothesis.settings.register_profile(
    "sensor_platform",
    deadline=None,
    derandomize=CI,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("sensor_platform")

if TYPE_CHECKING:
    from sensor_platform.database.engine import Database
    from sensor_platform.staging.store import LocalStaging


def missing_tool(reason: str) -> NoReturn:
    """Skips the test; fails it where CI promises every tool."""
    if CI:
        pytest.fail(f"CI has every tool, but: {reason}", pytrace=False)
    pytest.skip(reason)


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    return any_free_port()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    # What the developer's shell sets must not decide what a test sees.
    settings = ("MQTT_", "DEAD_LETTER_", "STAGING_", "DATABASE_", "API_", "BROKER_", "SENSOR_", "COLLECTOR_", "LIVE_")
    settings += ("METRIC_", "METRICS_", "READINGS_", "SPARKPLUG_", "TRANSFORMER_")
    ours = (*settings, "DAGSTER_", "AWS_")
    for name in list(os.environ):
        if name.startswith(ours) and name != "SENSOR_PLATFORM_TEST_DATA":
            monkeypatch.delenv(name)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home folder, with a space in its path."""
    folder = tmp_path / "a home"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def staging(tmp_path: Path) -> "LocalStaging":
    """An empty staging area on a local disk."""
    from sensor_platform_tests.pipeline.staged import new_staging

    return new_staging(tmp_path)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """The embedded PostgreSQL, started once."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres server")) as server:
        yield server


class _Databases:
    """Makes and drops databases in one server."""

    def __init__(self, server_url: str) -> None:
        self._base, _, self._maintenance = server_url.rpartition("/")

    def url(self, name: str) -> str:
        return f"{self._base}/{name}"

    def make(self, name: str, *, template: str = "template0") -> None:
        # FILE_COPY would force two checkpoints; the template is small.
        self._execute("create database {} template {} strategy wal_log", name, template)

    def drop(self, name: str) -> None:
        self._execute("drop database {} with (force)", name)

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.url(self._maintenance), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@pytest.fixture(scope="session")
def _databases(postgres_server: EmbeddedPostgres) -> _Databases:
    return _Databases(postgres_server.url)


@pytest.fixture(scope="session")
def _migrated(_databases: _Databases) -> str:
    """The name of a database with our tables, to be copied."""
    from sensor_platform.database.engine import Database
    from sensor_platform.database.migrate import upgrade

    _databases.make("migrated")
    with Database(_databases.url("migrated")) as database:
        upgrade(database)
    return "migrated"


@pytest.fixture
def database_url(_databases: _Databases) -> Iterator[str]:
    """A fresh, empty database, dropped after the test."""
    name = f"test_{secrets.token_hex(6)}"
    _databases.make(name)
    yield _databases.url(name)
    _databases.drop(name)


@pytest.fixture
def database(_databases: _Databases, _migrated: str) -> Iterator["Database"]:
    """A fresh database with our tables, dropped after the test."""
    from sensor_platform.database.engine import Database

    name = f"test_{secrets.token_hex(6)}"
    _databases.make(name, template=_migrated)
    with Database(_databases.url(name)) as fresh:
        yield fresh
    _databases.drop(name)


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the test broker is, and how to get in."""

    url: str
    username: str
    password: str
    password_file: Path
    host: str
    port: int

    @classmethod
    def of(cls, server: EmbeddedBroker) -> "Broker":
        return cls(server.url, server.username, server.password, server.password_file, HOST, server.port)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """mosquitto with the embedded configuration, on a free port. Tests share it: use topics of your own."""
    with _running_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def fresh_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker of this test alone, where a session with broad filters stays behind."""
    with _running_broker(tmp_path / "fresh broker") as running:
        yield running


@contextmanager
def _running_broker(home: Path) -> Iterator[Broker]:
    if find_mosquitto() is None:
        missing_tool("mosquitto is not installed")
    with EmbeddedBroker(home, free_port()) as server:
        yield Broker.of(server)


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """The folder of recorded plant data."""
    folder = os.environ.get("SENSOR_PLATFORM_TEST_DATA")
    if not folder:
        pytest.skip("SENSOR_PLATFORM_TEST_DATA is not set: no recorded data")
    return Path(folder).absolute()
