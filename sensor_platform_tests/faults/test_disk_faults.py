"""The staging disk fills up under load: messages wait at the broker, the collector says why, and goes on by itself."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from sensor_platform.database.engine import Database
from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform.embedded.environment import environment_of
from sensor_platform.health.alerts import evaluate
from sensor_platform.health.figures import measure
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.faults.small_disk import FileSizeLimit, PrivateTmpfs, may_mount
from sensor_platform_tests.faults.tally import prove_each_once, sealed_rows
from sensor_platform_tests.mqtt.collecting import collector_process, make_settings, publish, publisher
from sensor_platform_tests.waiting import wait_until

HEARTBEAT = "select connected, coalesce(error, '') from sensor_platform.collector_heartbeat"
BLOCK = 60


@pytest.fixture(params=["tmpfs", "limit"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> PrivateTmpfs | FileSizeLimit:
    folder = tmp_path / "small disk"
    folder.mkdir()
    if request.param == "limit":
        return FileSizeLimit(folder)
    if not may_mount(folder):
        pytest.skip("no user and mount namespaces here: the limit on the size of files stands for a full disk alone")
    return PrivateTmpfs(folder)


@pytest.mark.slow
def test_a_disk_that_fills_under_load_leaves_messages_with_the_broker_until_there_is_room(
    own_broker: EmbeddedBroker, home: Path, database: Database, small_disk: PrivateTmpfs | FileSizeLimit
) -> None:
    root = f"disk-{type(small_disk).__name__}"
    settings = make_settings(own_broker, home, root).model_copy(update={"staging_url": f"file://{small_disk.folder}"})
    payloads = [b'{"value": %d, "filling": "%s"}' % (n, b"-" * 8_000) for n in range(3 * BLOCK)]
    messages = [(f"{root}/press/force", payload) for payload in payloads]
    with (
        psycopg.connect(database.url, autocommit=True) as sql,
        collector_process(settings, prefix=small_disk.prefix, DATABASE_URL=database.url) as collector,
        publisher(own_broker) as client,
    ):

        def beat() -> tuple[bool, str]:
            return sql.execute(HEARTBEAT).fetchone() or (False, "")

        def alert_is(state: str) -> bool:
            """Looked at three seconds from now: the rule waits for two."""
            now = datetime.now(UTC) + timedelta(seconds=3)
            changes = evaluate(database, settings, now=now, figures=measure(database, staging, now=now))
            return ("cannot_stage", state) in [(change.rule, change.state.value) for change in changes]

        wait_until(lambda: beat()[0], "a connection", 60)
        staging: LocalStaging = small_disk.opened(collector.pid)
        wait_until(lambda: next(staging.root.glob("_open/c0/subscriptions"), None), "granted filters")
        publish(client, messages[:BLOCK])
        wait_until(lambda: staged(staging) == BLOCK, "messages on a disk with room")
        small_disk.fill()
        publish(client, messages[BLOCK:])  # confirmed by the broker, which holds them
        connected, error = wait_until(lambda: beat() if "cannot stage" in beat()[1] else None, "the reason")
        print(f"while full: connected {connected}, {error}")
        assert "Messages stay with the broker; free space" in error
        assert staged(staging) < len(messages)
        wait_until(lambda: alert_is("firing"), "an alert")
        small_disk.make_room()
        wait_until(lambda: len(sealed_rows(staging)) >= len(messages), "what the broker kept", 60)
        wait_until(lambda: beat() == (True, ""), "the end of the trouble")
        wait_until(lambda: alert_is("resolved"), "the end of the alert")
        prove_each_once("staging disk full", payloads, staging)
    log = (home / "collector.log").read_text()
    if isinstance(small_disk, PrivateTmpfs):  # the limit has no room for the log either, and the collector lived on
        assert log.count("cannot_collect") == 1, "told once, not at each attempt"


def test_without_retry_a_full_disk_ends_the_command(own_broker: EmbeddedBroker, home: Path) -> None:
    environ = {**os.environ, **environment_of(make_settings(own_broker, home, "full-at-start"))}
    command = [sys.executable, "-m", "sensor_platform.cli", "collect", "--once-connected-or-fail"]
    limited = ["prlimit", "--fsize=0", "--", *command]
    done = subprocess.run(limited, env=environ, cwd=home, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 88
    assert "cannot stage: File too large. Messages stay with the broker; free space" in done.stderr


def staged(staging: LocalStaging) -> int:
    return staging.open_messages() + sum(map(staging.count, staging.micro_batches()))
