"""One PostgreSQL, one driver: our engine always says psycopg 3, whatever the plain URL that Dagster shares says.

Only here does a lost connection become `DatabaseUnavailableError`: callers never look at a driver's exceptions to learn
whether to try again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import psycopg
import sqlalchemy as sa

from sensor_platform.errors import ConfigurationError, DatabaseUnavailableError
from sensor_platform.settings import Settings

CONNECT_TIMEOUT_S = 10


class Database:
    """A pool of connections. Nothing connects before `begin` or `connect` does."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = sa.create_engine(
            sa.make_url(url).set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            # A statement that runs once a group gains nothing from being prepared, and loses the plan for its values.
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                # Read committed, whatever the server's default: the load reads after its lock what others committed.
                "options": "-c timezone=UTC -c default_transaction_isolation=read\\ committed",
                "application_name": "sensor-platform",
                "prepare_threshold": None,
            },
        )

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        """A connection whose work is rolled back unless it is committed.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer, or stopped answering.
        """
        try:
            with self.engine.connect() as connection:
                yield connection
        except (sa.exc.DBAPIError, psycopg.OperationalError) as err:
            if not _is_lost(err):
                raise
            where = sa.make_url(self.url).render_as_string(hide_password=True)
            reason = str(getattr(err, "orig", None) or err).strip().splitlines()[0]
            raise DatabaseUnavailableError(f"{where}: PostgreSQL does not answer: {reason}") from err

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction: committed at the end of the block, rolled back when it raises."""
        with self.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def read_only(self) -> Iterator[sa.Connection]:
        """One snapshot for all that is asked in the block; PostgreSQL itself refuses to write anything in it."""
        with self.connect() as connection:
            connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            yield connection

    def dispose(self) -> None:
        """Closes every connection of the pool."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.dispose()


def _is_lost(err: sa.exc.DBAPIError | psycopg.OperationalError) -> bool:
    """Whether the connection is gone: class 08, 57P (shut down), 53300 (too many), or no SQLSTATE."""
    if isinstance(err, sa.exc.DBAPIError) and err.connection_invalidated:
        return True
    cause = err.orig if isinstance(err, sa.exc.DBAPIError) else err
    if not isinstance(cause, psycopg.OperationalError):
        return False
    return cause.sqlstate is None or cause.sqlstate.startswith(("08", "57P", "53300"))


def connect_database(settings: Settings) -> Database:
    """The database that the settings name; the caller resolves the running platform's own into them first."""
    if settings.database_url is None:
        raise ConfigurationError(
            f"DATABASE_URL is not set and no platform is running in {settings.home}: "
            "start one with `sensor-platform up`, or set DATABASE_URL=postgresql://user:password@host:port/database"
        )
    return Database(settings.database_url.get_secret_value())
