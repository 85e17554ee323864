"""`publish` with everything that MQTT 5 has, from files and line by line, and through the queue on disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sensor_platform_tests.conftest import Broker, free_port
from sensor_platform_tests.mqtt.test_publisher import Subscriber
from sensor_platform_tests.simulator.test_commands import Commands

NOTHING = {"published": 0, "confirmed": 0, "unmatched": 0, "refused": 0, "expired": 0, "queued": 0, "queued_refused": 0}


@pytest.fixture
def commands(broker: Broker, home: Path) -> Commands:
    return Commands(broker, home)


@pytest.fixture
def offline(broker: Broker, home: Path) -> Commands:
    """The same home, and no broker."""
    return Commands(broker, home, MQTT_BROKER_URL=f"mqtt://127.0.0.1:{free_port()}")


@pytest.fixture
def subscriber(broker: Broker) -> Iterator[Subscriber]:
    one = Subscriber(broker)
    yield one
    one.close()


def test_each_property_has_its_option(commands: Commands, subscriber: Subscriber) -> None:
    options = "--qos 2 --content-type text/csv --user-property line=1 --user-property a=b=c --expiry 600"
    more = "--response-topic answers --correlation-data id-7 --text"
    told = commands.json("publish", subscriber.topic, "ä", *options.split(), *more.split())
    assert told == {"published": 1, "confirmed": 1, "unmatched": 0}
    subscriber.wait_for(1)
    came = subscriber.messages[0].properties
    assert (came.ContentType, came.UserProperty) == ("text/csv", [("line", "1"), ("a", "b=c")])
    assert (came.ResponseTopic, came.CorrelationData) == ("answers", b"id-7")
    assert (came.PayloadFormatIndicator, 0 < came.MessageExpiryInterval <= 600) == (1, True)


def test_each_line_is_a_message_in_order(commands: Commands, subscriber: Subscriber, home: Path) -> None:
    told = commands.json("publish", subscriber.topic, "--lines", stdin=b"1\r\n\n2\n \n3")
    assert told["confirmed"] == 3
    file = home / "lines"
    file.write_bytes(b"4\n5\n")
    assert commands.json("publish", subscriber.topic, "--lines", "--file", str(file))["confirmed"] == 2
    assert commands.json("publish", subscriber.topic, "--file", str(file))["confirmed"] == 1
    assert subscriber.wait_for(6) == [b"1", b"2", b"3", b"4", b"5", b"4\n5\n"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["a/b", "1", "--user-property", "line"], b'"line" is not NAME=VALUE'),
        (["a/b", "1", "--expiry", "-1"], b"message expiry -1: accepted are whole seconds"),
        (["a/b", "1", "--response-topic", "a/+"], b'response topic "a/+": the wildcards'),
        (["a/b", "1", "--file", "/dev/null"], b"either PAYLOAD or --file"),
        (["a/b", "1", "--queue", "--qos", "0"], b"QoS 0 is never confirmed"),
        (["a/b", "--drain"], b"either a TOPIC or --drain"),
        ([], b"either a TOPIC or --drain"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(commands: Commands, arguments: list[str], why: bytes) -> None:
    done = commands.run("publish", *arguments)
    assert done.returncode == 2
    assert why in done.stderr
    assert done.stdout == b""


def test_properties_on_3_1_1_are_said_and_not_dropped(commands: Commands, subscriber: Subscriber) -> None:
    commands.environ["MQTT_PROTOCOL"] = "3.1.1"
    done = commands.run("publish", subscriber.topic, "1", "--content-type", "text/plain")
    assert done.returncode == 1
    assert b"MQTT 3.1.1, which has no properties (content_type)" in done.stderr


def told_by(done: Any) -> bytes:
    assert isinstance(done.stderr, bytes)
    return done.stderr


def test_what_is_queued_without_a_broker_is_sent_by_a_later_drain(
    commands: Commands, offline: Commands, subscriber: Subscriber
) -> None:
    queued = offline.json("publish", subscriber.topic, "--queue", "--lines", "--retry-for", "0", stdin=b"1\n2\n")
    assert queued == NOTHING | {"queued": 2}
    assert offline.json("publish", subscriber.topic, "3", "--queue", "--retry-for", "0")["queued"] == 3
    failed = offline.run("publish", "--drain", "--retry-for", "0")
    assert failed.returncode == 1
    assert b"3 messages wait in the queue: broker 127.0.0.1" in told_by(failed)
    assert commands.json("publish", "--drain") == NOTHING | {"published": 3, "confirmed": 3}
    assert commands.json("publish", "--drain") == NOTHING
    assert subscriber.wait_for(3) == [b"1", b"2", b"3"]


def test_a_full_queue_refuses_and_keeps_what_it_has(
    commands: Commands, offline: Commands, subscriber: Subscriber
) -> None:
    offline.environ["MQTT_OUTBOX_MAX_MESSAGES"] = "2"
    full = offline.run("publish", subscriber.topic, "--queue", "--lines", "--retry-for", "0", stdin=b"1\n2\n3\n")
    assert full.returncode == 1
    assert b"the queue is full (2 messages or" in told_by(full)
    assert commands.json("publish", "--drain")["confirmed"] == 2
    assert subscriber.wait_for(2) == [b"1", b"2"]


def test_a_full_queue_can_be_waited_for(commands: Commands, subscriber: Subscriber) -> None:
    commands.environ["MQTT_OUTBOX_MAX_MESSAGES"] = "3"
    lines = b"".join(b"%d\n" % number for number in range(40))
    told = commands.json("publish", subscriber.topic, "--queue", "--lines", "--wait-when-full", stdin=lines)
    assert told == NOTHING | {"published": 40, "confirmed": 40}
    assert subscriber.wait_for(40) == lines.split()


def test_what_nobody_takes_is_kept_aside_until_a_person_decides(commands: Commands, home: Path) -> None:
    folder = home / "queue"
    queue = ["--queue-folder", str(folder), "--retry-for", "0.2"]
    told = commands.json("publish", "cli/nobody", "1", *queue, exit_code=1)
    assert told == NOTHING | {"published": 1, "unmatched": 1, "queued_refused": 1}
    assert commands.json("publish", "--drain", *queue) == NOTHING | {"queued_refused": 1}
    assert commands.json("publish", "--drain", "--again", *queue, exit_code=1)["unmatched"] == 1
    assert commands.json("publish", "--drain", "--discard-refused", *queue) == NOTHING


def test_a_wrong_password_is_said_and_the_message_is_kept(commands: Commands, home: Path) -> None:
    wrong = home / "wrong"
    wrong.write_text("wrong")
    commands.environ["MQTT_PASSWORD_FILE"] = str(wrong)
    done = commands.run("publish", "a/b", "1", "--queue", "--retry-for", "0")
    assert done.returncode == 1
    assert b"1 messages wait in the queue: broker" in told_by(done)
    assert b"Check MQTT_USERNAME, MQTT_PASSWORD" in told_by(done)
