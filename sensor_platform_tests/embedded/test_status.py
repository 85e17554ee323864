"""`status`: staged = pending + the five classes, whatever is sealed or loaded meanwhile."""

import threading
from dataclasses import astuple
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from sensor_platform.database.engine import Database
from sensor_platform.embedded.status import Counts, count, status
from sensor_platform.pipeline.report import MessageCounts, ReadingCounts
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.conftest import free_port
from sensor_platform_tests.pipeline.staged import Message, load, stage, value
from sensor_platform_tests.staging.groups import group, writer

BEAT = """
    insert into sensor_platform.collector_heartbeat values
    (:name, 'x', 'client', 'host', 1, now() - make_interval(secs => :age), :state, :connected, now(), null, now(),
     0, 0, 0, 0, 0, 0, null)
    on conflict (collector) do update set
    beat_at = excluded.beat_at, state = excluded.state, connected = excluded.connected
"""


def beat(database: Database, state: str, *, connected: bool = True, age: float = 0, name: str = "c0") -> None:
    with database.begin() as connection:
        connection.execute(sa.text(BEAT), {"name": name, "age": age, "state": state, "connected": connected})


def settings_of(database: Database, home: Path) -> Settings:
    return Settings(home=home, database_url=SecretStr(database.url))


def test_open_sealed_and_loaded_messages_are_all_counted_once(database: Database, tmp_path: Path) -> None:
    staging = LocalStaging(tmp_path)
    stage(staging, "a", [value(1), value(1), Message(b"rubbish")])
    load(staging, database)
    stage(staging, "b", [value(2), value(3)])
    with writer(tmp_path) as collector:
        collector.recover()
        collector.stage(group(b"1", b"2", b"3", b"4"))
        found = count(staging, database)
    assert found == Counts(
        messages=MessageCounts(staged=9, accepted=1, partial=0, dead_lettered=1, duplicate=1, ignored=0),
        readings=ReadingCounts(decoded=2, inserted=1, duplicate=1, refused=0),
        pending=6,
        dead_letters_pending=1,
    )


def test_a_damaged_micro_batch_hides_no_other(database: Database, tmp_path: Path) -> None:
    staging = LocalStaging(tmp_path)
    path = staging.path(stage(staging, "a", [value(1)]))
    path.write_bytes(path.read_bytes()[:200])
    stage(staging, "b", [value(2), value(3)])
    assert count(staging, database).pending == 2


def test_the_counts_add_up_while_files_are_sealed_and_loaded(database: Database, tmp_path: Path) -> None:
    staging, done, rounds = LocalStaging(tmp_path), threading.Event(), 40

    def collect_and_load() -> None:
        with writer(tmp_path) as collector:
            collector.recover()
            for number in range(rounds):
                collector.stage(group(b'{"value": %d}' % number))
                collector.seal()
                load(staging, database)
        done.set()

    worker = threading.Thread(target=collect_and_load, name="collect-and-load")
    worker.start()
    seen: list[int] = []
    while not done.is_set():
        found = count(staging, database)
        staged, *classes = astuple(found.messages)
        assert staged == found.pending + sum(classes)
        seen.append(staged)
    worker.join()
    assert seen == sorted(seen)
    assert count(staging, database).messages.staged == rounds


def test_the_collector_says_its_state_until_it_falls_silent(database: Database, home: Path) -> None:
    settings = settings_of(database, home)
    assert status(settings, None)["collector"]["state"] == "stopped"
    beat(database, "collecting")
    found = status(settings, None)["collector"]
    assert (found["state"], found["connected"]) == ("collecting", True)
    beat(database, "collecting", age=60)
    found = status(settings, None)["collector"]
    assert (found["state"], found["connected"]) == ("stopped", False)


def test_a_switched_off_collector_answers_and_one_without_a_connection_does_not(database: Database, home: Path) -> None:
    settings = settings_of(database, home)
    beat(database, "waiting", connected=False)
    assert status(settings, None)["parts"]["collector"]["answers"]
    beat(database, "connecting", connected=False)
    assert not status(settings, None)["parts"]["collector"]["answers"]


def test_it_has_the_keys_that_the_interface_names(database: Database, home: Path) -> None:
    found = status(settings_of(database, home), None)
    assert list(found) == [
        "ready",
        "parts",
        "collector",
        "messages",
        "readings",
        "dead_letters_pending",
        "alerts_firing",
        "staging",
    ]
    assert list(found["collector"]) == ["state", "connected", "since", "last_commit_at", "collectors"]
    messages = ["staged", "pending", "accepted", "partial", "dead_lettered", "duplicate", "ignored"]
    assert list(found["messages"]) == messages
    assert list(found["readings"]) == ["decoded", "inserted", "duplicate", "refused", "thinned", "expired"]
    assert found["ready"] is False  # no daemon beats here


def test_without_a_database_nothing_is_invented(home: Path) -> None:
    url = SecretStr(f"postgresql://u:p@127.0.0.1:{free_port()}/d")
    found = status(Settings(home=home, database_url=url), None)
    assert found["ready"] is False
    assert found["parts"]["postgres"]["answers"] is False
    assert found["messages"]["staged"] is None
    assert status(Settings(home=home), None)["parts"] == {}


def test_several_collectors_are_as_well_as_the_worst_that_runs(database: Database, home: Path) -> None:
    def found() -> tuple[str, bool]:
        collector = status(settings_of(database, home), None)["collector"]
        return collector["state"], collector["connected"]

    beat(database, "collecting", name="c0")
    beat(database, "stopped", connected=False, name="c1", age=3)
    beat(database, "collecting", name="c2", age=60)  # silent: another machine, long gone
    assert found() == ("collecting", True)
    beat(database, "connecting", connected=False, name="c3")
    assert found() == ("connecting", False)
    beat(database, "stopped", connected=False, name="c3")
    beat(database, "stopped", connected=False, name="c0")
    assert found() == ("stopped", False)


def test_it_answers_while_the_object_store_does_not(
    database: Database, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows then what is staged; everything else is said."""
    endpoint = f"http://127.0.0.1:{free_port()}"
    for name, given in {"ENDPOINT_URL": endpoint, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{name}", given)
    beat(database, "collecting")
    found = status(settings_of(database, home).model_copy(update={"staging_url": "s3://plant/staging"}), None)
    assert found["messages"]["staged"] is None
    assert found["collector"]["state"] == "collecting"
    assert found["alerts_firing"] == 0
    assert found["staging"]["where"] == "s3://plant/staging"
    assert f"{endpoint} does not answer" in found["staging"]["error"]
