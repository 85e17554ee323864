"""Who is asked to be born again: nodes whose data waits for a birth, once an interval, through a real broker."""

import queue
import secrets
from collections.abc import Iterator
from datetime import timedelta

import paho.mqtt.client as paho
import pytest

from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.rebirths import ask_for_rebirths, try_to_ask
from sensor_platform.errors import BrokerError
from sensor_platform.routes.file import parse_routes
from sensor_platform.settings import DeadLetterSettings, MqttSettings, Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform.transformers.sparkplug_b.sparkplug_b_pb2 import Payload
from sensor_platform_tests.conftest import Broker, free_port
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, new_staging, rows, stage
from sensor_platform_tests.transformers.sparkplug import birth, data, metric, payload, topic

ROUTES = parse_routes("routes: [{name: sparkplug, filter: '#', format: sparkplug}]")
NOW = HOUR + timedelta(minutes=5)
INTERVAL = timedelta(seconds=300)
TIMEOUT_S = 30


@pytest.fixture
def staging(tmp_path_factory: pytest.TempPathFactory) -> LocalStaging:
    return new_staging(tmp_path_factory.mktemp("staging"))


@pytest.fixture
def group() -> str:
    """The broker is shared: a group of this test alone."""
    return f"g{secrets.token_hex(4)}"


@pytest.fixture
def settings(broker: Broker) -> Settings:
    return Settings(mqtt=MqttSettings(broker_url=broker.url, username=broker.username, password=broker.password))


@pytest.fixture
def heard(broker: Broker, group: str) -> Iterator["queue.Queue[tuple[str, bytes]]"]:
    """Commands, as the nodes of the group get them."""
    messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
    subscribed: queue.Queue[None] = queue.Queue()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.username_pw_set(broker.username, broker.password)
    client.on_message = lambda _client, _data, message: messages.put((message.topic, message.payload))
    client.on_subscribe = lambda *_: subscribed.put(None)
    client.connect(broker.host, broker.port)
    client.loop_start()
    client.subscribe(f"spBv1.0/{group}/NCMD/#", qos=1)
    subscribed.get(timeout=TIMEOUT_S)
    yield messages
    client.disconnect()
    client.loop_stop()


def stage_and_load(
    staging: LocalStaging, database: Database, name: str, *messages: tuple[str, bytes], minute: int = 0
) -> None:
    staged = [Message(payload, topic=topic) for topic, payload in messages]
    stage(staging, name, staged, received_at=HOUR + timedelta(minutes=minute))
    load(staging, database, using=ROUTES)


def unknown(who: str) -> tuple[str, bytes]:
    return data(who, metric(None, 5, None, double_value=1.0))


def test_a_node_without_a_birth_is_asked_for_it(
    database: Database, staging: LocalStaging, settings: Settings, group: str, heard: "queue.Queue[tuple[str, bytes]]"
) -> None:
    stage_and_load(staging, database, "a", unknown(f"{group}/n"), unknown(f"{group}/n/d"))
    assert ask_for_rebirths(database, settings, now=NOW) == [f"spBv1.0/{group}/NCMD/n"]
    topic, payload = heard.get(timeout=TIMEOUT_S)
    (command,) = Payload.FromString(payload).metrics
    assert (topic, command.name, command.boolean_value) == (f"spBv1.0/{group}/NCMD/n", "Node Control/Rebirth", True)


def test_it_is_asked_once_an_interval(
    database: Database, staging: LocalStaging, settings: Settings, group: str
) -> None:
    stage_and_load(staging, database, "a", unknown(f"{group}/n"))
    asked = [ask_for_rebirths(database, settings, now=at) for at in (NOW, NOW + INTERVAL / 2, NOW + INTERVAL)]
    assert [len(topics) for topics in asked] == [1, 0, 1]
    assert rows(database, "SELECT times FROM rebirth_request") == [(2,)]


def test_one_that_was_born_since_is_left_alone(
    database: Database, staging: LocalStaging, settings: Settings, group: str
) -> None:
    born = birth(f"{group}/n", metric("a", 1, 10, double_value=0.0))
    stage_and_load(staging, database, "a", unknown(f"{group}/n"), born)
    assert ask_for_rebirths(database, settings, now=NOW) == []
    # An alias that this birth does not know is another matter.
    stage_and_load(staging, database, "b", unknown(f"{group}/n"), minute=1)
    assert len(ask_for_rebirths(database, settings, now=NOW)) == 1


def test_data_of_long_ago_asks_for_nothing(
    database: Database, staging: LocalStaging, settings: Settings, group: str
) -> None:
    stage_and_load(staging, database, "a", unknown(f"{group}/n"))
    assert ask_for_rebirths(database, settings, now=NOW + timedelta(hours=2)) == []


def test_switched_off_it_asks_nobody(database: Database, staging: LocalStaging, settings: Settings, group: str) -> None:
    stage_and_load(staging, database, "a", unknown(f"{group}/n"))
    off = settings.model_copy(update={"dead_letters": DeadLetterSettings(rebirth_interval_s=0)})
    assert ask_for_rebirths(database, off, now=NOW) == []


def test_a_broker_that_is_away_is_tried_again(
    database: Database, staging: LocalStaging, settings: Settings, group: str
) -> None:
    stage_and_load(staging, database, "a", unknown(f"{group}/n"))
    away = Settings(mqtt=MqttSettings(broker_url=f"mqtt://127.0.0.1:{free_port()}"))
    with pytest.raises(BrokerError):
        ask_for_rebirths(database, away, now=NOW)
    assert try_to_ask(database, away, now=NOW) == []
    assert len(ask_for_rebirths(database, settings, now=NOW)) == 1


def test_levels_before_the_namespace_stay(
    database: Database, staging: LocalStaging, settings: Settings, group: str
) -> None:
    topic, payload = unknown(f"{group}/n")
    born_topic, born = birth(f"{group}/n", metric("a", 1, 10, double_value=0.0))
    # A birth of the same name at another site, or behind no bridge, is not that of this node.
    births = (f"other/{born_topic}", born), (born_topic, born)
    stage_and_load(staging, database, "a", (f"bridge/{topic}", payload), *births)
    assert ask_for_rebirths(database, settings, now=NOW) == [f"bridge/spBv1.0/{group}/NCMD/n"]


def test_a_node_of_whom_messages_are_missing_is_asked_until_it_is_born(
    database: Database, staging: LocalStaging, settings: Settings, group: str, heard: "queue.Queue[tuple[str, bytes]]"
) -> None:
    node = f"{group}/n"
    born = birth(node, metric("a", 1, 10, double_value=0.0))
    third = topic("DATA", node), payload(metric(None, 1, None, double_value=1.0), seq=3)
    stage_and_load(staging, database, "a", born, third)
    asked = [ask_for_rebirths(database, settings, now=at) for at in (NOW, NOW + INTERVAL / 2)]
    assert asked == [[f"spBv1.0/{group}/NCMD/n"], []]
    assert heard.get(timeout=TIMEOUT_S)[0] == f"spBv1.0/{group}/NCMD/n"
    stage_and_load(staging, database, "b", born, minute=1)
    assert ask_for_rebirths(database, settings, now=NOW + INTERVAL) == []


def test_of_a_gap_of_long_ago_nobody_is_asked(
    database: Database, staging: LocalStaging, settings: Settings, group: str
) -> None:
    numbers = [(topic("DATA", f"{group}/n"), payload(metric("a", None, 10, double_value=1.0), seq=n)) for n in (1, 3)]
    stage_and_load(staging, database, "a", *numbers)
    assert ask_for_rebirths(database, settings, now=NOW + timedelta(hours=2)) == []
