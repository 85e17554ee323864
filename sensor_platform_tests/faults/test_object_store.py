"""The object store is down, hangs, dies, or the collector does: it goes on collecting, and nothing is lost or doubled.

The store is moto's server as its own process. It forgets everything when it is killed, which a real one does not.
"""

import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sensor_platform.database.engine import Database
from sensor_platform.embedded.status import count
from sensor_platform.pipeline.process import process
from sensor_platform.pipeline.retention import prune
from sensor_platform.routes.file import load_routes
from sensor_platform.settings import Settings
from sensor_platform.staging.kill_points import VARIABLE
from sensor_platform.staging.object_store import Bucket
from sensor_platform.staging.place import open_staging
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.mqtt.collecting import collecting, collector_process, make_settings, publish, publisher
from sensor_platform_tests.pipeline.staged import rows
from sensor_platform_tests.staging.s3_server import URL, S3Server
from sensor_platform_tests.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server that is not started yet; this process has its credentials."""
    server = S3Server()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    yield server
    server.kill()


def settings_of(broker: Any, home: Path, root: str) -> Settings:
    return make_settings(broker, home, root).model_copy(update={"staging_url": URL})


def granted(home: Path) -> bool:
    return next(home.glob("staging/_open/c0/subscriptions"), None) is not None


def messages(root: str, first: int, last: int) -> list[tuple[str, bytes]]:
    return [(f"{root}/press/p1", b'{"value": %d}' % number) for number in range(first, last)]


def on_the_disk(home: Path) -> list[str]:
    return [each.name for each in LocalStaging(home / "staging").micro_batches()]


def originals(settings: Settings) -> Counter[bytes]:
    """Payloads of the messages that repeat no other, wherever they are."""
    staging = open_staging(settings)
    found: Counter[bytes] = Counter()
    for each in staging.micro_batches():
        for row in staging.read(each).select(["payload", "redelivery_of"]).to_pylist():
            found[row["payload"]] += row["redelivery_of"] is None
    return found


def test_it_collects_while_the_store_is_down_and_uploads_when_it_is_back(
    broker: Any, home: Path, database: Database, store: S3Server
) -> None:
    """The whole way: collector, bucket, pipeline, metric tables."""
    settings = settings_of(broker, home, "store-down").model_copy(update={"database_url": SecretStr(database.url)})
    beat = "SELECT upload_waiting > 0, upload_waiting_since IS NOT NULL, upload_error FROM collector_heartbeat"
    with collecting(settings, database_url=database.url) as collector, publisher(broker) as client:
        wait_until(lambda: granted(home), "granted filters")
        publish(client, messages("store-down", 0, 200))
        wait_until(lambda: collector.health.messages == 200 and on_the_disk(home), "sealed messages")
        wait_until(lambda: "does not answer" in str(collector.health.upload_error), "the reason")
        wait_until(lambda: rows(database, beat)[0][:2] == (True, True), "the backlog in the heartbeat")
        assert collector.health.error is None
        store.start()
        wait_until(lambda: not on_the_disk(home) and not collector.health.open_messages, "uploads", 90)
        wait_until(lambda: collector.health.upload_error is None, "the end of the trouble")
        publish(client, messages("store-down", 200, 250))
        wait_until(lambda: collector.health.messages == 250, "all of them")
    assert on_the_disk(home) == []  # a stop uploads what it sealed
    staging = open_staging(settings)
    assert count(staging, database).pending == 250
    report = process(staging, database, load_routes(settings), settings=settings)
    assert (report.messages.staged, report.readings.inserted) == (250, 250)
    assert rows(database, "SELECT count(DISTINCT value), sum(value) FROM metric") == [(250, sum(range(250)))]
    assert count(staging, database).pending == 0
    assert len(list(Bucket(URL).keys())) == report.micro_batches
    pruned = prune(staging, database, days=30, now=datetime.now(UTC) + timedelta(days=31))
    assert (pruned.micro_batches, pruned.messages, pruned.unprocessed) == (report.micro_batches, 250, 0)
    assert list(Bucket(URL).keys()) == []


def test_a_bucket_that_is_not_there_is_said_at_the_start_and_awaited(broker: Any, home: Path, store: S3Server) -> None:
    store.start(with_bucket=False)
    settings = settings_of(broker, home, "store-bucket")
    with collecting(settings) as collector, publisher(broker) as client:
        # Before there is anything to upload.
        said = f"{URL}: cannot list: there is no such bucket. Make it, or correct STAGING_URL."
        wait_until(lambda: collector.health.upload_error == said, "the reason")
        wait_until(lambda: granted(home), "granted filters")
        publish(client, messages("store-bucket", 0, 20))
        wait_until(lambda: collector.health.upload_waiting and collector.health.messages == 20, "a file that waits")
        assert collector.health.connected
        store.make_bucket()
        wait_until(lambda: not on_the_disk(home) and collector.health.upload_error is None, "uploads", 90)
    assert originals(settings) == Counter(payload for _, payload in messages("store-bucket", 0, 20))


def test_killed_between_upload_and_unlink_nothing_is_there_twice(broker: Any, home: Path, store: S3Server) -> None:
    store.start()
    settings = settings_of(broker, home, "store-kill")
    environment = {"STAGING_URL": URL, **store.environment}
    with publisher(broker) as client:
        with collector_process(settings, **environment, **{VARIABLE: "between_upload_and_unlink"}) as doomed:
            wait_until(lambda: granted(home), "granted filters")
            publish(client, messages("store-kill", 0, 40))
            assert doomed.wait(timeout=60) == -signal.SIGKILL
        uploaded = list(Bucket(URL).keys())
        assert [Path(key).stem for key in uploaded] == on_the_disk(home)[:1]
        with collecting(settings):
            publish(client, messages("store-kill", 40, 50))
            wait_until(lambda: sum(originals(settings).values()) == 50, "all of them", 60)
    assert on_the_disk(home) == []
    assert originals(settings) == Counter(payload for _, payload in messages("store-kill", 0, 50))


def test_a_store_that_hangs_and_then_dies_holds_up_nothing(broker: Any, home: Path, store: S3Server) -> None:
    store.start()
    settings = settings_of(broker, home, "store-hangs")
    with collecting(settings) as collector, publisher(broker) as client:
        wait_until(lambda: granted(home), "granted filters")
        publish(client, messages("store-hangs", 0, 1))
        wait_until(lambda: list(Bucket(URL).keys()), "an upload")
        store.pause()
        publish(client, messages("store-hangs", 1, 50))
        wait_until(lambda: on_the_disk(home), "a file that waits")
        publish(client, messages("store-hangs", 50, 100))
        wait_until(lambda: collector.health.messages == 100 and not collector.health.open_messages, "messages")
        assert collector.health.connected
        store.kill()
        store.start()
        wait_until(lambda: not on_the_disk(home), "uploads", 90)
    kept = originals(settings)
    assert kept == Counter(payload for _, payload in messages("store-hangs", 1, 100))  # moto forgot the first


def test_a_stop_does_not_wait_for_a_store_that_hangs(broker: Any, home: Path, store: S3Server) -> None:
    store.start()
    settings = settings_of(broker, home, "store-stop")
    with collector_process(settings, STAGING_URL=URL, **store.environment) as process, publisher(broker) as client:
        wait_until(lambda: granted(home), "granted filters", 60)
        store.pause()
        publish(client, messages("store-stop", 0, 20))
        wait_until(lambda: on_the_disk(home), "a file that waits")
        process.terminate()
        assert process.wait(timeout=60) == 0
    assert on_the_disk(home)
