"""What a broker answers, or does not, has a kind; where it speaks another version, that one is used."""

import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform.errors import (
    BrokerError,
    BrokerUnreachableError,
    ClientIdTakenError,
    CredentialsRefusedError,
)
from sensor_platform.mqtt.collector import Collector
from sensor_platform_tests.conftest import free_port
from sensor_platform_tests.mqtt.collecting import (
    collecting,
    is_collecting,
    make_settings,
)
from sensor_platform_tests.mqtt.fake_broker import fake_broker
from sensor_platform_tests.waiting import wait_until

if TYPE_CHECKING:
    from sensor_platform.database.engine import Database

BOTH = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


@BOTH
def test_two_collectors_with_one_client_id_say_so(tmp_path: Path, protocol: str) -> None:
    with EmbeddedBroker(tmp_path / "own broker", free_port()) as own:
        homes = [tmp_path / "one", tmp_path / "other"]
        for each in homes:
            each.mkdir()
        one, other = (make_settings(own, each, "twins", protocol=protocol) for each in homes)
        with collecting(one) as first, collecting(other) as second:
            wait_until(lambda: "client_id_taken" in (first.health.error_kind, second.health.error_kind), "the reason")


def test_a_broker_that_tells_of_a_taken_client_id_is_believed_at_once(broker: Any, home: Path) -> None:
    def old_broker(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(bytes([0x20, 3, 0, 0, 0, 0xE0, 2, 0x8E, 0]))  # CONNACK; DISCONNECT: session taken over

    with fake_broker(old_broker) as url:
        settings = make_settings(broker, home, "stolen", broker_url=url)
        with Collector(settings, once_connected_or_fail=True) as collector, pytest.raises(ClientIdTakenError) as caught:
            collector.run()
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
    def answering(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            for packet in answer.split(";"):
                connection.recv(4096)
                connection.sendall(bytes.fromhex(packet))
            while connection.recv(4096):
                pass

    with fake_broker(answering) as url:
        settings = make_settings(broker, home, "answers", broker_url=url, protocol="5")
        with Collector(settings, once_connected_or_fail=True) as collector, pytest.raises(BrokerError) as caught:
            collector.run()
    assert caught.value.kind == collector.health.error_kind == kind


def test_its_connections_are_told_and_kept(tmp_path: Path, home: Path, database: "Database") -> None:
    from sensor_platform.embedded.status import status
    from sensor_platform.health.connections import listed

    def events() -> list[tuple[str, str | None]]:
        return [(row["event"], row["kind"]) for row in reversed(listed(database, limit=99))]

    with EmbeddedBroker(tmp_path / "own broker", free_port()) as own:
        settings = make_settings(own, home, "history").model_copy(update={"database_url": SecretStr(database.url)})
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

    with fake_broker(old_broker) as url:
        settings = make_settings(broker, home, "old", broker_url=url)
        with collecting(settings) as collector:
            wait_until(lambda: collector.health.connections == 1, "a connection")
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

    with fake_broker(broker_behind_a_proxy) as url:
        settings = make_settings(broker, home, "proxy", broker_url=url)
        with collecting(settings) as collector:
            wait_until(lambda: collector.health.connections == 1, "a connection")
    assert versions == ([5, 4, 5] if speaks_5 else [5, 4, 5, 4])
