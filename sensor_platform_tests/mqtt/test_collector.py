"""The collector beside a real broker."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform.errors import (
    CollectorBusyError,
)
from sensor_platform.mqtt.collector import Collector
from sensor_platform.mqtt.states import State
from sensor_platform_tests.conftest import free_port
from sensor_platform_tests.mqtt.collecting import (
    collecting,
    collector_process,
    is_collecting,
    make_settings,
    originals,
    publish,
    publisher,
    rows,
)
from sensor_platform_tests.waiting import wait_until

BOTH = pytest.mark.parametrize("protocol", ["5", "3.1.1"])
PATHS = pytest.mark.parametrize("read_path", ["auto", "stock"])


@PATHS
@BOTH
def test_what_is_published_is_staged(broker: Any, home: Path, protocol: str, read_path: str) -> None:
    root = f"flow-{protocol}-{read_path}"
    settings = make_settings(broker, home, root, protocol=protocol, read_path=read_path)
    sent = [(f"{root}/press/force-{n % 3}", b"%d" % n) for n in range(500)]
    with collecting(settings) as collector, publisher(broker) as client:
        wait_until(lambda: is_collecting(collector), "a connection")
        publish(client, sent)
        wait_until(lambda: len(rows(settings)) == 500, "500 messages")
        assert collector.health.messages == 500
        assert collector.health.error is None
    assert collector.health.state is State.STOPPED
    found = rows(settings)
    assert [(row["topic"].decode(), row["payload"]) for row in found] == sent
    assert {row["qos"] for row in found} == {1}
    assert [row["sequence"] for row in found] == list(range(500))


@PATHS
@BOTH
def test_the_session_keeps_what_comes_while_it_is_down(broker: Any, home: Path, protocol: str, read_path: str) -> None:
    root = f"down-{protocol}-{read_path}"
    settings = make_settings(broker, home, root, protocol=protocol, read_path=read_path)
    with publisher(broker) as client:
        with collecting(settings) as collector:
            wait_until(lambda: is_collecting(collector), "a connection")
            publish(client, [(f"{root}/a/b", b"before")])
            wait_until(lambda: originals(settings) == [b"before"], "the first message")
        publish(client, [(f"{root}/a/b", b"%d" % n) for n in range(300)])
        with collecting(settings):
            wait_until(lambda: len(rows(settings)) == 301, "what was kept")
    assert originals(settings) == [b"before", *(b"%d" % n for n in range(300))]


def test_odd_messages_are_staged_as_they_are(broker: Any, home: Path) -> None:
    settings = make_settings(broker, home, "odd", max_payload_bytes=10)
    with collecting(settings) as collector, publisher(broker) as client:
        wait_until(lambda: is_collecting(collector), "a connection")
        publish(client, [("odd/a/b", b""), ("odd/a/b", bytes(1_000_000))])
        publish(client, [("odd/a/b", b"qos 0")], qos=0)
        publish(client, [("odd/a/b", b"qos 2")], qos=2)
        wait_until(lambda: len(rows(settings)) == 4, "four messages")
        assert collector.health.qos0 == 1
    found = {row["payload"]: (row["qos"], row["packet_id"] is None) for row in rows(settings)}
    assert found == {b"": (1, False), bytes(1_000_000): (1, False), b"qos 0": (0, True), b"qos 2": (1, False)}


@BOTH
def test_a_retained_message_comes_once_over_reconnects(broker: Any, home: Path, protocol: str) -> None:
    root = f"retained-{protocol}"
    settings = make_settings(broker, home, root, protocol=protocol)
    with publisher(broker) as client:
        publish(client, [(f"{root}/a/b", b"kept")], retain=True)
        for number in range(3):
            with collecting(settings) as collector:
                wait_until(lambda collector=collector: is_collecting(collector), "a connection")  # type: ignore[misc]
                publish(client, [(f"{root}/a/c", b"%d" % number)])
                wait_until(lambda number=number: b"%d" % number in originals(settings), "a message")  # type: ignore[misc]
        publish(client, [(f"{root}/a/b", b"")], retain=True)
    retained = [row["payload"] for row in rows(settings) if row["retain"]]
    assert retained == [b"kept"]


@BOTH
def test_filters_that_left_the_routes_are_unsubscribed(broker: Any, home: Path, protocol: str) -> None:
    before = make_settings(broker, home, f"old-{protocol}", protocol=protocol, client_id=f"routes-{protocol}")
    with collecting(before) as collector:
        wait_until(lambda: is_collecting(collector), "a connection")
        wait_until(lambda: next(home.glob("staging/_open/c0/subscriptions"), None) is not None, "granted filters")
    after = make_settings(broker, home, f"new-{protocol}", protocol=protocol, client_id=f"routes-{protocol}")
    with collecting(after) as collector, publisher(broker) as client:
        kept = home / "staging/_open/c0/subscriptions"
        wait_until(lambda: f"new-{protocol}" in kept.read_text(), "granted filters")
        wait_until(lambda: f"old-{protocol}" not in kept.read_text(), "the end of the old ones")
        publish(client, [(f"old-{protocol}/a/b", b"no"), (f"new-{protocol}/a/b", b"yes")])
        wait_until(lambda: originals(after) == [b"yes"], "the message of the new filter")


def test_a_broker_restart_is_survived(tmp_path: Path, home: Path) -> None:
    port = free_port()
    with EmbeddedBroker(tmp_path / "own broker", port) as own:
        settings = make_settings(own, home, "restart")
        with collecting(settings) as collector:
            with publisher(own) as client:
                wait_until(lambda: is_collecting(collector), "a connection")
                publish(client, [("restart/a/b", b"before")])
                wait_until(lambda: collector.health.messages == 1, "the first message")
            own.stop()
            wait_until(lambda: not collector.health.connected and collector.health.error is not None, "the loss")
            own.start()
            wait_until(lambda: is_collecting(collector), "a connection again")
            with publisher(own) as client:
                publish(client, [("restart/a/b", b"after")])
            wait_until(lambda: originals(settings) == [b"before", b"after"], "both messages")
            assert collector.health.error is None
            assert collector.health.connections == 2


def test_a_second_collector_is_told_who_is_there(broker: Any, home: Path) -> None:
    settings = make_settings(broker, home, "busy")
    with collecting(settings), pytest.raises(CollectorBusyError, match=f"pid {os.getpid()}"), Collector(settings):
        pass


def test_the_command_stops_cleanly(broker: Any, home: Path) -> None:
    settings = make_settings(broker, home, "command")
    with collector_process(settings) as process, publisher(broker) as client:
        wait_until(lambda: next(home.glob("staging/_open/c0/subscriptions"), None) is not None, "granted filters")
        publish(client, [("command/a/b", b"%d" % n) for n in range(50)])
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        with collector_process(settings) as again:
            publish(client, [("command/a/b", b"50")])
            wait_until(lambda: len(originals(settings)) == 51, "all messages")
            again.send_signal(signal.SIGINT)
            assert again.wait(timeout=10) == 0
    assert originals(settings) == [b"%d" % n for n in range(51)]


IMPORTS = """
import sys, threading
from pathlib import Path
from sensor_platform.cli import sensor_platform
import sensor_platform.mqtt.collector as collector

real = collector.Collector.run
def run(self):
    threading.Timer(3.0, self.request_stop).start()
    real(self)
collector.Collector.run = run
sensor_platform(["collect"], standalone_mode=False)
heavy = [name for name in ("pandas", "pandera", "dagster", "sqlalchemy", "fastapi") if name in sys.modules]
assert not heavy, heavy
from sensor_platform.staging.store import LocalStaging
assert LocalStaging(Path("staging").absolute()).micro_batches(), "it staged nothing"
assert "pandas" not in sys.modules
"""


def test_collecting_imports_neither_pandas_nor_dagster(broker: Any, home: Path) -> None:
    settings = make_settings(broker, home, "light")
    with collecting(settings) as collector:
        wait_until(lambda: is_collecting(collector), "the session to be made")
        wait_until(lambda: next(home.glob("staging/_open/c0/subscriptions"), None) is not None, "granted filters")
    with publisher(broker) as client:
        publish(client, [("light/a/b", b"1")])
    assert settings.mqtt.password is not None
    environ = {
        **os.environ,
        "MQTT_BROKER_URL": broker.url,
        "MQTT_USERNAME": broker.username,
        "MQTT_PASSWORD": broker.password,
        "MQTT_CLIENT_ID": str(settings.mqtt.client_id),
        "SENSOR_PLATFORM_HOME": str(home),
        "SENSOR_PLATFORM_ROUTES": str(settings.routes_file),
    }
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], env=environ, cwd=home, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
