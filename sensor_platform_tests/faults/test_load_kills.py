"""A load that ends between any two of its statements, or whose COMMIT is not answered: all of it stands, or nothing."""

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.errors import DatabaseUnavailableError
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.faults.load_process import FIRST, WORKS
from sensor_platform_tests.faults.proxy import Direction, Proxy
from sensor_platform_tests.pipeline.staged import HOUR, load, new_staging, routes, rows, stage
from sensor_platform_tests.pipeline.test_any_order import assert_the_first_stands, clear, snapshot
from sensor_platform_tests.pipeline.test_concurrent import message
from sensor_platform_tests.waiting import wait_until

pytestmark = pytest.mark.slow

Snapshot = dict[str, list[tuple[Any, ...]]]


@pytest.fixture
def staging(tmp_path: Path) -> LocalStaging:
    """Two micro-batches that share readings, with texts, rubbish and readings timed by receipt."""
    area, rng = new_staging(tmp_path), random.Random(11)
    for number in range(2):
        content = [message(rng) for _ in range(30)]
        stage(area, f"c-{number}", content, hour=HOUR, first_sequence=100 * number + 1)
    return area


@contextmanager
def killer(database: Database, staging: LocalStaging) -> Iterator[Callable[[str, int], str]]:
    """Does a work and kills it before its n-th statement; returns that statement, or `done`."""
    command = [sys.executable, "-m", "sensor_platform_tests.faults.load_process", database.url, str(staging.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def kill(work: str, number: int) -> str:
            process.stdin.write(f"{work} {number}\n")
            process.stdin.flush()
            line = process.stdout.readline().strip()
            assert line, f"{work}, statement {number}: the loader failed"
            return line

        yield kill
        process.stdin.close()


def before_and_after(database: Database, staging: LocalStaging, work: str) -> tuple[Snapshot, Snapshot]:
    """What stands before and after one clean `work`; the database is left as it was before."""
    clear(database)
    if work != "new":
        load(staging, database, using=routes(FIRST))
    before = snapshot(database)
    WORKS[work](database, staging, 0)
    after = snapshot(database)
    clear(database)
    if work != "new":
        load(staging, database, using=routes(FIRST))
    assert before != after
    return before, after


def marks_are_right(database: Database) -> bool:
    """Each series' mark is at or above its newest reading, those aside included; one too high costs only time."""
    query = """
        SELECT 1 FROM (SELECT series, time FROM metric UNION ALL SELECT series, time FROM metric_duplicate) AS reading
        LEFT JOIN high_water_mark AS mark USING (series)
        WHERE mark.time IS NULL OR mark.time < reading.time"""
    return rows(database, query) == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("work", list(WORKS))
def test_killed_between_any_two_statements(database: Database, staging: LocalStaging, work: str) -> None:
    before, after = before_and_after(database, staging, work)
    points = []
    with killer(database, staging) as kill:
        while (point := kill(work, len(points) + 1)) != "done":
            points.append(point)
            stands = snapshot(database)
            assert stands in (before, after), f"killed before statement {len(points)}: {point}"
            assert mismatches(database) == [], point
            assert marks_are_right(database), point
            if work == "new" and stands == before:
                clear(database)  # series that are registered already would change the number of statements
    print("\n".join(points))
    print(f"{work}: killed before each of {len(points)} statements: lost 0, doubled 0")
    assert any(point.startswith("commit") for point in points)
    assert any("pg_advisory_xact_lock" in point for point in points)
    assert snapshot(database) == after
    assert_the_first_stands(database)


class _Answers:
    """Sees COMMITs pass, and has the answer to the one of that number come so late that the link is cut before."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.link: Proxy | None = None
        self.is_due = threading.Event()

    def opened(self) -> Callable[[Direction, bytes], None]:
        def seen(direction: Direction, data: bytes) -> None:
            if direction is Direction.TO_BROKER and b"COMMIT\0" in data:
                self.left -= 1
                if self.left == 0 and self.link is not None:
                    self.link.delay_s = 60.0
                    self.is_due.set()

        return seen


@pytest.mark.timeout(300)
@pytest.mark.parametrize("work", list(WORKS))
def test_a_commit_that_is_not_answered(database: Database, staging: LocalStaging, work: str) -> None:
    before, after = before_and_after(database, staging, work)
    lost = 0
    while _without_the_answer(database, staging, work, commit=lost + 1):
        lost += 1
        assert snapshot(database) in (before, after)
        assert mismatches(database) == []
    print(f"{work}: the answer to each of {lost} COMMITs was lost: lost 0, doubled 0")
    assert lost >= 1
    assert snapshot(database) == after
    assert marks_are_right(database)


def _without_the_answer(database: Database, staging: LocalStaging, work: str, *, commit: int) -> bool:
    """Whether `work` came as far as its commit of that number, which is done, but whose answer never comes."""
    parts = urlsplit(database.url)
    assert parts.port is not None
    answers = _Answers(commit)
    with Proxy(parts.port, observer=answers) as link, ThreadPoolExecutor(1) as pool:
        answers.link = link
        login, _, _ = parts.netloc.rpartition("@")
        with Database(urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{link.port}"))) as through:
            working = pool.submit(WORKS[work], through, staging, commit)
            wait_until(lambda: answers.is_due.is_set() or working.done(), "the commit, or the end", 60, every_s=0.01)
            if not answers.is_due.is_set():
                working.result()
                return False
            wait_until(lambda: _is_committed(database), "the server's end of the commit", 60, every_s=0.01)
            link.cut()
            link.delay_s = 0.0
            with pytest.raises(DatabaseUnavailableError):
                working.result(timeout=60)
    return True


def _is_committed(database: Database) -> bool:
    """Whether nobody else is in a transaction."""
    query = """
        SELECT 1 FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"""
    return rows(database, query) == []
