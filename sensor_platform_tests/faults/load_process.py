"""A loader that kills itself before a statement: `python -m ... URL STAGING`, for `test_load_kills`.

Each line on stdin is `WORK NUMBER`: a fork of this process does that work, and ends with SIGKILL just before it would
send its NUMBER-th statement (COPY and COMMIT are statements too). What it was about to send is printed, or `done` when
it ended first.
"""

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.retry import retry
from sensor_platform.pipeline.mode import Mode
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import load, routes

FIRST, CHANGED = "", ", text: true"


def new(database: Database, staging: LocalStaging, attempt: int) -> None:
    load(staging, database, using=routes(FIRST))


def again(database: Database, staging: LocalStaging, attempt: int) -> None:
    load(staging, database, mode=Mode.AGAIN, using=routes(CHANGED))


def retried(database: Database, staging: LocalStaging, attempt: int) -> None:
    # What a retry that was killed had taken is free again after its lease.
    later = datetime.now(UTC) + timedelta(days=400 + attempt)
    retry(database, routes(CHANGED), settings=Settings(), now=later)


WORKS: dict[str, Callable[[Database, LocalStaging, int], None]] = {"new": new, "again": again, "retry": retried}


def _kill_before(number: int, tell: int) -> None:
    """Every way in which a statement leaves psycopg counts; the one of that number is told, and never leaves."""
    left = number

    def count(what: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.write(tell, " ".join(what.split())[:70].encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def counting(name: str, method: Callable[..., Any], text: Callable[[tuple[Any, ...]], str]) -> Callable[..., Any]:
        def counted(self: Any, *args: Any, **options: Any) -> Any:
            count(f"{name} {text(args)}")
            return method(self, *args, **options)

        return counted

    def first(args: tuple[Any, ...]) -> str:
        query = args[0]
        return query.as_string(None) if isinstance(query, sql.Composable) else str(query)

    for name in ("execute", "executemany", "copy"):
        setattr(psycopg.Cursor, name, counting(name, getattr(psycopg.Cursor, name), first))
    psycopg.Connection.commit = counting("commit", psycopg.Connection.commit, lambda _: "")  # type: ignore[method-assign]


def main(url: str, folder: str) -> None:
    staging = LocalStaging(Path(folder))
    for line in sys.stdin:
        work, number = line.split()
        listen, tell = os.pipe()
        child = os.fork()
        if child == 0:
            _kill_before(int(number), tell)
            with Database(url) as database:
                WORKS[work](database, staging, int(number))
            os._exit(0)
        os.close(tell)
        with os.fdopen(listen) as told:
            what = told.read()
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            sys.exit(f"{work} failed")
        print(what or "done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
