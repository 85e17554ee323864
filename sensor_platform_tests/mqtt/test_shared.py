"""Members of one share group beside a broker of their own: they split the load, and none takes a message along."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
import psutil
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import SecretStr

from sensor_platform.embedded.environment import environment_of
from sensor_platform.embedded.status import status
from sensor_platform.mqtt.client_id import client_id
from sensor_platform.mqtt.subscriptions import KeptSubscriptions, Told
from sensor_platform.settings import Settings
from sensor_platform_tests.conftest import Broker
from sensor_platform_tests.mqtt.collecting import collecting, make_settings, originals, publish, publisher
from sensor_platform_tests.mqtt.publishing import always_publishing
from sensor_platform_tests.waiting import wait_until

if TYPE_CHECKING:
    from sensor_platform.database.engine import Database

BOTH = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


def member_settings(broker: Broker, home: Path, database: "Database", root: str, **mqtt: Any) -> Settings:
    """Each member makes its own client id in the home."""
    settings = make_settings(broker, home, root, client_id=None, share_group="plant", **mqtt)
    return settings.model_copy(update={"database_url": SecretStr(database.url)})


def members(database: "Database") -> set[str]:
    """The collectors whose filters the broker has granted."""
    query = "select collector from sensor_platform.collector_subscription where state = 'granted'"
    with psycopg.connect(database.url) as sql:
        return {row[0] for row in sql.execute(query)}


def has_session(broker: Broker, name: str, protocol: str = "5") -> bool:
    """Whether the broker keeps a session under this client id; the look itself leaves it as it is."""
    is_5 = protocol == "5"
    version = MQTTProtocolVersion.MQTTv5 if is_5 else MQTTProtocolVersion.MQTTv311
    client = paho.Client(
        CallbackAPIVersion.VERSION2, name, protocol=version, clean_session=None if is_5 else False, manual_ack=True
    )
    client.username_pw_set(broker.username, broker.password)
    found: list[bool] = []
    client.on_connect = lambda _c, _u, flags, *_: found.append(flags.session_present)
    if is_5:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 3600
        client.connect(broker.host, broker.port, clean_start=False, properties=properties)
    else:
        client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        wait_until(lambda: bool(found), "the broker's answer")
    finally:
        client.disconnect()
        client.loop_stop()
    return found[0]


@BOTH
def test_two_members_split_the_load_and_each_leaves_in_order(
    fresh_broker: Broker, home: Path, database: "Database", protocol: str
) -> None:
    settings = member_settings(fresh_broker, home, database, "shared", protocol=protocol)
    with collecting(settings, name="c0", database_url=database.url) as first:
        with collecting(settings, name="c1", database_url=database.url) as second:
            wait_until(lambda: members(database) == {"c0", "c1"}, "both members")
            with always_publishing(fresh_broker, "shared/a/b") as confirmed:
                wait_until(lambda: min(first.health.messages, second.health.messages) >= 100, "a share for each")
                second.request_stop()
                wait_until(lambda: members(database) == {"c0"}, "the second to leave")
                taken = first.health.messages
                wait_until(lambda: first.health.messages > taken + 100, "the first to go on")
            wait_until(lambda: len(originals(settings)) >= len(confirmed), "all of it")
        found = status(settings, None)
        assert found["messages"]["staged"] == len(confirmed)
        assert (found["collector"]["state"], found["collector"]["connected"]) == ("collecting", True)
        each = {each["collector"]: each["state"] for each in found["collector"]["collectors"]}
        assert each == {"c0": "collecting", "c1": "stopped"}
    assert sorted(map(int, originals(settings))) == list(range(len(confirmed)))
    assert not has_session(fresh_broker, client_id(settings, "c1"), protocol)
    # The last one of a group keeps its session: otherwise nobody would get what is published now.
    with publisher(fresh_broker) as client:
        publish(client, [("shared/a/b", b"while nobody is there")])
    with collecting(settings, name="c0", database_url=database.url):
        wait_until(lambda: b"while nobody is there" in originals(settings), "what the broker kept")


@BOTH
def test_a_collector_that_joins_a_group_and_leaves_it_loses_nothing(
    fresh_broker: Broker, home: Path, database: "Database", protocol: str
) -> None:
    shared = member_settings(fresh_broker, home, database, "joins", protocol=protocol)
    alone = shared.model_copy(update={"mqtt": shared.mqtt.model_copy(update={"share_group": None})})
    kept = KeptSubscriptions(
        home / "staging/_open/c0", session=f"{client_id(alone)}@{fresh_broker.host}:{fresh_broker.port}"
    )
    unshared, in_group = Told(frozenset({"joins/+/+"})), Told(frozenset({"$share/plant/joins/+/+"}))
    with collecting(alone, database_url=database.url):
        wait_until(lambda: kept.read() == unshared, "a session")
    with always_publishing(fresh_broker, "joins/a/b") as confirmed:
        for settings, told in ((alone, unshared), (shared, in_group), (alone, unshared)):
            with collecting(settings, database_url=database.url) as collector:
                wait_until(lambda told=told: kept.read() == told, "the filter")  # type: ignore[misc]
                wait_until(lambda collector=collector: collector.health.messages > 50, "a flow")  # type: ignore[misc]
    with collecting(alone, database_url=database.url):
        wait_until(lambda: set(confirmed) <= set(originals(alone)), "all of it")


@contextmanager
def workers(settings: Settings, count: int) -> Iterator[subprocess.Popen[bytes]]:
    """`collect --workers COUNT`; killed at the end with all that it started, if it still lives."""
    command = [sys.executable, "-m", "sensor_platform.cli", "collect", "--workers", str(count)]
    environ = {**os.environ, **environment_of(settings)}
    with (settings.home / "workers.log").open("ab") as log:
        process = subprocess.Popen(command, env=environ, cwd=settings.home, stderr=log)
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """The parent and its workers, without a word."""
    if process.poll() is not None:
        return
    for each in [*psutil.Process(process.pid).children(recursive=True), process]:
        each.send_signal(signal.SIGKILL)
    process.wait(10)


def pids(database: "Database") -> dict[str, int]:
    with psycopg.connect(database.url) as sql:
        return dict(sql.execute("select collector, pid from sensor_platform.collector_heartbeat").fetchall())


@pytest.mark.slow
def test_a_killed_worker_comes_back_and_nothing_is_lost(fresh_broker: Broker, home: Path, database: "Database") -> None:
    settings = member_settings(fresh_broker, home, database, "workers")
    with workers(settings, 2) as parent:
        wait_until(lambda: members(database) == {"c0", "c1"}, "both workers", 60)
        with always_publishing(fresh_broker, "workers/a/b") as confirmed:
            wait_until(lambda: len(confirmed) > 300, "a flow", 60)
            killed = pids(database)["c1"]
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: pids(database)["c1"] != killed, "the worker's next life", 60)
            before = len(confirmed)
            wait_until(lambda: len(confirmed) > before + 300, "more of the flow", 60)
        wait_until(lambda: len(set(originals(settings))) >= len(confirmed), "all of it", 60)
        assert sorted(map(int, originals(settings))) == list(range(len(confirmed)))
        assert status(settings, None)["messages"]["staged"] >= len(confirmed)
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(60) == 0
    assert has_session(fresh_broker, client_id(settings, "c0"))
    assert not has_session(fresh_broker, client_id(settings, "c1"))


@pytest.mark.slow
def test_where_there_were_more_workers_the_others_give_back_what_they_had(
    fresh_broker: Broker, home: Path, database: "Database"
) -> None:
    settings = member_settings(fresh_broker, home, database, "fewer")
    with workers(settings, 2) as parent, publisher(fresh_broker) as client:
        wait_until(lambda: members(database) == {"c0", "c1"}, "both workers", 60)
        kill(parent)
        sent = [b"%d" % n for n in range(200)]
        publish(client, [("fewer/a/b", payload) for payload in sent])
        assert originals(settings) == []
        with workers(settings, 1):
            wait_until(lambda: len(originals(settings)) == 200, "both shares", 60)
            assert sorted(originals(settings)) == sorted(sent)
            wait_until(lambda: not has_granted(home, "c1"), "the end of the second")
    assert not has_session(fresh_broker, client_id(settings, "c1"))


def has_granted(home: Path, name: str) -> bool:
    return (home / "staging/_open" / name / "subscriptions").exists()
