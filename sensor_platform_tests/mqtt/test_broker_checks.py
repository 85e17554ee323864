"""What the broker would lose is found and said, as far as the protocol and `$SYS` show it."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from sensor_platform.mqtt import connection, probe
from sensor_platform.mqtt.broker_facts import SysFindings, of_connack
from sensor_platform.mqtt.connection import Protocol
from sensor_platform.settings import MqttSettings
from sensor_platform_tests.conftest import Broker, free_port
from sensor_platform_tests.mqtt.collecting import collecting, make_settings, originals, publish, publisher
from sensor_platform_tests.mqtt.secured import mosquitto
from sensor_platform_tests.waiting import wait_until


@dataclass(frozen=True)
class Plain:
    """A broker that lets anybody in."""

    port: int
    username: str = "anybody"
    password: str = "any"
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"


@pytest.mark.parametrize(
    ("granted", "kinds"),
    [
        ({}, []),
        ({"session_expiry_s": 3600}, ["session_expires_early"]),
        ({"maximum_qos": 0}, ["no_qos_1"]),
        ({"maximum_qos": 1, "maximum_packet_bytes": 268435455}, []),
        ({"maximum_packet_bytes": 1000}, ["packets_limited"]),
        ({"wildcards_available": 0}, ["no_wildcards"]),
        ({"shared_subscriptions_available": 0}, ["no_shared_subscriptions"]),
    ],
)
def test_what_a_connack_does_not_grant_is_a_finding(granted: dict[str, int], kinds: list[str]) -> None:
    found = of_connack(granted, MqttSettings(), ["$share/g/factory/+/data"])
    assert [finding.kind for finding in found] == kinds


def test_only_what_is_dropped_while_we_look_counts() -> None:
    findings = SysFindings()
    assert list(findings.take({"messages_dropped": 7})) == []
    (one,) = findings.take({"messages_dropped": 10})
    assert (one.kind, "dropped 3 messages" in one.detail) == ("broker_drops", True)
    (same,) = findings.take({"messages_dropped": 2})  # the broker has restarted; what it dropped stays said
    assert same == one
    assert [found.kind for found in findings.take({"version": "aMQTT version 0.12", "messages_dropped": 2})] == [
        "demo_broker",
        "broker_drops",
    ]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_broker_says_what_it_is_and_when_it_drops(tmp_path: Path, home: Path, protocol: str) -> None:
    broker = Plain(free_port())
    lines = [f"listener {broker.port} 127.0.0.1", "sys_interval 1", "max_queued_messages 5", "max_inflight_messages 5"]
    with mosquitto(tmp_path, lines, anonymous=True):
        settings = make_settings(broker, home, "drops", protocol=protocol, broker_check_interval_s=0.3)
        with collecting(settings) as collector, publisher(broker) as client:
            wait_until(lambda: "version" in (collector.health.broker or {}), "the version")
            assert "mosquitto" in collector.health.broker["version"]  # type: ignore[index]
            wait_until(lambda: "messages_dropped" in (collector.health.broker or {}), "the counter")
            away = paho.Client(CallbackAPIVersion.VERSION2, client_id="away", clean_session=False)
            away.on_connect = lambda *_: away.subscribe("elsewhere", 1)
            away.on_subscribe = lambda *_: away.disconnect()
            away.connect(broker.host, broker.port)
            away.loop_forever()
            publish(client, [("elsewhere", b"%d" % n) for n in range(50)])
            wait_until(lambda: kinds(collector) == ["broker_drops"], "the warning", 40)


def test_a_session_that_the_broker_forgot_is_said(tmp_path: Path, home: Path) -> None:
    broker = Plain(free_port())
    lines = [f"listener {broker.port} 127.0.0.1"]  # and no persistence
    settings = make_settings(broker, home, "forgets")
    with mosquitto(tmp_path, lines, anonymous=True), collecting(settings) as collector:
        wait_until(lambda: next(home.glob("staging/_open/c0/subscriptions"), None) is not None, "granted filters")
        assert kinds(collector) == []
    with mosquitto(tmp_path, lines, anonymous=True), collecting(settings) as collector:
        wait_until(lambda: collector.health.connected, "a connection")
        wait_until(lambda: kinds(collector) == ["session_lost"], "the warning")


def test_the_embedded_broker_has_nothing_to_be_warned_of(broker: Any, home: Path) -> None:
    settings = make_settings(broker, home, "embedded", broker_check_interval_s=60)
    with collecting(settings) as collector:
        wait_until(lambda: "version" in (collector.health.broker or {}), "the version")
        assert kinds(collector) == []


def test_the_configuration_for_a_server_keeps_a_queue_over_a_restart(tmp_path: Path, home: Path) -> None:
    text = (Path(__file__).parents[2] / "deploy" / "mosquitto.conf").read_text(encoding="utf-8")
    broker = Plain(free_port())
    # Where it stands and who may enter is the server's own.
    own = ("listener", "cafile", "certfile", "keyfile", "password_file", "allow_anonymous", "persistence_location")
    lines = [line for line in text.splitlines() if line and not line.startswith("#") and line.split()[0] not in own]
    lines = [line for line in lines if not line.startswith("per_listener_settings")]
    lines += [f"listener {broker.port} 127.0.0.1", f"persistence_location {tmp_path}/"]
    settings = make_settings(broker, home, "server")
    with mosquitto(tmp_path, lines, anonymous=True, persistence=True) as process:
        with collecting(settings):
            wait_until(lambda: next(home.glob("staging/_open/c0/subscriptions"), None) is not None, "granted filters")
        with publisher(broker) as client:
            publish(client, [("server/a/b", b"%d" % n) for n in range(3000)])
        process.terminate()
        process.wait(timeout=20)
    with mosquitto(tmp_path, lines, anonymous=True, persistence=True), collecting(settings) as collector:
        wait_until(lambda: collector.health.messages == 3000, "what was queued", 60)
        assert kinds(collector) == []
    assert originals(settings) == [b"%d" % n for n in range(3000)]


def kinds(collector: Any) -> list[str]:
    return [finding.kind for finding in collector.health.warnings]


def test_an_unexpected_error_does_not_end_the_looks(
    broker: Broker, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[Client] = []

    def connect(client: Client, settings: MqttSettings) -> None:
        tries.append(client)
        if len(tries) == 1:
            raise RuntimeError("not foreseen")
        connection.connect(client, settings)

    monkeypatch.setattr(probe, "connect", connect)
    settings = make_settings(broker, home, "looks", broker_check_interval_s=0.1)
    found = threading.Event()
    look = probe.BrokerProbe(settings.mqtt, on_found=found.set)
    look.start()
    try:
        look.ask(Protocol.V5)
        assert found.wait(30)
    finally:
        look.stop()
    assert "mosquitto" in look.found["version"]
