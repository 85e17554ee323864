"""Birth message, farewell and last will; and brokers that do not want them."""

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from sensor_platform.errors import CredentialsRefusedError
from sensor_platform.mqtt.presence import Presence
from sensor_platform_tests.mqtt.collecting import collecting, collector_process, make_settings, publisher, rows
from sensor_platform_tests.waiting import wait_until

TOPIC = "a-plant/{client_id}/status"


@contextmanager
def watching(broker: Any, topic: str) -> Iterator[list[dict[str, Any]]]:
    """What is told on the topic, as it comes."""
    told: list[dict[str, Any]] = []
    with publisher(broker) as client:
        client.on_message = lambda _client, _data, message: told.append(json.loads(message.payload))
        client.subscribe(topic, 1)
        yield told


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_it_says_when_it_comes_and_when_it_goes(broker: Any, home: Path, protocol: str) -> None:
    settings = make_settings(broker, home, f"there-{protocol}", protocol=protocol, status_topic=TOPIC)
    topic = f"a-plant/collector-there-{protocol}/status"
    with watching(broker, topic) as told:
        with collecting(settings) as collector:
            wait_until(lambda: len(told) == 1, "the birth message")
            assert collector.health.warnings == ()
        wait_until(lambda: len(told) == 2, "the farewell")
    assert [(each["state"], each["reason"]) for each in told] == [("online", None), ("offline", "stopped")]
    assert told[0]["collector"] == "c0"
    with watching(broker, topic) as retained:
        wait_until(lambda: len(retained) == 1, "the retained farewell")
    assert retained[0]["state"] == "offline"


def test_the_last_will_tells_when_it_dies(broker: Any, home: Path) -> None:
    settings = make_settings(broker, home, "dies")
    with (
        watching(broker, "a-plant/collector-dies/status") as told,
        collector_process(settings, MQTT_STATUS_TOPIC=TOPIC) as process,
    ):
        wait_until(lambda: len(told) == 1, "the birth message")
        process.send_signal(signal.SIGKILL)
        wait_until(lambda: len(told) == 2, "the last will")
    assert (told[1]["state"], told[1]["reason"]) == ("offline", "the connection was lost")


def test_what_it_subscribes_to_itself_is_no_place_for_it(broker: Any, home: Path) -> None:
    settings = make_settings(broker, home, "inside", status_topic="inside/c0/status")
    with collecting(settings) as collector, watching(broker, "inside/c0/status") as told:
        wait_until(lambda: collector.health.connected, "a connection")
        wait_until(lambda: [f.kind for f in collector.health.warnings] == ["status_topic_unused"], "the warning")
    assert told == []
    assert rows(settings) == []


@pytest.mark.parametrize("how", ["refuses the will", "hangs up on the message"])
def test_a_broker_that_does_not_want_it_is_collected_from_all_the_same(broker: Any, home: Path, how: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"mqtt://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=serve, args=(listener, how))
        thread.start()
        settings = make_settings(broker, home, "unwanted", broker_url=url, protocol="5", status_topic=TOPIC)
        with collecting(settings) as collector:
            wait_until(
                lambda: collector.health.connected and bool(collector.health.warnings), "a connection without a will"
            )
            assert [finding.kind for finding in collector.health.warnings] == ["status_topic_unused"]
        thread.join(timeout=10)


def serve(listener: socket.socket, how: str) -> None:
    """Accepts connections until one comes without a will, and holds that one."""
    while True:
        connection, _ = listener.accept()
        with connection:
            has_will = connection.recv(4096)[9] & 4  # CONNECT flags
            if has_will and how == "refuses the will":
                connection.sendall(bytes([0x20, 3, 0, 0x87, 0]))
                continue
            connection.sendall(bytes([0x20, 3, 0, 0, 0]))
            while data := connection.recv(4096):
                if has_will and data[0] & 0xF0 == 0x30:
                    break
            if not has_will:
                return


def test_what_is_switched_off_is_not_complained_of() -> None:
    presence = Presence("off", collector="c0", client_id="c")
    client = paho.Client(CallbackAPIVersion.VERSION2)
    for _ in range(4):
        presence.attach(client, ["factory/#"])
        presence.ended(CredentialsRefusedError("no"))
        presence.announce(client)
    assert presence.finding is None
