"""The embedded broker: nobody unknown gets in, and what waits for a session outlives the broker."""

import threading
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from sensor_platform.embedded.broker import EmbeddedBroker, find_mosquitto
from sensor_platform_tests.conftest import Broker, free_port, missing_tool

QUEUED = 3000  # the stock broker keeps 1000


class Client:
    """A paho client in a thread, with what was confirmed and received."""

    def __init__(self, port: int, client_id: str, *, username: str | None, password: str | None) -> None:
        self.connected = threading.Event()
        self.subscribed = threading.Event()
        self.changed = threading.Condition()
        self.confirmed = 0
        self.received: list[bytes] = []
        self.reason = ""
        self.port = port
        self.paho = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=mqtt.MQTTv5)
        if username is not None:
            self.paho.username_pw_set(username, password)
        self.paho.on_connect = self._on_connect
        self.paho.on_subscribe = lambda *_: self.subscribed.set()
        self.paho.on_publish = self._on_publish
        self.paho.on_message = self._on_message

    def _on_connect(self, *arguments: object) -> None:
        self.reason = str(arguments[3])
        self.connected.set()

    def _on_publish(self, *_: object) -> None:
        with self.changed:
            self.confirmed += 1
            self.changed.notify_all()

    def _on_message(self, _client: object, _userdata: object, message: mqtt.MQTTMessage) -> None:
        with self.changed:
            self.received.append(bytes(message.payload))
            self.changed.notify_all()

    def __enter__(self) -> "Client":
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 3600
        self.paho.connect("127.0.0.1", self.port, clean_start=False, properties=properties)
        self.paho.loop_start()
        assert self.connected.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()


@pytest.fixture
def own_broker(home: Path) -> EmbeddedBroker:
    if find_mosquitto() is None:
        missing_tool("mosquitto is not installed")
    return EmbeddedBroker(home, free_port())


@pytest.mark.parametrize(("username", "password"), [(None, None), ("sensor_platform", "wrong"), ("other", "x")])
def test_strangers_are_refused(broker: Broker, username: str | None, password: str | None) -> None:
    with Client(broker.port, "", username=username, password=password) as client:
        assert client.reason == "Not authorized"


def test_a_session_and_its_queue_outlive_the_broker(own_broker: EmbeddedBroker) -> None:
    login = {"username": own_broker.username, "password": own_broker.password}
    with own_broker:
        with Client(own_broker.port, "keeper", **login) as keeper:
            assert keeper.reason == "Success"
            keeper.paho.subscribe("kept/#", qos=1)
            assert keeper.subscribed.wait(10)
        with Client(own_broker.port, "sender", **login) as sender:
            for number in range(QUEUED):
                sender.paho.publish("kept/x", str(number).encode(), qos=1)
            with sender.changed:
                assert sender.changed.wait_for(lambda: sender.confirmed == QUEUED, 30)
    with own_broker, Client(own_broker.port, "keeper", **login) as keeper, keeper.changed:
        assert keeper.changed.wait_for(lambda: len(keeper.received) == QUEUED, 30)
        assert keeper.received == [str(number).encode() for number in range(QUEUED)]


def test_the_password_stands_in_private_files_only(own_broker: EmbeddedBroker) -> None:
    with own_broker:
        assert own_broker.password_file.stat().st_mode & 0o777 == 0o600
        for file in own_broker.folder.iterdir():
            assert own_broker.password not in file.read_text(errors="replace")
            assert file.stat().st_mode & 0o077 == 0
