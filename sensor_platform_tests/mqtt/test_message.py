"""What MQTT cannot carry is refused before anything is sent, with the place and what is accepted."""

from typing import Any

import pytest

from sensor_platform.errors import EXIT_USAGE, InvalidMessageError
from sensor_platform.mqtt.message import Message, MessageProperties, check_topic


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        ("", "the topic is empty"),
        ("a/+/b", "wildcards"),
        ("a/#", "wildcards"),
        ("a\0b", r"'a\\x00b': MQTT strings cannot hold U\+0000"),
        ("a/\udc80", "not valid UTF-8"),
        ("x" * 65_536, "65536 bytes: 65535 at most"),
    ],
)
def test_a_topic_that_mqtt_does_not_have_is_refused(topic: str, why: str) -> None:
    with pytest.raises(InvalidMessageError, match=why):
        check_topic(topic)
    with pytest.raises(InvalidMessageError, match=why):
        Message(topic, b"")
    assert InvalidMessageError.exit_code == EXIT_USAGE


@pytest.mark.parametrize(
    ("properties", "why"),
    [
        ({"content_type": "a\0"}, "content type"),
        ({"user_properties": [("\udc80", "v")]}, "user property"),
        ({"user_properties": [("line", "v" * 70_000)]}, 'user property "line" of 70000 bytes: 65535 at most'),
        ({"message_expiry_s": -1}, "message expiry -1: accepted are whole seconds from 0 to 4294967295"),
        ({"message_expiry_s": 2**32}, "accepted are whole seconds"),
        ({"response_topic": "a/#"}, 'response topic "a/#": the wildcards'),
        ({"response_topic": ""}, "the response topic is empty"),
        ({"correlation_data": bytes(65_536)}, "correlation data of 65536 bytes: 65535 at most"),
    ],
)
def test_a_property_that_mqtt_does_not_have_is_refused(properties: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidMessageError, match=why):
        MessageProperties(**properties)


def test_a_payload_that_is_called_text_is_text() -> None:
    with pytest.raises(InvalidMessageError, match="byte 2 is not UTF-8"):
        Message("a", b"ab\xff", properties=MessageProperties(is_text=True))
    assert Message("a", "ä".encode(), properties=MessageProperties(is_text=True)).payload == b"\xc3\xa4"
    assert Message("a", b"ab\xff", properties=MessageProperties(is_text=False)).payload == b"ab\xff"


def test_a_quality_of_service_is_0_1_or_2() -> None:
    with pytest.raises(InvalidMessageError, match="QoS 3: accepted are 0, 1 and 2"):
        Message("a", b"", qos=3)


def test_properties_that_are_not_set_are_not_sent() -> None:
    assert not MessageProperties()
    assert MessageProperties(message_expiry_s=0).names() == ["message_expiry_s"]
    assert MessageProperties(content_type="", is_text=False).names() == ["content_type", "is_text"]
