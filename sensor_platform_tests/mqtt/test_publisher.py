"""The publisher against a real broker: what is confirmed is there, what is not is said."""

import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from pydantic import SecretStr

from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform.embedded.ports import answers
from sensor_platform.errors import (
    BrokerError,
    BrokerUnreachableError,
    CredentialsRefusedError,
    MessageRefusedError,
    NoMatchingSubscribersError,
)
from sensor_platform.mqtt.message import MessageProperties
from sensor_platform.mqtt.publisher import Published, Publisher
from sensor_platform.settings import MqttSettings, Settings
from sensor_platform_tests.conftest import Broker, free_port, missing_tool
from sensor_platform_tests.mqtt.publisher_proxy import Proxy
from sensor_platform_tests.waiting import wait_until


def settings_for(broker: Broker, *, url: str | None = None, **more: object) -> Settings:
    values = {"broker_url": url or broker.url, "username": broker.username, "password": SecretStr(broker.password)}
    return Settings(mqtt=MqttSettings(**{**values, "reconnect_min_s": 0.05, **more}))  # type: ignore[arg-type]


class Subscriber:
    """Keeps what arrives on a topic of its own."""

    def __init__(self, broker: Broker, *, topic: str | None = None) -> None:
        self.topic = topic or f"publisher/{secrets.token_hex(4)}"
        self.payloads: list[bytes] = []
        self.messages: list[paho.MQTTMessage] = []
        self._changed = threading.Condition()
        self._subscribed = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.username_pw_set(broker.username, broker.password)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe(self.topic, qos=2)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        with self._changed:
            self.payloads.append(message.payload)
            self.messages.append(message)
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[bytes]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.payloads) >= count, 20), f"{len(self.payloads)} of {count}"
            return list(self.payloads)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def subscriber(broker: Broker) -> Iterator[Subscriber]:
    one = Subscriber(broker)
    yield one
    one.close()


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


@pytest.mark.parametrize("protocol", ["auto", "5", "3.1.1"])
@pytest.mark.parametrize("qos", [1, 2])
def test_all_is_confirmed_in_order(broker: Broker, subscriber: Subscriber, protocol: str, qos: int) -> None:
    payloads, confirmed = numbered(500), []
    with Publisher(settings_for(broker, protocol=protocol), window=20) as publisher:
        published = publisher.publish_all(
            ((subscriber.topic, payload) for payload in payloads),
            qos=qos,
            on_confirmed=lambda topic, payload: confirmed.append((topic, payload)),
        )
    assert published == Published(published=500, confirmed=500, unmatched=0)
    assert published.complete
    assert subscriber.wait_for(500) == payloads
    assert confirmed == [(subscriber.topic, payload) for payload in payloads]


def test_what_nobody_subscribes_to_is_unmatched_not_confirmed(broker: Broker, subscriber: Subscriber) -> None:
    confirmed: list[bytes] = []
    messages = [("publisher/nobody", b"1"), (subscriber.topic, b"2"), ("publisher/nobody", b"3")]
    with Publisher(settings_for(broker)) as publisher:
        published = publisher.publish_all(messages, on_confirmed=lambda _, payload: confirmed.append(payload))
        with pytest.raises(NoMatchingSubscribersError, match='"publisher/nobody": nobody subscribes'):
            publisher.publish("publisher/nobody", b"4").result(10)
    assert published == Published(published=3, confirmed=1, unmatched=2)
    assert not published.complete
    assert confirmed == [b"2"]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_single_message_arrives_before_the_publisher_closes(broker: Broker, subscriber: Subscriber, qos: int) -> None:
    with Publisher(settings_for(broker)) as publisher:
        future = publisher.publish(subscriber.topic, b"one", qos=qos)
    assert future.result(0) is None
    assert subscriber.wait_for(1) == [b"one"]


def test_leaving_waits_for_every_confirmation(broker: Broker, subscriber: Subscriber) -> None:
    with Publisher(settings_for(broker)) as publisher:
        futures = [publisher.publish(subscriber.topic, payload) for payload in numbered(100)]
    assert all(future.done() for future in futures)
    assert subscriber.wait_for(100) == numbered(100)


def test_a_cut_connection_is_made_again_and_nothing_is_missing(broker: Broker, subscriber: Subscriber) -> None:
    resent: list[bytes] = []
    with Proxy((broker.host, broker.port), cut_after_bytes=8_000) as proxy:
        with Publisher(settings_for(broker, url=proxy.url), window=50) as publisher:
            published = publisher.publish_all(
                ((subscriber.topic, payload) for payload in numbered(1000)),
                on_resent=lambda _, payload: resent.append(payload),
            )
        assert len(proxy.versions) == 2, "one connection, a cut, one connection"
    assert published == Published(published=1000, confirmed=1000, unmatched=0)
    assert set(subscriber.wait_for(1000)) == set(numbered(1000))
    assert resent, "what was unconfirmed at the cut"
    twice = {payload for payload in subscriber.payloads if subscriber.payloads.count(payload) > 1}
    assert twice <= set(resent)


def test_a_broker_without_version_5_is_spoken_to_in_3_1_1(broker: Broker, subscriber: Subscriber) -> None:
    with Proxy((broker.host, broker.port), refuse_version_5=True) as proxy:
        with Publisher(settings_for(broker, url=proxy.url)) as publisher:
            publisher.publish(subscriber.topic, b"old").result(10)
        assert proxy.versions == [5, 4]
        with (
            pytest.raises(BrokerUnreachableError, match="closed the connection"),
            Publisher(settings_for(broker, url=proxy.url, protocol="5")),
        ):
            pass


def test_no_more_is_read_than_the_window_holds(broker: Broker, subscriber: Subscriber) -> None:
    read = 0

    def messages() -> Iterator[tuple[str, bytes]]:
        nonlocal read
        for payload in numbered(1000):
            read += 1
            yield subscriber.topic, payload

    with (
        Proxy((broker.host, broker.port)) as proxy,
        Publisher(settings_for(broker, url=proxy.url), window=10, stall_timeout_s=0.5) as publisher,
    ):
        proxy.answers.clear()
        with pytest.raises(BrokerUnreachableError, match=r"nothing was confirmed for 0\.5 s, 10 messages are unconf"):
            publisher.publish_all(messages())
        proxy.answers.set()
    assert read == 11, "ten in flight, and the one that waits"


def test_the_rate_is_kept_and_stop_ends_the_reading(broker: Broker, subscriber: Subscriber) -> None:
    stop = threading.Event()

    def endless() -> Iterator[tuple[str, bytes]]:
        for number in range(10_000):
            if number == 150:
                stop.set()
            yield subscriber.topic, b"%d" % number

    started = time.monotonic()
    with Publisher(settings_for(broker)) as publisher:
        published = publisher.publish_all(endless(), rate=300, stop=stop)
    assert time.monotonic() - started >= 0.4
    assert published == Published(published=151, confirmed=151, unmatched=0)


def test_properties_arrive_as_they_were_given(broker: Broker, subscriber: Subscriber) -> None:
    properties = MessageProperties(
        content_type="application/json",
        user_properties=[("line", "1"), ("line", "ä")],
        message_expiry_s=3600,
        response_topic="answers/1",
        correlation_data=b"\x00\xff",
        is_text=True,
    )
    with Publisher(settings_for(broker)) as publisher:
        publisher.publish(subscriber.topic, b"{}", qos=2, properties=properties).result(10)
        publisher.publish(subscriber.topic, b"plain", qos=2).result(10)
    subscriber.wait_for(2)
    came, plain = (message.properties for message in subscriber.messages)
    assert came.ContentType == "application/json"
    assert came.UserProperty == [("line", "1"), ("line", "ä")]
    assert 3590 <= came.MessageExpiryInterval <= 3600
    assert came.ResponseTopic == "answers/1"
    assert came.CorrelationData == b"\x00\xff"
    assert came.PayloadFormatIndicator == 1
    assert plain.isEmpty()


def test_properties_on_3_1_1_are_an_error_and_nothing_is_sent(broker: Broker, subscriber: Subscriber) -> None:
    with Publisher(settings_for(broker, protocol="3.1.1")) as publisher:
        with pytest.raises(MessageRefusedError, match=r"MQTT 3\.1\.1, which has no properties \(content_type\)"):
            publisher.publish(subscriber.topic, b"1", properties=MessageProperties(content_type="text/plain"))
        publisher.publish(subscriber.topic, b"2").result(10)
    assert subscriber.wait_for(1) == [b"2"]


def test_what_left_at_qos_0_confirms_no_message_of_the_same_number_later(
    broker: Broker, subscriber: Subscriber
) -> None:
    with (
        Proxy((broker.host, broker.port)) as link,
        Publisher(settings_for(broker, url=link.url)) as publisher,
    ):
        for number in range(65_535):  # all packet ids there are
            publisher.publish(subscriber.topic, b"%d" % number, qos=0)
        publisher.publish(subscriber.topic, b"the first id").result(60)  # and all before it has left
        link.answers.clear()
        unconfirmed = [publisher.publish(subscriber.topic, b"held back") for _ in range(10)]
        assert [future.done() for future in unconfirmed] == [False] * 10
        link.answers.set()
        for future in unconfirmed:
            future.result(60)


def test_a_retained_message_is_there_for_those_who_subscribe_later(broker: Broker) -> None:
    topic = f"publisher/{secrets.token_hex(4)}"
    with Publisher(settings_for(broker)) as publisher:
        future = publisher.publish(topic, b"kept", retain=True)
        assert isinstance(future.exception(10), NoMatchingSubscribersError)
        later = Subscriber(broker, topic=topic)
        assert later.wait_for(1) == [b"kept"]
        later.close()
        publisher.publish(topic, b"", retain=True)  # removes it


def test_the_first_connection_is_tried_again_until_the_broker_is_there(tmp_path: Path) -> None:
    server = EmbeddedBroker(tmp_path, free_port())
    server.start()
    settings = settings_for(Broker(server.url, server.username, server.password, tmp_path, "127.0.0.1", server.port))
    server.stop()
    came: list[bool] = []

    def connect() -> None:
        with Publisher(settings, retry_for_s=30):
            came.append(True)

    connecting = threading.Thread(target=connect)
    connecting.start()
    connecting.join(0.5)
    assert connecting.is_alive()
    server.start()
    try:
        connecting.join(30)
        assert came
    finally:
        server.stop()


def test_a_topic_with_a_wildcard_is_refused_and_holds_nothing_up(broker: Broker, subscriber: Subscriber) -> None:
    with Publisher(settings_for(broker), window=1) as publisher:
        with pytest.raises(ValueError, match="wildcard"):
            publisher.publish("a/+/b", b"1")
        assert publisher.publish(subscriber.topic, b"2").result(10) is None


def test_wrong_credentials_are_told_apart(broker: Broker) -> None:
    wrong = settings_for(broker, password=SecretStr("wrong"))
    with pytest.raises(CredentialsRefusedError, match="MQTT_PASSWORD"), Publisher(wrong):
        pass


def test_a_broker_that_is_not_there_is_unreachable() -> None:
    settings = Settings(mqtt=MqttSettings(broker_url=f"mqtt://127.0.0.1:{free_port()}"))
    with pytest.raises(BrokerUnreachableError, match="Connection refused"), Publisher(settings):
        pass


def test_a_listener_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"mqtt://127.0.0.1:{listener.getsockname()[1]}"
        settings = Settings(mqtt=MqttSettings(broker_url=url, connect_timeout_s=0.5))
        with pytest.raises(BrokerUnreachableError, match=r"no answer to CONNECT in 0\.5 s"), Publisher(settings):
            pass


@pytest.fixture
def refusing_broker(tmp_path: Path) -> Iterator[str]:
    """A broker at which nobody may publish to refused/#."""
    if shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None:
        missing_tool("mosquitto is not installed")
    port, acl, conf = free_port(), tmp_path / "acl", tmp_path / "mosquitto.conf"
    acl.write_text("topic readwrite open/#\n")
    acl.chmod(0o644)
    conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nacl_file {acl}\nuser root\n")
    path = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    with subprocess.Popen([str(path), "-c", str(conf)], stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: answers(port), "mosquitto to start")
        yield f"mqtt://127.0.0.1:{port}"
        process.terminate()


def test_a_refused_message_says_why(refusing_broker: str) -> None:
    with Publisher(Settings(mqtt=MqttSettings(broker_url=refusing_broker))) as publisher:
        with pytest.raises(BrokerError, match='"refused/1": the broker refused the message: not authorised'):
            publisher.publish("refused/1", b"1").result(10)
        with pytest.raises(BrokerError, match="not authorised"):
            publisher.publish_all([("refused/2", b"2")])
        # paho overlooks what a PUBREC says; we do not.
        with pytest.raises(BrokerError, match="not authorised"):
            publisher.publish("refused/3", b"3", qos=2).result(10)


def forgetful_broker(listener: socket.socket, published: list[bytes]) -> None:
    """Speaks just enough MQTT 5 for one QoS 2 message; hangs up after PUBREC, and comes back without a session."""
    for connection in range(2):
        client, _ = listener.accept()
        with client:
            client.recv(65536)  # CONNECT
            client.sendall(b"\x20\x03\x00\x00\x00")  # CONNACK, no session present
            packet = client.recv(65536)
            published.append(packet)
            if packet[0] & 0xF0 == 0x30:
                packet_id = packet[2 + 2 + len("a/b") :][:2]
                client.sendall(b"\x50\x02" + packet_id)  # PUBREC
                packet = client.recv(65536)  # PUBREL
            if connection == 1:
                client.sendall(b"\x70\x02" + packet[2:4])  # PUBCOMP, also for a PUBREL that it never heard of
                client.recv(65536)  # DISCONNECT


def test_a_message_that_the_broker_forgot_between_pubrec_and_pubcomp_is_published_again() -> None:
    published: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        broker = threading.Thread(target=forgetful_broker, args=[listener, published])
        broker.start()
        url = f"mqtt://127.0.0.1:{listener.getsockname()[1]}"
        settings = Settings(mqtt=MqttSettings(broker_url=url, protocol="5", reconnect_min_s=0.05))
        with Publisher(settings) as publisher:
            publisher.publish("a/b", b"payload", qos=2).result(20)
        broker.join(20)
    assert [packet[0] & 0xF0 for packet in published] == [0x30, 0x30], "PUBLISH twice, no PUBREL for what is forgotten"
    assert all(packet.endswith(b"payload") for packet in published)
