"""publish, simulate and replay as their users call them: counts on stdout, words on stderr, exit codes."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sensor_platform.database.engine import Database
from sensor_platform.embedded.postgres import EmbeddedPostgres
from sensor_platform.mqtt.collector import Collector
from sensor_platform.pipeline.process import process
from sensor_platform.routes.file import load_routes
from sensor_platform.settings import MqttSettings, Settings
from sensor_platform.staging.place import open_staging
from sensor_platform_tests.conftest import Broker
from sensor_platform_tests.waiting import wait_until

CLI = [sys.executable, "-m", "sensor_platform.cli"]


class Commands:
    """Commands in an environment of their own."""

    def __init__(self, broker: Broker, home: Path, **more: str) -> None:
        self.environ = {
            **os.environ,
            "SENSOR_PLATFORM_HOME": str(home),
            "MQTT_BROKER_URL": broker.url,
            "MQTT_USERNAME": broker.username,
            "MQTT_PASSWORD_FILE": str(broker.password_file),
            **more,
        }
        self.folder = home

    def run(self, *args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*CLI, *args], env=self.environ, cwd=self.folder, input=stdin, capture_output=True, timeout=120, check=False
        )

    def json(self, *args: str, stdin: bytes = b"", exit_code: int = 0) -> Any:
        done = self.run(*args, "--json", stdin=stdin)
        assert done.returncode == exit_code, done.stderr.decode()
        return json.loads(done.stdout)


@pytest.fixture
def commands(broker: Broker, home: Path) -> Commands:
    return Commands(broker, home)


@pytest.fixture
def routes(home: Path) -> str:
    """A topic root of this test alone: the broker is shared."""
    root = f"commands-{os.urandom(4).hex()}"
    text = f"routes:\n  - name: all\n    filter: {root}/{{work_unit}}/{{sensor}}\n    format: json\n"
    (home / "routes.yaml").write_text(text)
    return root


@pytest.fixture
def collector(broker: Broker, home: Path, routes: str) -> Iterator[Settings]:
    """A collector at work."""
    settings = Settings(
        home=home,
        routes_file=home / "routes.yaml",
        mqtt=MqttSettings(
            broker_url=broker.url,
            username=broker.username,
            password=SecretStr(broker.password),
            buffer_flush_interval_ms=100,
        ),
    )
    with Collector(settings) as one:
        thread = threading.Thread(target=one.run, name="collector under test")
        thread.start()
        try:
            wait_until(lambda: one.health.state == "collecting", "a connection")
            yield settings
        finally:
            one.request_stop()
            thread.join()


def payloads(settings: Settings) -> list[bytes]:
    staging = open_staging(settings)
    return [payload for each in staging.micro_batches() for payload in staging.read(each)["payload"].to_pylist()]


def wait_for_payloads(settings: Settings, count: int) -> list[bytes]:
    return wait_until(lambda: found if len(found := payloads(settings)) >= count else None, f"{count} payloads", 30)


def test_publish_hands_over_the_argument_or_standard_input(
    commands: Commands, collector: Settings, routes: str
) -> None:
    topic = f"{routes}/a/b"
    assert commands.json("publish", topic, '{"value": 1}') == {"published": 1, "confirmed": 1, "unmatched": 0}
    assert commands.json("publish", topic, stdin=b"\x00\xff raw")["confirmed"] == 1
    assert commands.json("publish", topic, "-", stdin=b"dash")["confirmed"] == 1
    # QoS 0 is confirmed by nobody, and that is no failure.
    assert commands.json("publish", topic, "four", "--qos", "0") == {"published": 1, "confirmed": 0, "unmatched": 0}
    assert wait_for_payloads(collector, 4) == [b'{"value": 1}', b"\x00\xff raw", b"dash", b"four"]


def test_publish_to_nobody_fails_and_says_so(commands: Commands) -> None:
    done = commands.run("publish", "commands/nobody/listens", "1", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"published": 1, "confirmed": 0, "unmatched": 1}
    assert b'"commands/nobody/listens": nobody subscribed to 1 of 1 messages' in done.stderr


def test_a_topic_with_a_wildcard_is_a_usage_error(commands: Commands) -> None:
    done = commands.run("publish", "a/+/b", "1")
    assert done.returncode == 2
    assert b"the wildcards + and # are for subscriptions" in done.stderr


def test_without_a_broker_the_setting_is_named(commands: Commands) -> None:
    del commands.environ["MQTT_BROKER_URL"]
    done = commands.run("publish", "a/b", "1")
    assert done.returncode == 78
    assert b"MQTT_BROKER_URL is not set" in done.stderr


def test_simulate_ends_by_itself_or_by_a_signal(commands: Commands) -> None:
    """Nobody subscribes to the fleet's topics here: everything is unmatched, and that is a failure."""
    counts = commands.json("simulate", "--rate", "100", "--duration", "1", exit_code=1)
    assert 1 <= counts["published"] <= 200, "the rate holds, however busy the machine is"
    assert counts == {"published": counts["published"], "confirmed": 0, "unmatched": counts["published"]}
    for number in (signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen(
            [*CLI, "simulate", "--rate", "50", "--json"],
            env=commands.environ,
            cwd=commands.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == b"publishing; Ctrl-C ends it\n"
            process.send_signal(number)
            output, errors = process.communicate(timeout=30)
        told = json.loads(output)
        assert told["published"] == told["unmatched"]
        assert process.returncode == (1 if told["published"] else 0), errors


def test_replay_publishes_each_row_in_order(commands: Commands, collector: Settings, routes: str, home: Path) -> None:
    file = home / "recorded data.csv"
    rows = "".join(f"2020-01-01 00:00:{second:02};{second}.50;ok\n" for second in range(60))
    file.write_text(f"datetime;force;label\n{rows}")
    done = commands.run("replay", str(file), "--topic", f"{routes}/a/b", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"published": 60, "confirmed": 60, "unmatched": 0}
    assert b'60 cells are no numbers and were sent as text (first: line 2, column "label": ok)' in done.stderr
    assert wait_for_payloads(collector, 60) == [
        b'{"timestamp": "2020-01-01T00:00:%02dZ", "metrics": {"force": %d.50, "label": "ok"}}' % (second, second)
        for second in range(60)
    ]


def test_replay_of_what_cannot_be_read_fails_with_the_line(commands: Commands, home: Path) -> None:
    (home / "a.csv").write_text("time,v\nyesterday,1\n")
    done = commands.run("replay", "a.csv", "--topic", "a/b")
    assert done.returncode == 1
    assert b'a.csv:2: column "time": "yesterday" is not a time' in done.stderr
    assert commands.run("replay", "missing.csv", "--topic", "a/b").returncode == 2


def test_replay_waits_until_all_is_in_the_ledger(
    broker: Broker, home: Path, collector: Settings, routes: str, database: Database, postgres_server: EmbeddedPostgres
) -> None:
    file = home / "a.csv"
    file.write_text("ts,v\n" + "".join(f"{1577836800 + second},{second}\n" for second in range(200)))
    commands = Commands(broker, home, DATABASE_URL=database.url)
    waiting = subprocess.Popen(
        [*CLI, "replay", "a.csv", "--topic", f"{routes}/a/b", "--wait", "--json"],
        env=commands.environ,
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with waiting:
        wait_for_payloads(collector, 200)
        assert waiting.poll() is None, "staged is not in the ledger"

        def ended() -> bool:
            process(open_staging(collector), database, load_routes(collector), settings=collector)
            return waiting.poll() is not None

        wait_until(ended, "the replay to end", 60)
        output, errors = waiting.communicate(timeout=30)
    assert waiting.returncode == 0, errors
    assert json.loads(output) == {"published": 200, "confirmed": 200, "unmatched": 0}
    with database.connect() as connection:
        rows = connection.exec_driver_sql("select count(*), sum(value) from sensor_platform.metric").one()
    assert tuple(rows) == (200, 19900.0)
