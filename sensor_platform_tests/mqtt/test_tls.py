"""TLS and authentication against a real broker: each thing that can be wrong gives its own clear error.

Each case is asked twice: the collector in this process for the class, and `collect --once-connected-or-fail` as a
process of its own for exit code and sentence.
"""

import os
import socket
import ssl
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sensor_platform.errors import (
    TROUBLES,
    BrokerError,
    CredentialsRefusedError,
    SubscriptionRefusedError,
    TlsRefusedError,
)
from sensor_platform.mqtt.collector import Collector
from sensor_platform.mqtt.publisher import Publisher
from sensor_platform.settings import Settings
from sensor_platform_tests.mqtt.collecting import collecting, make_settings, originals, publish, publisher
from sensor_platform_tests.mqtt.publisher_proxy import Proxy
from sensor_platform_tests.mqtt.secured import ALLOWED, Restricted, Secured, restricted, secured
from sensor_platform_tests.waiting import wait_until


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured(tmp_path_factory.mktemp("secured")) as found:
        yield found


@pytest.fixture(scope="module")
def strict_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restricted]:
    with restricted(tmp_path_factory.mktemp("restricted")) as found:
        yield found


@dataclass(frozen=True)
class Case:
    """What is set wrong, and what is said. Values name attributes of the broker, unless they begin with "="."""

    url: str
    error: type[BrokerError]
    said: str
    reason: str | None = None
    settings: dict[str, str] = field(default_factory=dict)

    def make(self, broker: Secured, home: Path, root: str) -> Settings:
        own = {
            name: (SecretStr(value[1:]) if name == "password" else value[1:])
            if value.startswith("=")
            else getattr(broker, value)
            for name, value in {"tls_ca": "ca", **self.settings}.items()
        }
        return make_settings(broker, home, root, broker_url=getattr(broker, self.url), **own)


CASES = {
    "expired": Case("expired", TlsRefusedError, "its certificate has expired", "expired"),
    "wrong host": Case("elsewhere", TlsRefusedError, "its certificate is for another host name", "wrong_host"),
    "unknown CA": Case(
        "good",
        TlsRefusedError,
        "nobody whom we trust vouches for its certificate",
        "unknown_ca",
        {"tls_ca": "other_ca"},
    ),
    "no client certificate": Case(
        "wants_certificate", TlsRefusedError, "it asks for a client certificate", "client_certificate_required"
    ),
    "client certificate of another CA": Case(
        "wants_certificate",
        TlsRefusedError,
        "it refuses our client certificate",
        "client_certificate_refused",
        {"tls_cert": "client_of_other_ca", "tls_key": "client_of_other_ca"},
    ),
    "wrong password": Case(
        "good", CredentialsRefusedError, "refused us: Not authorized. Check MQTT_USERNAME", None, {"password": "=wrong"}
    ),
    "wrong password over wss": Case(
        "good_wss", CredentialsRefusedError, "refused us: Not authorized", None, {"password": "=wrong"}
    ),
    "unknown CA over wss": Case(
        "good_wss", TlsRefusedError, "nobody whom we trust", "unknown_ca", {"tls_ca": "other_ca"}
    ),
    "no client certificate over wss": Case(
        "wants_certificate_wss", TlsRefusedError, "client certificate", "client_certificate_required"
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_gives_its_own_error_and_exit_code(broker: Secured, home: Path, name: str) -> None:
    case = CASES[name]
    settings = case.make(broker, home, "wrong")
    with Collector(settings, once_connected_or_fail=True) as collector, pytest.raises(case.error) as caught:
        collector.run()
    assert case.said in str(caught.value)
    assert (collector.health.error, collector.health.error_kind) == (str(caught.value), case.error.kind)
    assert getattr(caught.value, "reason", None) == case.reason
    code, words = run_collect(settings)
    assert (code, case.said in words) == (TROUBLES[case.error.kind][0], True), words


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("way", ["good", "good_wss", "wants_certificate"])
def test_with_the_right_certificates_and_password_messages_flow(
    broker: Secured, home: Path, way: str, protocol: str
) -> None:
    root = f"right-{way}-{protocol}"
    certificate = {"tls_cert": broker.client_certificate, "tls_key": broker.client_certificate}
    own = certificate if way == "wants_certificate" else {}
    url = getattr(broker, way)
    settings = make_settings(broker, home, root, broker_url=url, protocol=protocol, tls_ca=broker.ca, **own)
    with collecting(settings), publisher(broker) as client:
        wait_until(lambda: granted(home), "granted filters")
        publish(client, [(f"{root}/a/b", b"%d" % n) for n in range(200)])
        wait_until(lambda: len(originals(settings)) == 200, "all messages")


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_refused_subscription_is_an_error_not_silence(strict_broker: Restricted, home: Path, protocol: str) -> None:
    settings = make_settings(strict_broker, home, "forbidden", protocol=protocol, tls_ca=strict_broker.ca)
    with (
        Collector(settings, once_connected_or_fail=True) as collector,
        pytest.raises(SubscriptionRefusedError) as caught,
    ):
        collector.run()
    assert "refused to let us subscribe to forbidden/+/+" in str(caught.value)
    assert collector.health.error_kind == "subscription_refused"
    if protocol == "5":
        code, words = run_collect(settings)
        assert (code, "subscription_refused: broker localhost" in words) == (83, True), words


def test_a_granted_filter_is_no_error(strict_broker: Restricted, home: Path) -> None:
    settings = make_settings(strict_broker, home, ALLOWED.removesuffix("/#"), tls_ca=strict_broker.ca)
    with collecting(settings, once_connected_or_fail=True) as collector, publisher(strict_broker) as client:
        wait_until(lambda: granted(home), "granted filters")
        publish(client, [("allowed/a/b", b"1")])
        wait_until(lambda: originals(settings) == [b"1"], "the message")
        assert collector.health.error is None


def test_once_connected_it_tries_again_whatever_comes(broker: Secured, home: Path) -> None:
    settings = make_settings(broker, home, "once", tls_ca=broker.ca)
    with collecting(settings, once_connected_or_fail=True) as collector:
        wait_until(lambda: granted(home), "granted filters")
        with publisher(broker) as client:
            for number in (1, 2):  # it knows that it is subscribed when the second one is staged
                publish(client, [("once/a/b", b"")])
                wait_until(lambda number=number: collector.health.messages == number, "a message")  # type: ignore[misc]
        with publisher(broker, client_id=str(settings.mqtt.client_id)):  # takes the session over
            wait_until(lambda: collector.health.connections > 1, "the loss, and another connection")
        wait_until(lambda: collector.health.connected and collector.health.error is None, "a connection that lasts")


def test_a_host_name_may_go_unchecked_when_a_setting_says_so_loudly(broker: Secured, home: Path) -> None:
    settings = make_settings(
        broker, home, "unchecked", broker_url=broker.elsewhere, tls_ca=broker.ca, tls_check_hostname=False
    )
    with collecting(settings) as collector:
        wait_until(lambda: collector.health.connected, "a connection")
        assert [finding.kind for finding in collector.health.warnings] == ["hostname_unchecked"]
    stranger = make_settings(
        broker, home, "unchecked", broker_url=broker.elsewhere, tls_ca=broker.other_ca, tls_check_hostname=False
    )
    with Collector(stranger, once_connected_or_fail=True) as collector, pytest.raises(TlsRefusedError, match="vouches"):
        collector.run()


@pytest.mark.parametrize(
    ("serve", "said", "reason"),
    [("old", "speaks no version of TLS that is safe", "version"), ("plain", "does not speak TLS", "not_tls")],
)
def test_old_and_missing_tls_are_told_apart(broker: Secured, home: Path, serve: str, said: str, reason: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # which is why we refuse it
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.load_cert_chain(broker.client_certificate)

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            if serve == "plain":
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(connection, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"mqtts://localhost:{listener.getsockname()[1]}"
        settings = make_settings(broker, home, "old-tls", broker_url=url, tls_ca=broker.ca)
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        with Collector(settings, once_connected_or_fail=True) as collector, pytest.raises(TlsRefusedError) as caught:
            collector.run()
        thread.join(timeout=10)
    assert said in str(caught.value)
    assert caught.value.reason == reason


@pytest.mark.parametrize("name", ["expired", "wrong password"])
def test_a_publisher_is_told_the_same(broker: Secured, home: Path, name: str) -> None:
    case = CASES[name]
    with pytest.raises(case.error) as caught, Publisher(case.make(broker, home, "publish")):
        pass
    assert case.said in str(caught.value)


def test_a_file_that_is_being_replaced_at_a_reconnect_is_waited_for(broker: Secured, home: Path) -> None:
    ca = home / "ca.pem"
    ca.write_bytes(broker.ca.read_bytes())
    with Proxy(("127.0.0.1", int(broker.good.rpartition(":")[2]))) as link:
        url = link.url.replace("mqtt://127.0.0.1", "mqtts://localhost")
        with collecting(make_settings(broker, home, "replaced", broker_url=url, tls_ca=ca)) as collector:
            wait_until(lambda: collector.health.connected, "a connection")
            ca.write_bytes(b"half of")
            link.cut()
            wait_until(lambda: f"MQTT_TLS_CA={ca}" in (collector.health.error or ""), "the reason")
            ca.write_bytes(broker.ca.read_bytes())
            wait_until(lambda: collector.health.connections == 2, "a connection again")
            wait_until(lambda: collector.health.error is None, "the end of the trouble")


def granted(home: Path) -> bool:
    return next(home.glob("staging/_open/c0/subscriptions"), None) is not None


def run_collect(settings: Settings) -> tuple[int, str]:
    """`collect --once-connected-or-fail`: its exit code and what it wrote to stderr."""
    mqtt = settings.mqtt
    assert mqtt.password is not None
    environ: dict[str, Any] = {
        "MQTT_BROKER_URL": mqtt.broker_url,
        "MQTT_USERNAME": mqtt.username,
        "MQTT_PASSWORD": mqtt.password.get_secret_value(),
        "MQTT_CLIENT_ID": mqtt.client_id,
        "MQTT_TLS_CA": mqtt.tls_ca,
        "MQTT_TLS_CERT": mqtt.tls_cert,
        "MQTT_TLS_KEY": mqtt.tls_key,
        "SENSOR_PLATFORM_HOME": settings.home,
        "SENSOR_PLATFORM_ROUTES": settings.routes_file,
    }
    done = subprocess.run(
        [sys.executable, "-m", "sensor_platform.cli", "collect", "--once-connected-or-fail"],
        env={**os.environ, **{name: str(value) for name, value in environ.items() if value}},
        cwd=settings.home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr
