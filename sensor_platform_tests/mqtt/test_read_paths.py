"""Both ways of reading keep every message, and no message ends the collector's thread."""

from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from structlog.testing import capture_logs

from sensor_platform.mqtt import arrived, stock_read
from sensor_platform.mqtt.fast_read import FastClient
from sensor_platform.mqtt.read_path import reading_client
from sensor_platform.mqtt.stock_read import StockClient
from sensor_platform_tests.mqtt.collecting import (
    collecting,
    make_settings,
    originals,
    publish,
    publisher,
    rows,
)
from sensor_platform_tests.mqtt.packets import publish as packet
from sensor_platform_tests.mqtt.sending_broker import sending_broker
from sensor_platform_tests.mqtt.test_collector import is_collecting
from sensor_platform_tests.waiting import wait_until

PATHS = pytest.mark.parametrize("read_path", ["auto", "stock"])
NOT_UTF8 = b"odd/\xff\xfe/x"
ACKNOWLEDGED = b"".join(bytes([0x40, 2, 0, n]) for n in range(1, 7))


@PATHS
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_topics_of_any_shape_are_staged_and_acknowledged(home: Path, protocol: str, read_path: str) -> None:
    topics = [b"a/b", NOT_UTF8, b"a/\0/b", b"a/#/+", b"x" * 65535, b"$SYS/\xed\xa0\x80"]
    no_properties = b"" if protocol == "5" else None
    frames = [packet(topic, b"%d" % n, packet_id=n, properties=no_properties) for n, topic in enumerate(topics, 1)]
    with sending_broker(frames) as broker:
        settings = make_settings(broker, home, "odd", protocol=protocol, read_path=read_path)
        with collecting(settings) as collector:
            wait_until(lambda: collector.health.messages == 6, "all messages")
            wait_until(lambda: broker.answers.startswith(ACKNOWLEDGED), "all acknowledgements, in order")
            assert collector.health.connections == 1
    assert [row["topic"] for row in rows(settings)] == topics
    assert [row["payload"] for row in rows(settings)] == [b"%d" % n for n in range(1, 7)]


@PATHS
def test_flags_ids_and_properties_are_those_of_the_wire(broker: Any, home: Path, read_path: str) -> None:
    settings = make_settings(broker, home, f"wire-{read_path}", protocol="5", read_path=read_path)
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = "application/json"
    properties.UserProperty = [("line", "3"), ("line", "4")]
    with collecting(settings) as collector, publisher(broker) as client:
        wait_until(lambda: is_collecting(collector), "a connection")
        publish(client, [(f"wire-{read_path}/a/b", b"")], qos=0)
        client.publish(f"wire-{read_path}/a/b", b"2", qos=2, properties=properties).wait_for_publish(10)
        wait_until(lambda: len(rows(settings)) == 2, "two messages")
    first, second = rows(settings)
    assert (first["qos"], first["packet_id"], first["user_properties"], first["dup"]) == (0, None, None, False)
    assert (second["qos"], second["packet_id"], second["content_type"]) == (1, 1, "application/json")
    assert second["user_properties"] == [("line", "3"), ("line", "4")]


@PATHS
def test_a_failure_while_a_message_is_read_costs_a_connection_and_nothing_else(
    broker: Any, home: Path, read_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = (arrived, "publish_properties") if read_path == "auto" else (stock_read, "_topic")
    real = getattr(*where)
    failed: list[object] = []

    def fails_once(given: Any) -> Any:
        if not failed:
            failed.append(given)
            raise RuntimeError("a callback failed")
        return real(given)

    monkeypatch.setattr(*where, fails_once)
    root = f"fails-{read_path}"
    settings = make_settings(broker, home, root, protocol="5", read_path=read_path)
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = [("k", "v")]
    with collecting(settings) as collector, publisher(broker) as client:
        wait_until(lambda: is_collecting(collector), "a connection")
        for info in [client.publish(f"{root}/a/b", b"%d" % n, qos=1, properties=properties) for n in range(50)]:
            info.wait_for_publish(10)
        wait_until(lambda: len(originals(settings)) == 50, "all messages")
        assert collector.health.connections == 2
    assert originals(settings) == [b"%d" % n for n in range(50)]


def test_a_paho_that_has_changed_is_read_through_its_public_api(monkeypatch: pytest.MonkeyPatch) -> None:
    reading_client.cache_clear()
    assert reading_client("auto") is FastClient
    reading_client.cache_clear()
    monkeypatch.delattr(Client, "_packet_handle")
    with capture_logs() as said:
        assert [reading_client("auto") for _ in range(3)] == [StockClient] * 3
    assert [(each["log_level"], each["event"], each["missing"]) for each in said] == [
        ("error", "reading_slowly", ["_packet_handle"])
    ]
    reading_client.cache_clear()
