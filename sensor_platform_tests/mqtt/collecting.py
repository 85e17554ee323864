"""A collector at work: in a thread of this process, or as a process of its own; and publishers beside it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from pydantic import SecretStr

from sensor_platform.embedded.environment import environment_of
from sensor_platform.mqtt.collector import Collector
from sensor_platform.mqtt.states import State
from sensor_platform.settings import MqttSettings, Settings
from sensor_platform.staging.store import LocalStaging

ROUTES = "routes:\n  - name: all\n    filter: '{root}/{{work_unit}}/{{sensor}}'\n    format: json\n"


def make_settings(broker: Any, home: Path, root: str, **mqtt: Any) -> Settings:
    """Settings of a collector that subscribes below the topic `root` only; quick to seal and to reconnect."""
    routes = home / "routes.yaml"
    routes.write_text(ROUTES.format(root=root))
    defaults = {
        "broker_url": broker.url,
        "username": broker.username,
        "password": SecretStr(broker.password),
        "client_id": f"collector-{root}",
        "buffer_flush_interval_ms": 200,
        "reconnect_min_s": 0.05,
        "reconnect_max_s": 0.5,
        "keep_alive_s": 5,
        # The tests of these switch them on: others count what a broker gets.
        "status_topic": "off",
        "broker_check_interval_s": 0,
    }
    return Settings(
        home=home,
        routes_file=routes,
        mqtt=MqttSettings(**{**defaults, **mqtt}),
    )


@contextmanager
def collecting(settings: Settings, **options: Any) -> Iterator[Collector]:
    """A collector in a thread, stopped at the end."""
    with Collector(settings, **options) as collector:
        thread = threading.Thread(target=collector.run, name="collector under test")
        thread.start()
        try:
            yield collector
        finally:
            collector.request_stop()
            thread.join(timeout=20)
            assert not thread.is_alive()


def is_collecting(collector: Collector) -> bool:
    return collector.health.state is State.COLLECTING and collector.health.connected


@contextmanager
def collector_process(
    settings: Settings, *, prefix: Sequence[str] = (), **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """`sensor-platform collect` as a process of its own; killed at the end if it still lives.

    `prefix`: a command that ends by executing the one that follows it. What the collector says is in `collector.log`.
    """
    command = [*prefix, sys.executable, "-m", "sensor_platform.cli", "collect"]
    with (settings.home / "collector.log").open("ab") as log:
        environ = {**os.environ, **environment_of(settings), **environment}
        process = subprocess.Popen(command, env=environ, cwd=settings.home, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)


@contextmanager
def publisher(broker: Any, *, protocol: str = "5", client_id: str = "") -> Iterator[paho.Client]:
    """A stock paho client with its own thread, connected."""
    version = MQTTProtocolVersion.MQTTv5 if protocol == "5" else MQTTProtocolVersion.MQTTv311
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version)
    if broker.username:
        client.username_pw_set(broker.username, broker.password)
    client.max_inflight_messages_set(1000)
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        assert connected.wait(10)
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def publish(client: paho.Client, messages: Iterable[tuple[str, bytes]], *, qos: int = 1, retain: bool = False) -> None:
    """All of them, confirmed by the broker."""
    for info in [client.publish(topic, payload, qos, retain) for topic, payload in messages]:
        info.wait_for_publish(30)
        assert info.is_published()


def rows(settings: Settings) -> list[dict[str, Any]]:
    """Every sealed message, in received order."""
    store = LocalStaging(settings.home / "staging")
    found = [row for each in store.micro_batches() for row in store.read(each).to_pylist()]
    return sorted(found, key=lambda row: row["sequence"])


def originals(settings: Settings) -> list[bytes]:
    """The payloads that the pipeline will decode: those of messages that repeat no other."""
    return [row["payload"] for row in rows(settings) if row["redelivery_of"] is None]
