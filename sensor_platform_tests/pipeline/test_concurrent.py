"""Four writers at once, and writers that are killed: the values of one clean pass all the same."""

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.tables import ledger
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, new_staging, routes, rows, stage
from sensor_platform_tests.pipeline.test_any_order import assert_the_first_stands, clear, snapshot
from sensor_platform_tests.pipeline.writer import FINAL, HOURS, OTHERS, make_again, work
from sensor_platform_tests.waiting import wait_until

pytestmark = pytest.mark.slow


def stage_plant(staging: LocalStaging, rng: random.Random) -> None:
    """Repeats across micro-batches and hours, conflicts, texts, rubbish, and readings timed by receipt."""
    for number in range(6 * HOURS):
        hour = HOUR + timedelta(hours=number % HOURS)
        content = [message(rng) for _ in range(40)]
        stage(staging, f"c-{number:03d}", content, hour=hour, first_sequence=1000 * number)


def message(rng: random.Random) -> Message:
    topic = f"factory/press/sensors/p{rng.randrange(3)}/data"
    if rng.random() < 0.05:
        return Message(b"rubbish", topic)
    return Message([reading(rng) for _ in range(rng.randint(1, 3))], topic)


def reading(rng: random.Random) -> dict[str, Any]:
    number = rng.choice([1, 2, 3, "NaN", "warm", 0.0, -0.0])
    at = HOUR - timedelta(seconds=rng.randrange(30))
    return {"value": number} if rng.random() < 0.2 else {"value": number, "timestamp": at.isoformat()}


@pytest.fixture
def staging(tmp_path: Path) -> LocalStaging:
    area = new_staging(tmp_path)
    stage_plant(area, random.Random(7))
    return area


@pytest.fixture
def clean(database: Database, staging: LocalStaging) -> dict[str, list[tuple[Any, ...]]]:
    load(staging, database, using=routes(FINAL))
    expected = snapshot(database)
    clear(database)
    return expected


def settle(database: Database, staging: LocalStaging) -> dict[str, list[tuple[Any, ...]]]:
    """Checks what stands, then tells every hour once more with the final routes."""
    assert mismatches(database) == []
    assert_the_first_stands(database)
    make_again(database, staging)
    return snapshot(database)


def test_four_writers_at_once(database: Database, staging: LocalStaging, clean: Any) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, database, staging, random.Random(seed), 6) for seed in range(4)]:
            done.result(timeout=200)
    assert settle(database, staging) == clean


def test_writers_that_load_the_same_new_micro_batches(database: Database, staging: LocalStaging, clean: Any) -> None:
    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load, staging, database, using=routes(FINAL)) for _ in range(4)]
        reports = [done.result(timeout=200) for done in loads]
    # Each micro-batch was loaded by exactly one of them.
    assert sum(report.micro_batches for report in reports) == 6 * HOURS
    assert rows(database, "SELECT DISTINCT attempt FROM ledger") == [(1,)]
    assert snapshot(database) == clean


def test_a_backfill_that_is_killed_and_made_again_ends_in_one_clean_pass(
    database: Database, staging: LocalStaging, clean: Any
) -> None:
    """Killed in the middle of its last hour's transaction, which is held up: another one has a row that it changes."""
    load(staging, database, using=routes(OTHERS[0]))
    by_other_routes = snapshot(database)
    last = HOUR + timedelta(hours=HOURS - 1)
    command = [sys.executable, "-m", "sensor_platform_tests.pipeline.writer", database.url, str(staging.root)]
    with database.begin() as other:
        other.execute(sa.select(ledger.c.id).where(ledger.c.hour == last).with_for_update())
        with subprocess.Popen([*command, "0", "once"]) as backfill:
            waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            wait_until(lambda: rows(database, waiting), "the backfill to reach the last hour", 60, every_s=0.05)
            backfill.kill()
    attempts = "SELECT hour, min(attempt), max(attempt) FROM ledger GROUP BY hour ORDER BY hour"
    hours = [HOUR + timedelta(hours=hour) for hour in range(HOURS)]
    assert mismatches(database) == []
    assert rows(database, attempts) == [(hour, 1 if hour == last else 2, 1 if hour == last else 2) for hour in hours]
    assert snapshot(database) not in (by_other_routes, clean)
    assert settle(database, staging) == clean


def test_writers_that_are_killed(database: Database, staging: LocalStaging, clean: Any) -> None:
    rng = random.Random(3)
    command = [sys.executable, "-m", "sensor_platform_tests.pipeline.writer", database.url, str(staging.root)]
    later = [path.rename(path.with_suffix(".later")) for path in sorted(staging.root.rglob("*.arrow"))]
    rng.shuffle(later)
    for seed in range(3):
        for path in later[seed::3]:  # sealed only now, so that each round has something new
            path.rename(path.with_suffix(".arrow"))
        writers = [
            subprocess.Popen([*command, str(10 * seed + n), role], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            for n, role in enumerate(("live", "live", "backfill", "retry"))
        ]
        wait_for_commits(database, 1 + rng.randrange(4))
        time.sleep(rng.random() * 0.2)  # not for an event: the moment of the kill is the chance that is tested
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
            _, errors = writer.communicate(timeout=20)
            assert writer.returncode == -signal.SIGKILL, errors.decode()
    assert settle(database, staging) == clean


def wait_for_commits(database: Database, wanted: int) -> None:
    """Returns when `wanted` more loads have been committed."""
    query = "SELECT coalesce(max(committed_at), '2000-01-01Z') FROM ledger"
    seen: set[datetime] = set()

    def enough() -> bool:
        seen.add(rows(database, query)[0][0])
        return len(seen) > wanted

    wait_until(enough, f"{wanted} commits of the writers", 60, every_s=0.02)
