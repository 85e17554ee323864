"""Filters added and removed while a collector runs, beside a real broker and a real database."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from sensor_platform.database import subscriptions
from sensor_platform.database.subscriptions import NO_ROUTE, Answer, add, listed, remove
from sensor_platform.embedded.broker import EmbeddedBroker, find_mosquitto
from sensor_platform.embedded.ports import answers
from sensor_platform.errors import InvalidSubscriptionError
from sensor_platform.mqtt import control
from sensor_platform.mqtt.subscriptions import AddedSubscriptions
from sensor_platform.routes.file import load_routes
from sensor_platform.routes.model import Route, Routes
from sensor_platform.settings import Settings
from sensor_platform_tests.conftest import Broker, free_port, missing_tool
from sensor_platform_tests.mqtt.collecting import collecting, make_settings, originals, publish, publisher, rows
from sensor_platform_tests.mqtt.publisher_proxy import Proxy
from sensor_platform_tests.mqtt.publishing import always_publishing
from sensor_platform_tests.waiting import wait_until

if TYPE_CHECKING:
    from sensor_platform.database.engine import Database

BOTH = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


def routes_of(settings: Settings) -> Routes:
    return load_routes(settings, with_transformers=False)


def states(database: "Database", settings: Settings) -> dict[str, str]:
    """Filter -> what the only collector says of it."""
    return {each.filter: each.collectors[0].state for each in listed(database, routes_of(settings)) if each.collectors}


def all_granted(database: "Database", settings: Settings, *filters: str) -> bool:
    found = states(database, settings)
    return all(found.get(name) == "granted" for name in filters)


@BOTH
def test_added_and_removed_while_others_lose_nothing(
    broker: Any, home: Path, database: "Database", protocol: str
) -> None:
    root = f"subs-{protocol}"
    settings = make_settings(broker, home, root, protocol=protocol)
    routes = routes_of(settings)
    more = [f"{root}-more/{n}/+" for n in range(20)]
    with collecting(settings, database_url=database.url), publisher(broker) as client:
        wait_until(lambda: all_granted(database, settings, f"{root}/+/+"), "the route's filter")
        with always_publishing(broker, f"{root}/a/b") as confirmed:
            wait_until(lambda: len(confirmed) > 20, "a flow")
            add(database, routes, more, by="test")
            wait_until(lambda: all_granted(database, settings, *more), "the added filters")
            publish(client, [(f"{root}-more/7/x", b"added")])
            wait_until(lambda: b"added" in originals(settings), "a message of an added filter")
            remove(database, routes, more)
            kept = home / "staging/_open/c0/subscriptions"
            wait_until(lambda: f"{root}-more" not in kept.read_text(), "the end of the added filters")
            publish(client, [(f"{root}-more/7/x", b"removed")])
            before = len(confirmed)
            wait_until(lambda: len(confirmed) > before + 20, "more of the flow")
        wait_until(lambda: len(originals(settings)) >= len(confirmed) + 1, "all of it")
    found = originals(settings)
    assert [payload for payload in found if payload != b"added"] == confirmed  # none lost, none doubled, none of others


def test_a_change_is_told_at_once_and_otherwise_seen_at_the_next_beat(
    broker: Any, home: Path, database: "Database", monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(broker, home, "told")
    monkeypatch.setattr(control, "INTERVAL_S", 600.0)
    with collecting(settings, database_url=database.url):
        wait_until(lambda: all_granted(database, settings, "told/+/+"), "the route's filter")
        add(database, routes_of(settings), ["told-more/+"], by="test")
        wait_until(lambda: all_granted(database, settings, "told-more/+"), "the added filter")
    monkeypatch.setattr(control, "INTERVAL_S", 0.2)
    with collecting(settings, database_url=database.url):
        with psycopg.connect(database.url) as sql:  # by hand, without a word
            sql.execute("insert into sensor_platform.subscription (filter, added_by) values ('told-by-hand', 'x')")
        wait_until(lambda: all_granted(database, settings, "told-by-hand"), "the filter of the table")


def test_a_wider_filter_takes_over_without_a_gap_and_gives_back(broker: Any, home: Path, database: "Database") -> None:
    settings = make_settings(broker, home, "wide")
    routes = routes_of(settings)
    with collecting(settings, database_url=database.url):
        wait_until(lambda: all_granted(database, settings, "wide/+/+"), "the route's filter")
        with always_publishing(broker, "wide/a/b") as confirmed:
            kept = home / "staging/_open/c0/subscriptions"
            add(database, routes, ["wide/#"], by="test")
            wait_until(lambda: '"wide/+/+"' not in kept.read_text(), "the wider one")
            wait_until(lambda: all_granted(database, settings, "wide/#", "wide/+/+"), "the word of it")
            remove(database, routes, ["wide/#"])
            wait_until(lambda: '"wide/#"' not in kept.read_text(), "the route's filter again")
        wait_until(lambda: set(confirmed) <= set(originals(settings)), "all of it")


def test_a_restart_keeps_what_was_added_with_and_without_the_database(
    broker: Any, home: Path, database: "Database"
) -> None:
    settings = make_settings(broker, home, "again")
    add(database, routes_of(settings), ["again-more/+"], by="test")
    with publisher(broker) as client:
        with collecting(settings, database_url=database.url):
            wait_until(lambda: all_granted(database, settings, "again-more/+"), "the added filter")
        publish(client, [("again-more/x", b"while down")])
        nobody = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
        with collecting(settings, database_url=nobody):
            for number in (1, 2):  # what it has to tell the broker was told when these are staged
                publish(client, [("again/a/b", b"%d" % number)])
                wait_until(lambda number=number: b"%d" % number in originals(settings), "a message")  # type: ignore[misc]
            publish(client, [("again-more/x", b"without a database"), ("again/a/b", b"3")])
            wait_until(lambda: b"3" in originals(settings), "the messages")
        remove(database, routes_of(settings), ["again-more/+"])  # while nobody listens
        with collecting(settings, database_url=database.url):
            kept = home / "staging/_open/c0/subscriptions"
            wait_until(lambda: "again-more" not in kept.read_text(), "the removal")
            publish(client, [("again-more/x", b"no"), ("again/a/b", b"yes")])
            wait_until(lambda: b"yes" in originals(settings), "the route's message")
    assert originals(settings) == [b"while down", b"1", b"2", b"without a database", b"3", b"yes"]


def forget_session(broker: Broker, client_id: str) -> None:
    """Another client takes the client id with a clean start, and goes: the broker forgets us and hangs up."""
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv311, reconnect_on_failure=False
    )
    client.username_pw_set(broker.username, broker.password)
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        assert connected.wait(20)
    finally:
        client.disconnect()
        client.loop_stop()


@BOTH
def test_a_new_session_whose_connack_was_lost_is_told_all_filters(
    fresh_broker: Broker, home: Path, protocol: str
) -> None:
    with Proxy((fresh_broker.host, fresh_broker.port)) as link:
        settings = make_settings(fresh_broker, home, "doubt", protocol=protocol, broker_url=link.url)
        with collecting(settings) as collector:
            wait_until((home / "staging/_open/c0/subscriptions").exists, "granted filters")
            link.answers.clear()
            before = link.answered
            forget_session(fresh_broker, str(settings.mqtt.client_id))
            wait_until(lambda: link.answered > before, "the CONNACK that is held back")
            link.cut()
            link.answers.set()
            wait_until(lambda: collector.health.connections == 2, "the next connection")
            with always_publishing(fresh_broker, "doubt/a/b"):
                wait_until(lambda: originals(settings) != [], "messages")


def test_a_broker_that_comes_back_with_older_subscriptions_is_told_the_newer_ones(tmp_path: Path, home: Path) -> None:
    folder = home / "staging/_open/c0"
    with EmbeddedBroker(tmp_path / "own broker", free_port()) as own:
        settings = make_settings(own, home, "older", protocol="3.1.1")
        with collecting(settings):
            wait_until((folder / "subscriptions").exists, "granted filters")
        own.stop()
        stored = own.folder / "mosquitto.db"
        older = stored.read_bytes()
        own.start()
        AddedSubscriptions(folder).write(["older-more/+"])
        with collecting(settings) as collector:
            wait_until(lambda: "older-more" in (folder / "subscriptions").read_text(), "the added filter")
            assert own.pid is not None
            os.kill(own.pid, signal.SIGKILL)
            own.stop()
            stored.write_bytes(older)
            wait_until((folder / "unanswered_connect").exists, "an attempt in vain")
            own.start()
            wait_until(lambda: collector.health.connections == 2, "the next connection")
            with always_publishing(own, "older-more/x"):
                wait_until(lambda: originals(settings) != [], "messages of the added filter")


def test_on_3_1_1_retained_messages_come_again_after_an_attempt_that_found_no_broker_and_only_then(
    tmp_path: Path, home: Path
) -> None:
    """The price of the test above: a broker that is as it was looks the same as one that came back older."""
    with EmbeddedBroker(tmp_path / "own broker", free_port()) as own:
        settings = make_settings(own, home, "price", protocol="3.1.1")
        with publisher(own) as client:
            publish(client, [("price/a/kept", b"kept")], retain=True)
            with collecting(settings):
                wait_until(lambda: originals(settings) == [b"kept"], "the retained message")
        own.stop()
        own.start()  # while no collector asks for it
        with collecting(settings) as collector:
            wait_until(lambda: collector.health.connections == 1, "a connection at the first attempt")
            with publisher(own) as client:
                publish(client, [("price/a/b", b"live")])
            wait_until(lambda: b"live" in originals(settings), "a message")
            assert originals(settings) == [b"kept", b"live"]
            own.stop()
            wait_until(lambda: "Connection refused" in (collector.health.error or ""), "an attempt in vain")
            own.start()
            wait_until(lambda: originals(settings).count(b"kept") == 2, "the retained message once more")
    again = [row for row in rows(settings) if row["payload"] == b"kept"]
    assert [row["retain"] for row in again] == [True, True]  # so that a route ignores it, where it has no time
    assert len(originals(settings)) == 3


@pytest.fixture
def strict_broker(tmp_path: Path) -> Iterator[Any]:
    """A broker with access rules for subscriptions: only acl/# may be had."""
    plugin = next(Path("/usr/lib").rglob("mosquitto_dynamic_security.so"), None)
    program = find_mosquitto()
    if plugin is None or program is None:
        missing_tool("mosquitto or its dynamic security plugin is not installed")
    acls = [{"acltype": "subscribePattern", "topic": "acl/#", "allow": True}]
    everything = {"publishClientSend": True, "publishClientReceive": True, "subscribe": False, "unsubscribe": True}
    rules = {
        "defaultACLAccess": everything,
        "groups": [{"groupname": "all", "roles": [{"rolename": "some"}]}],
        "roles": [{"rolename": "some", "acls": acls}],
        "clients": [],
        "anonymousGroup": "all",
    }
    folder = tmp_path / "strict"
    folder.mkdir()
    (folder / "rules.json").write_text(json.dumps(rules))
    port = free_port()
    (folder / "conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n"
        f"plugin {plugin}\nplugin_opt_config_file {folder / 'rules.json'}\n"
    )
    with subprocess.Popen([program, "-c", str(folder / "conf")], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: answers(port), "mosquitto to start")
            yield SimpleNamespace(url=f"mqtt://127.0.0.1:{port}", host="127.0.0.1", port=port, username="", password="")
        finally:
            process.terminate()


@BOTH
def test_what_the_access_rules_forbid_is_told_and_the_others_flow(
    strict_broker: Any, home: Path, database: "Database", protocol: str
) -> None:
    settings = make_settings(strict_broker, home, "acl", protocol=protocol, username=None, password=None)
    routes = routes_of(settings)
    with collecting(settings, database_url=database.url) as collector:
        wait_until(lambda: all_granted(database, settings, "acl/+/+"), "the route's filter")
        add(database, routes, ["forbidden/+", "acl/more"], by="test")
        wait_until(lambda: states(database, settings).get("forbidden/+") == "refused", "the refusal")
        assert all_granted(database, settings, "acl/+/+", "acl/more")
        wait_until(lambda: "to let us subscribe to forbidden/+" in (collector.health.error or ""), "the error")
        with publisher(strict_broker) as client:
            publish(client, [("acl/a/b", b"1"), ("acl/more", b"2")])
        wait_until(lambda: originals(settings) == [b"1", b"2"], "the messages of the others")
        remove(database, routes, ["forbidden/+"])
        wait_until(lambda: collector.health.error is None, "the end of the trouble")


ROUTE = Routes([Route(name="all", filter="f/{work_unit}/{sensor}", format="json")], source="routes.yaml")


@pytest.mark.parametrize(
    ("filters", "reason"),
    [
        (["ok", "a/#/b"], '"a/#/b" is not a topic filter: "#" is a whole level and the last one'),
        (["a+/b"], r'"\+" is a whole topic level'),
        ([""], "at least one character"),
        (["$share/g/a"], "a shared subscription is a matter of the collector"),
        (["f/a/#", "f/#/"], "not a topic filter"),
        (["+/a/b"], r"\+/a/b and f/\+/\+ \(route \"all\"\) share topics .* Add \+/\+/\+"),
        (["x/+/1", "x/1/+"], r"x/1/\+ \(this batch\) share topics"),
    ],
)
def test_a_batch_with_a_bad_filter_is_refused_whole(database: "Database", filters: list[str], reason: str) -> None:
    with pytest.raises(InvalidSubscriptionError, match=reason):
        add(database, ROUTE, filters, by="test")
    assert [each.filter for each in listed(database, ROUTE)] == ["f/+/+"]


def test_what_is_there_already_and_what_no_route_matches_is_said(database: "Database") -> None:
    assert add(database, ROUTE, ["f/+/+", "f/1/2", "f/#", "g"], by="ann").notes == (
        'f/+/+ is there already: route "all"',
        'f/1/2 is covered by f/+/+ (route "all"): it brings nothing more while that one stands',
        "f/1/2 is covered by f/# (this batch): it brings nothing more while that one stands",
        'f/# covers f/+/+ (route "all"): collectors subscribe to f/# alone',
        "f/# covers f/1/2 (this batch): collectors subscribe to f/# alone",
        f"not all of f/# has a route: {NO_ROUTE}",
        f"g has no route: {NO_ROUTE}",
    )
    assert add(database, ROUTE, ["g"], by="bob").notes == ("g is there already: added",)
    found = {each.filter: (each.origin, each.added_by, each.subscribed_as) for each in listed(database, ROUTE)}
    assert found == {
        "f/+/+": ("route", None, "f/#"),
        "f/#": ("added", "ann", "f/#"),
        "f/1/2": ("added", "ann", "f/#"),
        "g": ("added", "ann", "g"),
    }


def test_a_filter_of_a_route_or_of_nobody_is_not_removed(database: "Database") -> None:
    add(database, ROUTE, ["g"], by="test")
    with pytest.raises(
        InvalidSubscriptionError, match=r'comes from the route "all" of routes.yaml: take the route out'
    ):
        remove(database, ROUTE, ["g", "f/+/+"])
    with pytest.raises(InvalidSubscriptionError, match="h was never added"):
        remove(database, ROUTE, ["h"])
    assert "g" in {each.filter for each in listed(database, ROUTE)}
    assert remove(database, ROUTE, ["g"]).filters == ("g",)


def test_a_batch_is_one_notification_and_bounded(database: "Database", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MOST_ADDED", 50)
    with psycopg.connect(database.url, autocommit=True) as listener:
        listener.execute("listen sensor_platform_subscriptions")
        add(database, ROUTE, [f"many/{n}" for n in range(50)], by="test")
        assert len(list(listener.notifies(timeout=10, stop_after=1))) == 1
        with pytest.raises(InvalidSubscriptionError, match="more than 50"):
            add(database, ROUTE, ["one-too-many"], by="test")
    assert Answer("c0", "granted", None) not in listed(database, ROUTE)[0].collectors
