"""Listening on a real mosquitto: what is kept, what is only counted, and what is not seen."""

import threading

import pytest

from sensor_platform.discovery.listen import Limits, listen
from sensor_platform.errors import BrokerUnreachableError, CredentialsRefusedError
from sensor_platform.settings import MqttSettings
from sensor_platform_tests.conftest import Broker, free_port
from sensor_platform_tests.mqtt.collecting import publish, publisher
from sensor_platform_tests.mqtt.publishing import always_publishing


def settings(broker: Broker, **more: object) -> MqttSettings:
    return MqttSettings(broker_url=broker.url, username=broker.username, password=broker.password, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_live_messages_are_heard_until_there_are_enough(broker: Broker, protocol: str) -> None:
    with always_publishing(broker, f"listen/{protocol}/live"):
        heard = listen(
            settings(broker, protocol=protocol),
            [f"listen/{protocol}/#"],
            for_s=60,
            limits=Limits(messages=5, samples=2),
        )
    assert heard.messages == 5
    topic = heard.topics[f"listen/{protocol}/live"]
    assert (topic.messages, len(topic.samples)) == (5, 2)


def test_retained_messages_are_heard_without_sys_and_our_own_status(fresh_broker: Broker) -> None:
    with publisher(fresh_broker) as client:
        publish(client, [("a/b", b"1"), ("sensor-platform/status/c0", b"online"), ("z", b"last")], retain=True)
    heard = listen(settings(fresh_broker), ["#"], for_s=60, limits=Limits(messages=2))
    assert {topic: [s.payload for s in each.samples] for topic, each in heard.topics.items()} == {
        "a/b": [b"1"],
        "z": [b"last"],
    }
    assert all(sample.retain for each in heard.topics.values() for sample in each.samples)


def test_what_exceeds_the_bounds_is_counted_and_not_kept(fresh_broker: Broker) -> None:
    root = "listen/bounds"
    with publisher(fresh_broker) as client:
        publish(client, [(f"{root}/{n}", b"x" * 10) for n in range(4)], retain=True)
        publish(client, [(f"{root}/large", b"x" * 50)], retain=True)
        limits = Limits(messages=5, topics=3, payload_bytes=20)
        heard = listen(settings(fresh_broker), [f"{root}/#"], for_s=60, limits=limits)
    assert (heard.messages, heard.not_kept, len(heard.topics)) == (5, 2, 3)


def test_it_ends_when_it_is_told_to(broker: Broker) -> None:
    stop = threading.Event()
    stop.set()
    assert listen(settings(broker), ["listen/nobody"], for_s=60, stop=stop).messages == 0


def test_it_ends_when_its_time_is_over(broker: Broker) -> None:
    assert listen(settings(broker), ["listen/nobody"], for_s=0.1).messages == 0


def test_why_it_cannot_listen_is_told_apart(broker: Broker) -> None:
    with pytest.raises(CredentialsRefusedError):
        listen(MqttSettings(broker_url=broker.url, username="x", password="y"), ["#"], for_s=1)  # type: ignore[arg-type]
    with pytest.raises(BrokerUnreachableError):
        listen(MqttSettings(broker_url=f"mqtt://127.0.0.1:{free_port()}"), ["#"], for_s=1)
