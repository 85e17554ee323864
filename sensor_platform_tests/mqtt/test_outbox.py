"""The outbox against real brokers that come and go, and processes that are killed: at least once, in order."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import SecretStr

from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform.errors import BrokerUnreachableError, CredentialsRefusedError
from sensor_platform.mqtt.message import Message, MessageProperties
from sensor_platform.mqtt.offline_queue import LOCK_FILE, OfflineQueue
from sensor_platform.mqtt.outbox import BATCH_MESSAGES, Delivered, Outbox
from sensor_platform.settings import MqttSettings, Settings
from sensor_platform_tests.conftest import Broker, free_port
from sensor_platform_tests.mqtt.test_publisher import Subscriber, settings_for
from sensor_platform_tests.waiting import wait_until


@pytest.fixture
def subscriber(broker: Broker) -> Iterator[Subscriber]:
    one = Subscriber(broker)
    yield one
    one.close()


def settings_of(server: EmbeddedBroker) -> Settings:
    mqtt = MqttSettings(
        broker_url=server.url,
        username=server.username,
        password=SecretStr(server.password),
        reconnect_min_s=0.05,
        reconnect_max_s=0.2,
    )
    return Settings(mqtt=mqtt)


def first_seen(payloads: list[bytes]) -> list[int]:
    return list(dict.fromkeys(int(each) for each in payloads))


def test_what_is_published_while_the_broker_is_away_arrives_when_it_is_back(tmp_path: Path) -> None:
    server = EmbeddedBroker(tmp_path / "broker", free_port())
    server.start()
    settings, topic = settings_of(server), "outbox/away"
    server.stop()
    with OfflineQueue(tmp_path / "queue") as queue, Outbox(settings, queue) as outbox:
        for number in range(700):
            outbox.publish(topic, b"%d" % number)
        wait_until(lambda: isinstance(outbox.trouble, BrokerUnreachableError), "the outbox has noticed")
        assert not outbox.wait_until_sent(give_up_after_s=0.1)
        assert queue.totals().waiting == 700
        # The broker is there before anybody subscribes: the messages wait for that too.
        server.start()
        try:
            wait_until(lambda: outbox.trouble and "nobody subscribes" in str(outbox.trouble), "nobody subscribes")
            subscriber = Subscriber(Broker.of(server), topic=topic)
            assert outbox.wait_until_sent(give_up_after_s=20)
            wait_until(lambda: len(first_seen(subscriber.payloads)) == 700, "all have arrived")
            subscriber.close()
        finally:
            server.stop()
    assert outbox.delivered == Delivered(confirmed=700)
    assert first_seen(subscriber.payloads) == list(range(700))


def test_a_broker_that_restarts_meanwhile_gets_all_of_it(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path / "broker", free_port()) as server:
        subscriber = Subscriber(Broker.of(server), topic="outbox/restart")
        with (
            OfflineQueue(tmp_path / "queue") as queue,
            Outbox(settings_of(server), queue, stall_timeout_s=5, unmatched_for_s=60) as outbox,
        ):
            for number in range(300):
                outbox.publish("outbox/restart", b"%d" % number)
                if number == 100:
                    subscriber.wait_for(101)  # its session ends with the broker, and what was on its way to it
                    server.stop()
                if number == 200:
                    server.start()
            assert outbox.wait_until_sent(give_up_after_s=40)
        wait_until(lambda: len(first_seen(subscriber.payloads)) == 300, "all have arrived")
        subscriber.close()
    assert first_seen(subscriber.payloads) == list(range(300))


#: Publishes numbers for ever, and says each one that is on the disk.
ENDLESS = """
import sys
from itertools import count
from pathlib import Path
from pydantic import SecretStr
from sensor_platform.mqtt.offline_queue import LOCK_FILE, OfflineQueue
from sensor_platform.mqtt.outbox import Outbox
from sensor_platform.settings import MqttSettings, Settings

url, username, password, folder, topic, start = sys.argv[1:]
settings = Settings(mqtt=MqttSettings(broker_url=url, username=username, password=SecretStr(password)))
with OfflineQueue(Path(folder)) as queue, Outbox(settings, queue) as outbox:
    for number in count(int(start)):
        outbox.publish(topic, b"%d" % number)
        print(number, flush=True)
"""


def test_a_publisher_that_is_killed_loses_nothing_that_was_on_the_disk(
    broker: Broker, subscriber: Subscriber, tmp_path: Path
) -> None:
    queued = -1
    for seen in (50, 300, 700):
        command = [sys.executable, "-c", ENDLESS, broker.url, broker.username, broker.password, str(tmp_path)]
        with subprocess.Popen([*command, subscriber.topic, str(queued + 1)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            said: list[bytes] = []
            reading = threading.Thread(target=said.extend, args=[process.stdout])
            reading.start()
            subscriber.wait_for(len(subscriber.payloads) + seen)
            wait_until(lambda said=said: len(said) > 1, "numbers that are on the disk")
            process.send_signal(signal.SIGKILL)
            process.wait(20)
            reading.join(20)
        queued = int(said[-1]) if said[-1].endswith(b"\n") else int(said[-2])
        with OfflineQueue(tmp_path) as queue:  # the last one may be on the disk, unsaid
            last = max((int(each.message.payload) for each in queue.head(limit=10**6, max_bytes=10**9)), default=queued)
            queued = max(queued, last)
    with OfflineQueue(tmp_path) as queue, Outbox(settings_for(broker), queue) as outbox:
        assert outbox.wait_until_sent(give_up_after_s=20)
    wait_until(lambda: len(first_seen(subscriber.payloads)) > queued, "all have arrived")
    assert first_seen(subscriber.payloads) == list(range(queued + 1)), "none is missing, and they came in order"
    numbers = [int(each) for each in subscriber.payloads]
    steps_back = [one - other for one, other in pairwise(numbers) if other <= one]
    assert len(steps_back) <= 3, "sent again after a kill only"
    assert all(step < BATCH_MESSAGES for step in steps_back)


def test_what_is_refused_is_set_aside_and_holds_nothing_up(
    broker: Broker, subscriber: Subscriber, tmp_path: Path
) -> None:
    old = settings_for(broker, protocol="3.1.1")
    with OfflineQueue(tmp_path) as queue:
        queue.put(Message(subscriber.topic, b"1", properties=MessageProperties(content_type="text/plain")))
        queue.put(Message(subscriber.topic, b"2"))
        with Outbox(old, queue) as outbox:
            assert outbox.wait_until_sent(give_up_after_s=20)
        assert outbox.delivered == Delivered(confirmed=1, refused=1)
        assert subscriber.wait_for(1) == [b"2"]
        queue.restore()
        with Outbox(settings_for(broker), queue) as outbox:
            assert outbox.wait_until_sent(give_up_after_s=20)
        assert outbox.delivered == Delivered(confirmed=1)
    assert subscriber.wait_for(2) == [b"2", b"1"]


def test_what_nobody_ever_subscribes_to_is_set_aside_in_the_end(
    broker: Broker, subscriber: Subscriber, tmp_path: Path
) -> None:
    with OfflineQueue(tmp_path) as queue:
        queue.put(Message("outbox/nobody", b"1"))
        queue.put(Message(subscriber.topic, b"2"))
        with Outbox(settings_for(broker), queue, unmatched_for_s=0.3) as outbox:
            assert outbox.wait_until_sent(give_up_after_s=20)
        assert outbox.delivered == Delivered(confirmed=1, unmatched=1)
        assert queue.totals().refused == 1
    assert set(subscriber.wait_for(1)) == {b"2"}


def test_what_expired_in_the_queue_is_not_sent_but_counted(
    broker: Broker, subscriber: Subscriber, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OfflineQueue(tmp_path) as queue:
        with monkeypatch.context() as an_hour_ago:
            an_hour_ago.setattr("time.time", lambda: 1e9)
            queue.put(Message(subscriber.topic, b"old", properties=MessageProperties(message_expiry_s=3600)))
        queue.put(Message(subscriber.topic, b"new", properties=MessageProperties(message_expiry_s=3600)))
        with Outbox(settings_for(broker), queue) as outbox:
            assert outbox.wait_until_sent(give_up_after_s=20)
        assert outbox.delivered == Delivered(confirmed=1, expired=1)
        assert queue.totals().waiting == queue.totals().refused == 0
    assert subscriber.wait_for(1) == [b"new"]


def test_refused_credentials_are_told(broker: Broker, tmp_path: Path) -> None:
    wrong = settings_for(broker, password=SecretStr("wrong"))
    with OfflineQueue(tmp_path) as queue, Outbox(wrong, queue) as outbox:
        outbox.publish("outbox/wrong", b"1")
        wait_until(lambda: isinstance(outbox.trouble, CredentialsRefusedError), "the broker has refused us")
        assert not outbox.wait_until_sent(give_up_after_s=0)
        assert queue.totals().waiting == 1


def test_an_error_of_the_disk_is_told_and_what_waits_is_sent_after_it(
    broker: Broker, subscriber: Subscriber, tmp_path: Path
) -> None:
    lock = tmp_path / LOCK_FILE
    lock.mkdir()
    with OfflineQueue(tmp_path) as queue, Outbox(settings_for(broker), queue) as outbox:
        outbox.publish(subscriber.topic, b"1")
        assert not outbox.wait_until_sent(give_up_after_s=0.1)
        assert "Is a directory" in str(outbox.trouble)
        lock.rmdir()
        assert outbox.wait_until_sent(give_up_after_s=20)
    assert subscriber.wait_for(1) == [b"1"]
