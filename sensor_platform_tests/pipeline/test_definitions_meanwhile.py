"""What another process commits between the decoding of messages and their load: nothing wrong stands unmarked.

The other one holds the load's lock, with a transaction open, while this one decodes; it commits, and this one loads.
"""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.retry import RetryReport, retry
from sensor_platform.pipeline import load as loading
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.pipeline.guilty import PREPARED_AGAIN, load_prepared
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.outcome import Outcome
from sensor_platform.pipeline.outdated import outdated
from sensor_platform.pipeline.prepare import prepare
from sensor_platform.pipeline.process import in_received_order
from sensor_platform.routes.model import Route
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform_tests.pipeline.defining import HOURS, ROUTES, decode_defining, register, say, staged_at, told
from sensor_platform_tests.pipeline.staged import load, new_staging, rows, stage
from sensor_platform_tests.pipeline.test_any_order import clear
from sensor_platform_tests.waiting import wait_until

WAITING = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


@pytest.fixture(autouse=True)
def _format(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


@pytest.fixture
def elsewhere(tmp_path: Path) -> LocalStaging:
    """The staging area of the other process."""
    return new_staging(tmp_path / "elsewhere")


def prepared(staging: LocalStaging, database: Database) -> Outcome:
    read = [(micro_batch, staging.read(micro_batch)) for micro_batch in staging.micro_batches()]
    return prepare(*in_received_order(read), ROUTES, database.begin, max_payload_bytes=1000, seconds={})


def meanwhile(database: Database, other: Outcome, scope: loading.Scope, work: Callable[[], Any]) -> Any:
    """What `work` returns, which decodes before the load of `other` is committed, and loads after."""
    with ThreadPoolExecutor(1) as thread, database.begin() as connection:
        locks.take(connection, locks.CORRECTION)
        locks.take(connection, locks.LOAD)
        done = thread.submit(work)
        wait_until(lambda: done.done() or rows(database, WAITING) == [(1,)], "the other one to wait for the lock", 60)
        assert not done.done()
        loading.load(connection, other, scope=scope, next_attempt_at=datetime.now(UTC))
        connection.commit()
        return done.result(timeout=60)


def test_a_load_takes_the_definition_that_was_committed_while_it_decoded(
    database: Database, staging: LocalStaging, elsewhere: LocalStaging
) -> None:
    staged_at(staging, 0, "+force", "a")
    load(staging, database, using=ROUTES)
    staged_at(staging, 2, "c", "+speed", "d")
    staged_at(elsewhere, 1, "+stroke", "b")
    work = partial(load, staging, database, using=ROUTES)
    report = meanwhile(database, prepared(elsewhere, database), loading.Scope.NEW, work)
    assert (report.micro_batches, report.readings.inserted) == (1, 2)
    assert told(database) == [("force", "a"), ("stroke", "b"), ("stroke", "c"), ("speed", "d")]
    assert outdated(database) == {}
    assert mismatches(database) == []


def test_a_backfill_takes_the_definition_that_was_committed_while_it_decoded(
    database: Database, staging: LocalStaging, elsewhere: LocalStaging
) -> None:
    staged_at(staging, 0, "+force", "a")
    staged_at(staging, 2, "c")
    load(staging, database, using=ROUTES)
    staged_at(elsewhere, 1, "+stroke")
    work = partial(load, staging, database, using=ROUTES, mode=Mode.AGAIN, hour=HOURS[2])
    meanwhile(database, prepared(elsewhere, database), loading.Scope.NEW, work)
    assert told(database) == [("force", "a"), ("stroke", "c")]
    assert outdated(database) == {}
    assert mismatches(database) == []


def test_a_backfill_does_not_take_a_definition_that_was_withdrawn_while_it_decoded(
    database: Database, staging: LocalStaging, elsewhere: LocalStaging
) -> None:
    staged_at(staging, 0, "+force", "a")
    staged_at(staging, 1, "+stroke")
    staged_at(staging, 2, "c")
    load(staging, database, using=ROUTES)
    staged_at(elsewhere, 1, "b")  # as if its transformer had been mended
    work = partial(load, staging, database, using=ROUTES, mode=Mode.AGAIN, hour=HOURS[2])
    meanwhile(database, prepared(elsewhere, database), loading.Scope.AGAIN, work)
    assert told(database) == [("force", "a"), ("force", "b"), ("force", "c")]
    assert outdated(database) == {}


def test_a_retry_takes_the_definition_that_was_committed_while_it_decoded(
    database: Database, staging: LocalStaging, elsewhere: LocalStaging
) -> None:
    staged_at(staging, 2, "c")
    load(staging, database, using=ROUTES)
    staged_at(staging, 0, "+force", "a")
    load(staging, database, using=ROUTES)
    staged_at(elsewhere, 1, "+stroke")
    work = partial(retry, database, ROUTES, settings=Settings(), ids=[1])
    report: RetryReport = meanwhile(database, prepared(elsewhere, database), loading.Scope.NEW, work)
    assert report.states == {"resolved": 1}
    assert told(database) == [("force", "a"), ("stroke", "c")]
    assert mismatches(database) == []


def test_one_that_is_equal_or_stands_elsewhere_lets_nothing_be_prepared_again(
    database: Database, staging: LocalStaging, elsewhere: LocalStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged_at(staging, 0, "+force", "a")
    load(staging, database, using=ROUTES)
    staged_at(staging, 2, "c")
    stage(elsewhere, "b-3", say("+stroke"), hour=HOURS[3])
    stage(elsewhere, "b-1", say("+stroke", sensor="p2"), hour=HOURS[1])
    other = prepared(elsewhere, database)
    columns: list[int] = []

    def counting(column: PayloadColumn, route: Route) -> Decoded:
        columns.append(len(column))
        return decode_defining(column, route)

    register(monkeypatch, counting)
    meanwhile(database, other, loading.Scope.NEW, partial(load, staging, database, using=ROUTES))
    assert columns == [1]
    assert told(database) == [("force", "a"), ("force", "c")]


@pytest.fixture
def asked(database: Database) -> Iterator[list[str]]:
    """A word for each question for what is in force; `locked` after those that are asked under the load's lock."""
    words: list[str] = []
    locked: set[Any] = set()

    def note(connection: sa.Connection, _cursor: Any, query: str, *_: Any) -> None:
        if "pg_advisory_xact_lock" in query:
            locked.add(connection.connection.driver_connection)
        elif "ORDER BY found.key" in query:
            words.append("locked" if connection.connection.driver_connection in locked else "free")

    def ended(connection: sa.Connection) -> None:
        locked.discard(connection.connection.driver_connection)

    ends = ("commit", "rollback")
    sa.event.listen(database.engine, "before_cursor_execute", note)
    for end in ends:
        sa.event.listen(database.engine, end, ended)
    yield words
    sa.event.remove(database.engine, "before_cursor_execute", note)
    for end in ends:
        sa.event.remove(database.engine, end, ended)


def test_under_the_lock_nobody_asks_again_for_what_did_not_change(
    database: Database, staging: LocalStaging, asked: list[str]
) -> None:
    staged_at(staging, 0, "+force", "a")
    staged_at(staging, 1, "b", "+speed", "c")
    load(staging, database, using=ROUTES)
    load(staging, database, using=ROUTES, mode=Mode.AGAIN)
    assert told(database) == [("force", "a"), ("force", "b"), ("speed", "c")]
    assert set(asked) == {"free"}


def test_under_the_lock_it_is_asked_again_where_anything_has_changed(
    database: Database, staging: LocalStaging, elsewhere: LocalStaging, asked: list[str]
) -> None:
    staged_at(staging, 0, "+force", "a")
    load(staging, database, using=ROUTES)
    staged_at(staging, 2, "c")
    stage(elsewhere, "b-1", say("+stroke", sensor="p2"), hour=HOURS[1])
    other = prepared(elsewhere, database)
    asked.clear()
    meanwhile(database, other, loading.Scope.NEW, partial(load, staging, database, using=ROUTES))
    assert asked == ["free", "locked"]
    assert told(database) == [("force", "a"), ("force", "c")]


def test_a_retry_of_one_message_asks_again_where_a_load_has_defined_another(
    database: Database, staging: LocalStaging, asked: list[str]
) -> None:
    staged_at(staging, 2, "c")
    load(staging, database, using=ROUTES)
    staged_at(staging, 0, "+force")
    load(staging, database, using=ROUTES)
    asked.clear()
    assert retry(database, ROUTES, settings=Settings(), ids=[1]).states == {"resolved": 1}
    assert asked == ["free"]


def test_definitions_that_change_each_time_hold_up_no_load_and_it_is_marked(
    database: Database, staging: LocalStaging, elsewhere: LocalStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged_at(staging, 0, "+force")
    load(staging, database, using=ROUTES)
    staged_at(staging, 2, "c")
    names = iter(f"name-{number}" for number in range(100))
    decoded: list[list[bytes]] = []

    def disturbed(column: PayloadColumn, route: Route) -> Decoded:
        found = decode_defining(column, route)
        decoded.append(column.payloads)
        if column.payloads == [b"c"]:
            name = next(names)
            stage(elsewhere, f"{name:>9}", say(f"+{name}"), hour=HOURS[1])
            load(elsewhere, database, using=ROUTES)
        return found

    register(monkeypatch, disturbed)
    load(staging, database, using=ROUTES)
    assert decoded.count([b"c"]) == 1 + PREPARED_AGAIN
    newest = f"name-{PREPARED_AGAIN}"
    assert told(database) == [(f"name-{PREPARED_AGAIN - 1}", "c")]
    assert outdated(database) == {HOURS[2]: 1}
    register(monkeypatch)
    load(staging, database, using=ROUTES, mode=Mode.AGAIN, hour=HOURS[2])
    assert told(database) == [(newest, "c")]
    assert outdated(database) == {}


def test_what_decoding_again_does_not_change_is_marked_at_once(
    database: Database, staging: LocalStaging, elsewhere: LocalStaging
) -> None:
    """Two processes of different versions load the same micro-batches: one of them does not agree with the table."""
    staged_at(elsewhere, 1, "+stroke")
    load(elsewhere, database, using=ROUTES)
    staged_at(staging, 1, "+force")
    staged_at(staging, 2, "c")
    other = prepared(staging, database)
    preparations: list[Outcome] = []

    def again() -> Outcome:
        preparations.append(prepared(staging, database))
        return preparations[-1]

    def attempt(outcome: Outcome) -> loading.Loaded:
        with database.begin() as connection:
            return loading.load(connection, outcome, scope=loading.Scope.NEW, next_attempt_at=datetime.now(UTC))

    load_prepared(other, attempt, again=again, begin_trial=database.connect)
    assert len(preparations) == 1
    assert told(database) == [("force", "c")]
    assert outdated(database) == {HOURS[2]: 1}
    load(staging, database, using=ROUTES, mode=Mode.AGAIN)
    assert told(database) == [("force", "c")]
    assert outdated(database) == {}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_of_writers_at_once_nothing_wrong_stands_unmarked(
    database: Database, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = random.Random(seed)
    hours = [HOURS[0] + timedelta(hours=number) for number in range(12)]
    for number, hour in enumerate(hours):
        texts = [f"+m{rng.randrange(3)}" if rng.random() < 0.4 else f"d{number}-{place}" for place in range(3)]
        stage(staging, f"a-{number:02d}", say(*texts), hour=hour, first_sequence=100 * number)
    load(staging, database, using=ROUTES)
    clean = set(told(database))
    clear(database)

    decoded = threading.Barrier(3)

    def together(column: PayloadColumn, route: Route) -> Decoded:
        """So that loads meet: each waits a little for others that have decoded too."""
        found = decode_defining(column, route)
        with suppress(threading.BrokenBarrierError):
            decoded.wait(0.1)
            return found
        decoded.reset()
        return found

    register(monkeypatch, together)

    def work(some: list[datetime]) -> None:
        for hour in some:
            load(staging, database, using=ROUTES, hour=hour)

    shuffled = rng.sample(hours, len(hours))
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(work, shuffled[number::3]) for number in range(3)]:
            done.result(timeout=200)
    register(monkeypatch)
    unmarked = """
        SELECT series.metric, text FROM metric JOIN series ON series.id = metric.series
        JOIN ledger ON ledger.id = micro_batch WHERE definitions_changed_at IS NULL"""
    assert set(rows(database, unmarked)) <= clean
    for hour in outdated(database):
        load(staging, database, using=ROUTES, mode=Mode.AGAIN, hour=hour)
    open_letters = rows(database, "SELECT id FROM dead_letter WHERE state <> 'resolved'")
    retry(database, ROUTES, settings=Settings(), ids=[letter for (letter,) in open_letters])
    assert outdated(database) == {}
    assert set(told(database)) == clean
    assert mismatches(database) == []
