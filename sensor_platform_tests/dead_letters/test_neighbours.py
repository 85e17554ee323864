"""Letters judged beside their micro-batch: who needs it, what happens without it, how long a retry may take."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.chunks import Chunk, chunks
from sensor_platform.dead_letters.lease import LEASE, Lease
from sensor_platform.dead_letters.retry import retry
from sensor_platform.errors import DatabaseUnavailableError
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.pipeline.retention import prune
from sensor_platform.routes.file import parse_routes
from sensor_platform.routes.model import Routes
from sensor_platform.settings import Settings
from sensor_platform.staging.object_store import Bucket
from sensor_platform.staging.store import LocalStaging
from sensor_platform.staging.uploader import Uploader
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, rows, stage
from sensor_platform_tests.staging.s3_server import URL, S3Server
from sensor_platform_tests.waiting import wait_until

#: Text is refused by the first, and accepted by the mended ones. Only `thinned` and `limited` look at neighbours.
ROUTES = """\
routes:
  - {name: calm, filter: 'calm/{work_unit}/{sensor}', format: json%s}
  - {name: thinned, filter: 'thinned/{work_unit}/{sensor}', format: json%s, report_by_exception: {'*': {deadband: 1}}}
  - {name: limited, filter: 'limited/{work_unit}/{sensor}', format: json%s,
     contract: {version: 1, metrics: {speed: {max_rate_per_s: 1}}}}
  - {name: promised, filter: 'promised/{work_unit}/{sensor}', format: json%s,
     contract: {version: 1, metrics: {speed: {maximum: 1}}}}
"""
ADVISORY = """
    SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE datname = current_database() AND locktype = 'advisory' AND {} granted"""
OF_OTHERS = " FROM pg_stat_activity WHERE datname = current_database() AND "
BLOCKED = "wait_event IN ('transactionid', 'tuple')"
STATES = """
    SELECT name, state, attempts, next_attempt_at FROM dead_letter JOIN ledger ON ledger.id = micro_batch
    ORDER BY name, sequence"""


def routes(*, mended: bool = True) -> Routes:
    return parse_routes(ROUTES % ((", text: true" if mended else "",) * 4))


def warm(of: str) -> Message:
    return Message({"value": "warm", "timestamp": HOUR.isoformat()}, topic=f"{of}/press/p1")


def staged(staging: LocalStaging, database: Database, **of: list[str]) -> None:
    """A micro-batch of that name with a letter of each route; `c` is received after `b`, and that after `a`."""
    for number, (name, found) in enumerate(of.items()):
        first = HOUR + timedelta(minutes=number)
        stage(staging, name, [warm(route) for route in found], first_sequence=100 * number, received_at=first)
    load(staging, database, using=routes(mended=False))


def later(**spans: float) -> datetime:
    return datetime.now(UTC) + timedelta(**spans)


def states(database: Database) -> list[tuple[str, str]]:
    return [(name, state) for name, state, *_ in rows(database, STATES)]


def letter(micro_batch: int, topic: bytes, *, sequence: int = 0, hour: int = 0) -> Any:
    """A row of `chosen_messages`."""
    at = HOUR + timedelta(hours=hour)
    return SimpleNamespace(micro_batch=micro_batch, hour=at, sequence=sequence, topic=topic, payload_bytes=9)


def test_only_the_route_that_a_message_has_today_says_whether_its_neighbours_have_a_say() -> None:
    found = [
        letter(1, b"calm/press/p1"),
        letter(1, b"calm/press/p1", sequence=1),
        letter(2, b"promised/press/p1", hour=1),
        letter(3, b"calm/press/p1", hour=2),
        letter(3, b"thinned/press/p1", sequence=1, hour=2),
        letter(4, b"limited/press/p1", hour=2),
        letter(5, b"\xff", hour=3),
        letter(6, b"nobody", hour=4),
    ]
    assert list(chunks(found, routes())) == [
        Chunk([(1, 0), (1, 1), (2, 0)], []),
        Chunk([(3, 0), (3, 1)], [(3, 1)]),
        Chunk([(4, 0)], [(4, 0)]),
        Chunk([(5, 0), (6, 0)], []),
    ]


def test_where_earlier_messages_have_a_say_a_portion_reaches_over_no_more_than_an_hour() -> None:
    """It reads all that was said between its messages: of letters months apart that would be millions of births."""
    found = [
        letter(1, b"calm/press/p1"),
        letter(2, b"calm/press/p1", hour=1),
        letter(3, b"spBv1.0/g/NDATA/n", hour=2),
        letter(4, b"calm/press/p1", hour=2),
        letter(5, b"calm/press/p1", hour=3),
        letter(6, b"calm/press/p1", hour=4),
        letter(7, b"spBv1.0/g/NDATA/n", hour=4000),
        letter(8, b"own/press/p1", hour=4001),
    ]
    born = "  - {name: born, filter: 'spBv1.0/#', format: sparkplug}\n"
    own = "  - {name: own, filter: 'own/{work_unit}/{sensor}', format: opcua}\n"
    using = parse_routes(ROUTES % (("",) * 4) + born + own)
    assert [[micro_batch for micro_batch, _ in chunk.messages] for chunk in chunks(found, using)] == [
        [1, 2],
        [3, 4],
        [5, 6],
        [7],
        [8],
    ]


def test_without_the_object_store_only_those_wait_that_need_a_file_of_it(
    database: Database, staging: LocalStaging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged(staging, database, a=["calm", "thinned"], b=["calm"], c=["limited"])
    kept = {micro_batch.name: staging.path(micro_batch).read_bytes() for micro_batch in staging.micro_batches()}
    with S3Server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        assert Uploader(staging, Bucket(URL)).upload_waiting() == 3
        staged(staging, database, d=["thinned"])  # not uploaded yet
        settings = Settings(home=tmp_path, staging_url=URL)
        dry = retry(database, routes(), settings=settings, dry_run=True, now=later(hours=1))
        assert (dry.states, dry.left) == ({"resolved": 5}, {})
        server.kill()
        at = later(hours=1)
        report = retry(database, routes(), settings=settings, now=at)
    assert states(database) == [
        ("a", "resolved"),
        ("a", "pending"),
        ("b", "resolved"),
        ("c", "pending"),
        ("d", "resolved"),
    ]
    assert report.letters == 5
    assert sorted(report.left) == ["a", "c"]
    assert "does not answer" in report.left["c"]
    # Nothing was decided about them, so that no attempt is counted.
    assert rows(database, STATES)[3][2:] == (0, at + timedelta(seconds=60))
    (hour,) = {micro_batch.hour for micro_batch in staging.micro_batches()}
    folder = staging.root / f"dt={hour:%Y-%m-%d}" / f"hour={hour:%H}"
    for name, data in kept.items():
        (folder / f"{name}.arrow").write_bytes(data)
    assert retry(database, routes(), settings=settings, now=later(hours=2)).states == {"resolved": 2}
    assert mismatches(database) == []


def test_what_retention_has_deleted_is_left_to_a_person_in_the_end(
    database: Database, staging: LocalStaging, tmp_path: Path
) -> None:
    staged(staging, database, a=["thinned", "calm"])
    prune(staging, database, days=1, now=HOUR + timedelta(days=9))
    settings, at = Settings(home=tmp_path), later(hours=1)
    before = rows(database, STATES)
    dry = retry(database, routes(), settings=settings, dry_run=True, now=at)
    assert rows(database, STATES) == before
    report = retry(database, routes(), settings=settings, now=at)
    assert report.states == dry.states == {"pending": 1, "resolved": 1}
    assert report.left == dry.left
    assert "bytes were deleted on 2026-12-02 at 10:00 UTC by retention" in report.left["a"]
    assert rows(database, STATES)[0] == ("a", "pending", 1, at + timedelta(seconds=120))
    for days in range(1, 5):
        retry(database, routes(), settings=settings, now=later(days=2 * days))
    assert rows(database, STATES)[0] == ("a", "exhausted", 5, None)
    # A person may name it; what its route asks for is the same.
    ids = [letter for (letter,) in rows(database, "SELECT id FROM dead_letter WHERE state = 'exhausted'")]
    assert "deleted" in retry(database, routes(), settings=settings, ids=ids).left["a"]
    assert states(database)[0] == ("a", "exhausted")
    assert mismatches(database) == []


class Mute:
    """A server that takes connections and says nothing, until it hangs up."""

    def __init__(self) -> None:
        self.asked, self.hang_up = threading.Event(), threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._listen, name="mute")
        self._thread.start()

    def _listen(self) -> None:
        with self._listener:
            asking, _ = self._listener.accept()
            with asking:
                self.asked.set()
                self.hang_up.wait()

    def close(self) -> None:
        self.hang_up.set()
        self._thread.join(timeout=20)


@pytest.fixture
def mute(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mute]:
    with closing(Mute()) as mute:
        for name, value in {
            "ENDPOINT_URL": mute.endpoint,
            "ACCESS_KEY_ID": "test",
            "SECRET_ACCESS_KEY": "not-a-secret",
            "REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        yield mute


@pytest.mark.parametrize("dry_run", [False, True])
def test_no_lock_is_held_while_the_object_store_is_waited_for(
    database: Database, staging: LocalStaging, tmp_path: Path, mute: Mute, *, dry_run: bool
) -> None:
    staged(staging, database, a=["thinned"])
    settings = Settings(home=tmp_path / "other", staging_url=URL)
    with ThreadPoolExecutor(1) as thread:
        report = thread.submit(retry, database, routes(), settings=settings, dry_run=dry_run, now=later(hours=1))
        assert mute.asked.wait(60)
        assert rows(database, ADVISORY.format("")) == [(0,)]
        assert rows(database, f"SELECT count(*) {OF_OTHERS} state = 'idle in transaction'") == [(0,)]
        mute.close()
        assert report.result(120).states == {"pending": 1}


def blocked(database: Database) -> bool:
    return rows(database, f"SELECT count(*) {OF_OTHERS} {BLOCKED}") == [(1,)]


def hold(connection: sa.Connection, micro_batch: str) -> None:
    """Whoever loads messages of that micro-batch waits for the end of this transaction."""
    statement = sa.text("SELECT FROM sensor_platform.ledger WHERE name = :name FOR UPDATE")
    connection.execute(statement, {"name": micro_batch})


def test_a_retry_that_takes_long_keeps_its_letters_from_another_one(
    database: Database, staging: LocalStaging, tmp_path: Path
) -> None:
    staged(staging, database, a=["thinned"], b=["thinned"], c=["thinned"])
    settings, at = Settings(home=tmp_path), later(hours=1)
    with ThreadPoolExecutor(2) as threads, database.begin() as connection:
        hold(connection, "b")
        slow = threads.submit(retry, database, routes(), settings=settings, now=at)
        wait_until(lambda: blocked(database), "the first retry to reach the second micro-batch")
        # When the lease that it began with is over.
        other = threads.submit(retry, database, routes(), settings=settings, now=at + LEASE)
        wait_until(lambda: rows(database, ADVISORY.format("NOT")) == [(1,)], "the other retry to wait for the load")
        connection.commit()
        assert slow.result(60).states == {"resolved": 3}
        assert other.result(60).letters == 0
    assert mismatches(database) == []


def test_a_retry_whose_lease_ran_out_leaves_its_letters_to_the_one_that_took_them(
    database: Database, staging: LocalStaging, tmp_path: Path
) -> None:
    staged(staging, database, a=["thinned"], b=["thinned"], c=["thinned"])
    settings, at = Settings(home=tmp_path), later(hours=1)
    with ThreadPoolExecutor(2) as threads, database.begin() as connection:
        hold(connection, "a")
        slow = threads.submit(retry, database, routes(), settings=settings, now=at)
        wait_until(lambda: blocked(database), "the first retry to load the first micro-batch")
        # The lock is given in the order in which it was asked for: this one has it before `slow` extends its lease.
        other = threads.submit(retry, database, routes(), settings=settings, now=at + 9 * LEASE)
        wait_until(lambda: rows(database, ADVISORY.format("NOT")) == [(1,)], "the other retry to wait for the load")
        connection.commit()
        assert slow.result(60).messages == 1
        assert (other.result(60).letters, other.result(60).messages) == (2, 2)
    assert states(database) == [("a", "resolved"), ("b", "resolved"), ("c", "resolved")]
    assert rows(database, "SELECT sum(attempts) FROM dead_letter") == [(0,)]
    assert mismatches(database) == []


def test_a_retry_that_dies_lets_go_of_what_it_had_not_come_to(
    database: Database, staging: LocalStaging, tmp_path: Path
) -> None:
    staged(staging, database, a=["thinned"], b=["thinned"], c=["thinned"])
    settings, at = Settings(home=tmp_path), later(hours=1)
    with ThreadPoolExecutor(1) as thread, database.begin() as connection:
        hold(connection, "b")
        dying = thread.submit(retry, database, routes(), settings=settings, now=at)
        wait_until(lambda: blocked(database), "the retry to reach the second micro-batch")
        rows(database, f"SELECT pg_terminate_backend(pid) {OF_OTHERS} {BLOCKED}")
        with pytest.raises(DatabaseUnavailableError):
            dying.result(60)
        connection.commit()
    assert states(database) == [("a", "resolved"), ("b", "retrying"), ("c", "retrying")]
    (until,) = {due for *_, due in rows(database, STATES) if due is not None}
    assert until > at + LEASE
    assert retry(database, routes(), settings=settings, now=at + LEASE).letters == 0
    assert retry(database, routes(), settings=settings, now=until).states == {"resolved": 2}
    assert mismatches(database) == []


def test_letters_that_another_retry_took_over_are_not_held_any_more(database: Database, staging: LocalStaging) -> None:
    staged(staging, database, a=["calm", "calm"])
    ids: list[Any] = [letter for (letter,) in rows(database, "SELECT id FROM dead_letter ORDER BY id")]
    at = later(hours=1)
    with database.begin() as connection:
        first = Lease.take(connection, ids, now=at)
    with database.begin() as connection:
        assert Lease.take(connection, ids, now=at + LEASE - timedelta(seconds=1)).ids == []
    with database.begin() as connection:
        second = Lease.take(connection, ids[1:], now=at + LEASE)
    assert (first.ids, second.ids) == (ids, ids[1:])
    with database.begin() as connection:
        first.extend(connection)
    due = [due for (due,) in rows(database, "SELECT next_attempt_at FROM dead_letter ORDER BY id")]
    assert due == [first.until, second.until]
    assert first.until > at + LEASE
