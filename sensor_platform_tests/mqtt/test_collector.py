"""The collector beside a real broker and a real database."""

import os
import signal
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from pydantic import SecretStr

from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform.errors import (
    BrokerError,
    BrokerUnreachableError,
    ClientIdTakenError,
    CollectorBusyError,
    CredentialsRefusedError,
)
from sensor_platform.mqtt.collector import Collector
from sensor_platform.mqtt.control import Witness
from sensor_platform.mqtt.health import CollectorHealth, Figures
from sensor_platform.mqtt.history import ConnectionHistory
from sensor_platform.mqtt.states import State
from sensor_platform_tests.conftest import free_port
from sensor_platform_tests.mqtt.collecting import (
    collecting,
    collector_process,
    make_settings,
    originals,
    publish,
    publisher,
    rows,
)
from sensor_platform_tests.staging.groups import group, writer
from sensor_platform_tests.waiting import wait_until

if TYPE_CHECKING:
    from sensor_platform.database.engine import Database

BOTH = pytest.mark.parametrize("protocol", ["5", "3.1.1"])
PATHS = pytest.mark.parametrize("read_path", ["auto", "stock"])


def is_collecting(collector: Collector) -> bool:
    return collector.health.state is State.COLLECTING and collector.health.connected


@PATHS
@BOTH
def test_what_is_published_is_staged(broker: Any, home: Path, protocol: str, read_path: str) -> None:
    root = f"flow-{protocol}-{read_path}"
    settings = make_settings(broker, home, root, protocol=protocol, read_path=read_path)
    sent = [(f"{root}/press/force-{n % 3}", b"%d" % n) for n in range(500)]
    with collecting(settings) as collector, publisher(broker) as client:
        wait_until(lambda: is_collecting(collector), "a connection")
        publish(client, sent)
        wait_until(lambda: len(rows(settings)) == 500, "500 messages")
        assert collector.health.messages == 500
        assert collector.health.error is None
    assert collector.health.state is State.STOPPED
    found = rows(settings)
    assert [(row["topic"].decode(), row["payload"]) for row in found] == sent
    assert {row["qos"] for row in found} == {1}
    assert [row["sequence"] for row in found] == list(range(500))


@PATHS
@BOTH
def test_the_session_keeps_what_comes_while_it_is_down(broker: Any, home: Path, protocol: str, read_path: str) -> None:
    root = f"down-{protocol}-{read_path}"
    settings = make_settings(broker, home, root, protocol=protocol, read_path=read_path)
    with publisher(broker) as client:
        with collecting(settings) as collector:
            wait_until(lambda: is_collecting(collector), "a connection")
            publish(client, [(f"{root}/a/b", b"before")])
            wait_until(lambda: originals(settings) == [b"before"], "the first message")
        publish(client, [(f"{root}/a/b", b"%d" % n) for n in range(300)])
        with collecting(settings):
            wait_until(lambda: len(rows(settings)) == 301, "what was kept")
    assert originals(settings) == [b"before", *(b"%d" % n for n in range(300))]


def test_odd_messages_are_staged_as_they_are(broker: Any, home: Path) -> None:
    settings = make_settings(broker, home, "odd", max_payload_bytes=10)
    with collecting(settings) as collector, publisher(broker) as client:
        wait_until(lambda: is_collecting(collector), "a connection")
        publish(client, [("odd/a/b", b""), ("odd/a/b", bytes(1_000_000))])
        publish(client, [("odd/a/b", b"qos 0")], qos=0)
        publish(client, [("odd/a/b", b"qos 2")], qos=2)
        wait_until(lambda: len(rows(settings)) == 4, "four messages")
        assert collector.health.qos0 == 1
    found = {row["payload"]: (row["qos"], row["packet_id"] is None) for row in rows(settings)}
    assert found == {b"": (1, False), bytes(1_000_000): (1, False), b"qos 0": (0, True), b"qos 2": (1, False)}


@BOTH
def test_a_retained_message_comes_once_over_reconnects(broker: Any, home: Path, protocol: str) -> None:
    root = f"retained-{protocol}"
    settings = make_settings(broker, home, root, protocol=protocol)
    with publisher(broker) as client:
        publish(client, [(f"{root}/a/b", b"kept")], retain=True)
        for number in range(3):
            with collecting(settings) as collector:
                wait_until(lambda collector=collector: is_collecting(collector), "a connection")  # type: ignore[misc]
                publish(client, [(f"{root}/a/c", b"%d" % number)])
                wait_until(lambda number=number: b"%d" % number in originals(settings), "a message")  # type: ignore[misc]
        publish(client, [(f"{root}/a/b", b"")], retain=True)
    retained = [row["payload"] for row in rows(settings) if row["retain"]]
    assert retained == [b"kept"]


@BOTH
def test_filters_that_left_the_routes_are_unsubscribed(broker: Any, home: Path, protocol: str) -> None:
    before = make_settings(broker, home, f"old-{protocol}", protocol=protocol, client_id=f"routes-{protocol}")
    with collecting(before) as collector:
        wait_until(lambda: is_collecting(collector), "a connection")
        wait_until(lambda: next(home.glob("staging/_open/c0/subscriptions"), None) is not None, "granted filters")
    after = make_settings(broker, home, f"new-{protocol}", protocol=protocol, client_id=f"routes-{protocol}")
    with collecting(after) as collector, publisher(broker) as client:
        kept = home / "staging/_open/c0/subscriptions"
        wait_until(lambda: f"new-{protocol}" in kept.read_text(), "granted filters")
        wait_until(lambda: f"old-{protocol}" not in kept.read_text(), "the end of the old ones")
        publish(client, [(f"old-{protocol}/a/b", b"no"), (f"new-{protocol}/a/b", b"yes")])
        wait_until(lambda: originals(after) == [b"yes"], "the message of the new filter")


def test_a_broker_restart_is_survived(tmp_path: Path, home: Path) -> None:
    port = free_port()
    with EmbeddedBroker(tmp_path / "own broker", port) as own:
        settings = make_settings(_found(own), home, "restart")
        with collecting(settings) as collector:
            with publisher(_found(own)) as client:
                wait_until(lambda: is_collecting(collector), "a connection")
                publish(client, [("restart/a/b", b"before")])
                wait_until(lambda: collector.health.messages == 1, "the first message")
            own.stop()
            wait_until(lambda: not collector.health.connected and collector.health.error is not None, "the loss")
            own.start()
            wait_until(lambda: is_collecting(collector), "a connection again")
            with publisher(_found(own)) as client:
                publish(client, [("restart/a/b", b"after")])
            wait_until(lambda: originals(settings) == [b"before", b"after"], "both messages")
            assert collector.health.error is None
            assert collector.health.connections == 2


@BOTH
def test_two_collectors_with_one_client_id_say_so(tmp_path: Path, protocol: str) -> None:
    with EmbeddedBroker(tmp_path / "own broker", free_port()) as own:
        homes = [tmp_path / "one", tmp_path / "other"]
        for each in homes:
            each.mkdir()
        one, other = (make_settings(_found(own), each, "twins", protocol=protocol) for each in homes)
        with collecting(one) as first, collecting(other) as second:
            wait_until(lambda: "client_id_taken" in (first.health.error_kind, second.health.error_kind), "the reason")


def test_a_broker_that_tells_of_a_taken_client_id_is_believed_at_once(broker: Any, home: Path) -> None:
    def old_broker(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(bytes([0x20, 3, 0, 0, 0, 0xE0, 2, 0x8E, 0]))  # CONNACK; DISCONNECT: session taken over

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=old_broker, args=(listener,))
        thread.start()
        settings = make_settings(broker, home, "stolen", broker_url=f"mqtt://127.0.0.1:{listener.getsockname()[1]}")
        with Collector(settings, once_connected_or_fail=True) as collector, pytest.raises(ClientIdTakenError) as caught:
            collector.run()
        thread.join(timeout=10)
    assert caught.value.kind == "client_id_taken"


def test_connections_that_nobody_took_are_no_sign_of_a_taken_client_id(
    broker: Any, home: Path, database: "Database"
) -> None:
    from sensor_platform.health.connections import listed

    connack = bytes([0x20, 3, 0, 0, 0])

    def starting_broker(listener: socket.socket) -> None:
        for answer in (b"", b"", b"", connack):
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)
                if answer:
                    connection.recv(4096)  # its SUBSCRIBE: it is connected, and loses that connection at once

    def told() -> list[tuple[str, str | None]]:
        return [(row["event"], row["kind"]) for row in reversed(listed(database, limit=99))]

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=starting_broker, args=(listener,))
        thread.start()
        url = f"mqtt://127.0.0.1:{listener.getsockname()[1]}"
        settings = make_settings(broker, home, "starting", broker_url=url, protocol="5")
        with collecting(settings, database_url=database.url):
            thread.join(timeout=20)
            listener.close()
            wait_until(lambda: "lost" in [event for event, _ in told()], "the loss")
    assert told()[:3] == [("failed", "unreachable"), ("connected", None), ("lost", "unreachable")]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("20 03 00 97 00", "quota_exceeded"),
        ("20 03 00 89 00", "quota_exceeded"),
        ("20 03 00 88 00", "unreachable"),
        ("20 03 00 84 00", "protocol_refused"),
        ("20 03 00 85 00", "refused"),
        ("20 03 00 86 00", "credentials_refused"),
        ("20 03 00 00 00; 90 04 00 01 00 97", "quota_exceeded"),  # CONNACK; SUBACK
        ("20 03 00 00 00; 90 04 00 01 00 87", "subscription_refused"),
    ],
)
def test_what_a_broker_answers_has_a_kind(broker: Any, home: Path, answer: str, kind: str) -> None:
    def fake_broker(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            for packet in answer.split(";"):
                connection.recv(4096)
                connection.sendall(bytes.fromhex(packet))
            while connection.recv(4096):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=fake_broker, args=(listener,))
        thread.start()
        url = f"mqtt://127.0.0.1:{listener.getsockname()[1]}"
        settings = make_settings(broker, home, "answers", broker_url=url, protocol="5")
        with Collector(settings, once_connected_or_fail=True) as collector, pytest.raises(BrokerError) as caught:
            collector.run()
        thread.join(timeout=10)
    assert caught.value.kind == collector.health.error_kind == kind


def test_its_connections_are_told_and_kept(tmp_path: Path, home: Path, database: "Database") -> None:
    from sensor_platform.embedded.status import status
    from sensor_platform.health.connections import listed

    def events() -> list[tuple[str, str | None]]:
        return [(row["event"], row["kind"]) for row in reversed(listed(database, limit=99))]

    with EmbeddedBroker(tmp_path / "own broker", free_port()) as own:
        settings = make_settings(_found(own), home, "history").model_copy(
            update={"database_url": SecretStr(database.url)}
        )
        with collecting(settings, database_url=database.url) as collector:
            wait_until(lambda: is_collecting(collector), "a connection")
            own.stop()
            wait_until(lambda: ("failed", "unreachable") in events(), "the loss, and attempts in vain")
            own.start()
            wait_until(lambda: events()[-1] == ("connected", None), "a connection again")
            (told,) = status(settings, None)["collector"]["collectors"]
            assert told["connected_since"] is not None
            assert (told["lost_24h"], told["last_lost"]["kind"]) == (1, "unreachable")
    assert events() == [
        ("connected", None),
        ("lost", "unreachable"),
        ("failed", "unreachable"),
        ("connected", None),
        ("closed", "stopped"),
    ]


class _Found:
    """A broker in the shape of the fixture."""

    def __init__(self, own: EmbeddedBroker) -> None:
        self.url, self.username = own.url, own.username
        self.password = own.password_file.read_text().strip()
        self.host, self.port = "127.0.0.1", int(own.url.rpartition(":")[2])


_found = _Found


def test_what_stands_in_the_way_is_told_apart(broker: Any, home: Path) -> None:
    nobody = make_settings(broker, home, "errors", broker_url=f"mqtt://127.0.0.1:{free_port()}")
    with (
        Collector(nobody, once_connected_or_fail=True) as collector,
        pytest.raises(BrokerUnreachableError, match="Connection refused"),
    ):
        collector.run()
    stranger = make_settings(broker, home, "errors", username="nobody")
    with Collector(stranger, once_connected_or_fail=True) as collector, pytest.raises(CredentialsRefusedError):
        collector.run()
    assert "refused us" in str(collector.health.error)


def test_a_broker_that_says_nothing_does_not_hold_it_for_ever(broker: Any, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mqtt://127.0.0.1:{silent.getsockname()[1]}"
        settings = make_settings(broker, home, "silent", broker_url=url, connect_timeout_s=0.3)
        with (
            Collector(settings, once_connected_or_fail=True) as collector,
            pytest.raises(BrokerUnreachableError, match="says nothing"),
        ):
            collector.run()


def test_it_falls_back_to_3_1_1_where_the_broker_has_no_5(broker: Any, home: Path) -> None:
    versions: list[int] = []

    def old_broker(listener: socket.socket) -> None:
        for answer in (bytes([0x20, 2, 0, 1]), bytes([0x20, 2, 0, 0])):  # unacceptable protocol version; accepted
            connection, _ = listener.accept()
            with connection:
                versions.append(connection.recv(4096)[8])
                connection.sendall(answer)
                connection.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=old_broker, args=(listener,))
        thread.start()
        settings = make_settings(broker, home, "old", broker_url=f"mqtt://127.0.0.1:{listener.getsockname()[1]}")
        with collecting(settings) as collector:
            wait_until(lambda: collector.health.connections == 1, "a connection")
        thread.join(timeout=10)
    assert versions == [5, 4]


@pytest.mark.parametrize("speaks_5", [True, False])
def test_where_nobody_answered_5_it_is_asked_once_more(broker: Any, home: Path, speaks_5: bool) -> None:
    versions: list[int] = []
    last = (bytes([0x20, 3, 0, 0, 0]),) if speaks_5 else (b"", bytes([0x20, 2, 1, 0]))

    def broker_behind_a_proxy(listener: socket.socket) -> None:
        for answer in (b"", bytes([0x20, 2, 0, 0]), *last):  # the broker is not up yet; then it is
            connection, _ = listener.accept()
            with connection:
                versions.append(connection.recv(4096)[8])
                connection.sendall(answer)
                while answer and connection.recv(4096):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=broker_behind_a_proxy, args=(listener,))
        thread.start()
        settings = make_settings(broker, home, "proxy", broker_url=f"mqtt://127.0.0.1:{listener.getsockname()[1]}")
        with collecting(settings) as collector:
            wait_until(lambda: collector.health.connections == 1, "a connection")
        thread.join(timeout=10)
    assert versions == ([5, 4, 5] if speaks_5 else [5, 4, 5, 4])


def test_the_control_row_switches_it_off_and_on(broker: Any, home: Path, database: "Database") -> None:
    settings = make_settings(broker, home, "switch")
    with psycopg.connect(database.url, autocommit=True) as sql, publisher(broker) as client:
        sql.execute("insert into sensor_platform.collector_control (sensor_on) values (true) on conflict do nothing")
        with collecting(settings, database_url=database.url) as collector:
            wait_until(lambda: is_collecting(collector), "a connection")
            publish(client, [("switch/a/b", b"on")])
            wait_until(lambda: collector.health.messages == 1, "the first message")
            sql.execute("update sensor_platform.collector_control set api_on = false")
            wait_until(lambda: collector.health.state is State.WAITING, "the switch")
            assert originals(settings) == [b"on"]  # drained and sealed
            publish(client, [("switch/a/b", b"while off")])
            state = "select state, connected, messages, error from sensor_platform.collector_heartbeat"
            wait_until(lambda: sql.execute(state).fetchone() == ("waiting", False, 1, None), "the heartbeat")
            sql.execute("update sensor_platform.collector_control set api_on = true")
            wait_until(lambda: originals(settings) == [b"on", b"while off"], "what the broker kept")
        assert sql.execute(state).fetchone() == ("stopped", False, 2, None)


def test_one_that_starts_while_switched_off_does_not_connect(broker: Any, home: Path, database: "Database") -> None:
    settings = make_settings(broker, home, "starts-off")
    with psycopg.connect(database.url, autocommit=True) as sql:
        sql.execute("insert into sensor_platform.collector_control (sensor_on) values (false)")
        with collecting(settings, database_url=database.url) as collector:
            wait_until(lambda: collector.health.state is State.WAITING, "the wish")
            assert collector.health.connections == 0


def test_what_a_crash_left_open_is_sealed_by_one_that_is_switched_off(
    broker: Any, home: Path, database: "Database"
) -> None:
    settings = make_settings(broker, home, "crashed")
    today = datetime.now(UTC).date()
    with writer(home / "staging") as crashed:
        crashed.recover()
        crashed.stage(group(b"durable"))  # and not sealed; perhaps tomorrow
    in_the_way = [home / f"staging/dt={day}" for day in (today, today + timedelta(days=1))]
    for path in in_the_way:
        path.touch()
    with psycopg.connect(database.url, autocommit=True) as sql:
        sql.execute("insert into sensor_platform.collector_control (sensor_on) values (false)")
        with collecting(settings, database_url=database.url) as collector:
            wait_until(lambda: collector.health.error_kind == "staging_unavailable", "a disk that refuses")
            for path in in_the_way:
                path.unlink()
            wait_until(lambda: originals(settings) == [b"durable"], "what the crash left")
            wait_until(lambda: collector.health.error is None, "the end of the trouble")
            assert (collector.health.state, collector.health.connections) == (State.WAITING, 0)


def test_an_unexpected_error_does_not_end_the_witness(database: "Database") -> None:
    healthy = Figures("c0", "me").snapshot()
    told: list[CollectorHealth] = []

    def health() -> CollectorHealth:
        told.append(healthy)
        if len(told) == 1:
            raise RuntimeError("not foreseen")
        return healthy

    witness = Witness(
        database.url,
        collector="c0",
        health=health,
        history=ConnectionHistory(),
        standing=lambda: (),
        on_wish=lambda: None,
        on_added=lambda _: None,
    )
    witness.start()
    try:
        with psycopg.connect(database.url, autocommit=True) as sql:
            beats = "select count(*) from sensor_platform.collector_heartbeat"
            wait_until(lambda: sql.execute(beats).fetchone() == (1,), "a heartbeat")
    finally:
        witness.stop()


@pytest.mark.parametrize("how", ["switched off", "stopped"])
def test_without_a_connection_it_seals_and_rests_all_the_same(tmp_path: Path, home: Path, how: str) -> None:
    with EmbeddedBroker(tmp_path / "own broker", free_port()) as own:
        settings = make_settings(_found(own), home, "lost", buffer_flush_interval_ms=60_000)
        with collecting(settings) as collector:
            with publisher(_found(own)) as client:
                wait_until(lambda: is_collecting(collector), "a connection")
                publish(client, [("lost/a/b", b"1")])
                wait_until(lambda: collector.health.messages == 1, "the message")
            own.stop()
            wait_until(lambda: not collector.health.connected, "the loss")
            assert originals(settings) == []
            if how == "switched off":
                collector._wish.is_wished = lambda: False  # type: ignore[method-assign]
                wait_until(lambda: collector.health.state is State.WAITING, "the switch")
                assert originals(settings) == [b"1"]
        assert collector.health.state is State.STOPPED
        assert originals(settings) == [b"1"]


def test_unmanaged_it_collects_whatever_the_row_says(broker: Any, home: Path, database: "Database") -> None:
    settings = make_settings(broker, home, "unmanaged")
    with psycopg.connect(database.url, autocommit=True) as sql:
        sql.execute("insert into sensor_platform.collector_control (sensor_on) values (true) on conflict do nothing")
        sql.execute("update sensor_platform.collector_control set sensor_on = false")
        with collecting(settings, database_url=database.url, managed=False) as collector:
            wait_until(lambda: is_collecting(collector), "a connection")
            beats = "select count(*) from sensor_platform.collector_heartbeat where state = 'collecting'"
            wait_until(lambda: sql.execute(beats).fetchone() == (1,), "a heartbeat")


def test_an_empty_database_is_no_reason_to_wait(broker: Any, home: Path, database_url: str) -> None:
    settings = make_settings(broker, home, "no-tables")
    with collecting(settings, database_url=database_url) as collector, publisher(broker) as client:
        wait_until(lambda: is_collecting(collector), "a connection")
        publish(client, [("no-tables/a/b", b"1")])
        wait_until(lambda: originals(settings) == [b"1"], "the message")


def test_a_second_collector_is_told_who_is_there(broker: Any, home: Path) -> None:
    settings = make_settings(broker, home, "busy")
    with collecting(settings), pytest.raises(CollectorBusyError, match=f"pid {os.getpid()}"), Collector(settings):
        pass


def test_the_command_stops_cleanly(broker: Any, home: Path) -> None:
    settings = make_settings(broker, home, "command")
    with collector_process(settings) as process, publisher(broker) as client:
        wait_until(lambda: next(home.glob("staging/_open/c0/subscriptions"), None) is not None, "granted filters")
        publish(client, [("command/a/b", b"%d" % n) for n in range(50)])
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        with collector_process(settings) as again:
            publish(client, [("command/a/b", b"50")])
            wait_until(lambda: len(originals(settings)) == 51, "all messages")
            again.send_signal(signal.SIGINT)
            assert again.wait(timeout=10) == 0
    assert originals(settings) == [b"%d" % n for n in range(51)]


IMPORTS = """
import sys, threading
from pathlib import Path
from sensor_platform.cli import sensor_platform
import sensor_platform.mqtt.collector as collector

real = collector.Collector.run
def run(self):
    threading.Timer(3.0, self.request_stop).start()
    real(self)
collector.Collector.run = run
sensor_platform(["collect"], standalone_mode=False)
heavy = [name for name in ("pandas", "pandera", "dagster", "sqlalchemy", "fastapi") if name in sys.modules]
assert not heavy, heavy
from sensor_platform.staging.store import LocalStaging
assert LocalStaging(Path("staging").absolute()).micro_batches(), "it staged nothing"
assert "pandas" not in sys.modules
"""


def test_collecting_imports_neither_pandas_nor_dagster(broker: Any, home: Path) -> None:
    settings = make_settings(broker, home, "light")
    with collecting(settings) as collector:
        wait_until(lambda: is_collecting(collector), "the session to be made")
        wait_until(lambda: next(home.glob("staging/_open/c0/subscriptions"), None) is not None, "granted filters")
    with publisher(broker) as client:
        publish(client, [("light/a/b", b"1")])
    assert settings.mqtt.password is not None
    environ = {
        **os.environ,
        "MQTT_BROKER_URL": broker.url,
        "MQTT_USERNAME": broker.username,
        "MQTT_PASSWORD": broker.password,
        "MQTT_CLIENT_ID": str(settings.mqtt.client_id),
        "SENSOR_PLATFORM_HOME": str(home),
        "SENSOR_PLATFORM_ROUTES": str(settings.routes_file),
    }
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], env=environ, cwd=home, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
