"""TLS and WebSocket: the same messages by another way, and certificates that are refused."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sensor_platform.errors import TlsRefusedError
from sensor_platform.mqtt.collector import Collector
from sensor_platform_tests.conftest import free_port, missing_tool
from sensor_platform_tests.mqtt.collecting import collecting, make_settings, originals, publish, publisher
from sensor_platform_tests.waiting import wait_until


@dataclass(frozen=True)
class Listeners:
    """A mosquitto of our own that listens in three ways and lets anybody in."""

    url: str  # plain
    port: int
    tls_url: str
    ws_url: str
    certificate: Path
    host: str = "127.0.0.1"
    username: str = "anybody"
    password: str = "any"


@pytest.fixture(scope="module")
def listeners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listeners]:
    for tool in ("mosquitto", "openssl"):
        if shutil.which(tool) is None:
            missing_tool(f"{tool} is not installed")
    folder = tmp_path_factory.mktemp("listeners")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=elsewhere", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        [*command, "-keyout", key, "-out", certificate, "-days", "2", *subject], check=True, capture_output=True
    )
    key.chmod(0o644)  # mosquitto drops root before it reads it
    folder.chmod(0o755)
    plain, tls, ws = free_port(), free_port(), free_port()
    lines = [
        "per_listener_settings false",
        "allow_anonymous true",
        "persistence false",
        f"listener {plain} 127.0.0.1",
        f"listener {tls} 127.0.0.1",
        f"certfile {certificate}",
        f"keyfile {key}",
        f"listener {ws} 127.0.0.1",
        "protocol websockets",
        "user root",
    ]
    (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["mosquitto", "-c", folder / "mosquitto.conf"], stderr=log)
    try:
        wait_until(lambda: "mosquitto version" in (folder / "log").read_text() and _running(folder), "mosquitto")
        yield Listeners(
            url=f"mqtt://127.0.0.1:{plain}",
            port=plain,
            tls_url=f"mqtts://127.0.0.1:{tls}",
            ws_url=f"ws://127.0.0.1:{ws}/mqtt",
            certificate=certificate,
        )
    finally:
        process.terminate()
        process.wait(timeout=10)


def _running(folder: Path) -> bool:
    return "running" in (folder / "log").read_text()


@pytest.mark.parametrize("way", ["tls", "ws"])
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_the_same_messages_by_another_way(listeners: Listeners, home: Path, way: str, protocol: str) -> None:
    root = f"{way}-{protocol}"
    url = listeners.tls_url if way == "tls" else listeners.ws_url
    settings = make_settings(listeners, home, root, broker_url=url, protocol=protocol, tls_ca=listeners.certificate)
    large = 700_000 if way == "tls" else 30_000  # mosquitto sends some 40 kB/s over WebSocket
    sent = [b"%d" % n * (1 + n % 50) for n in range(800)] + [bytes(large)]
    with collecting(settings) as collector, publisher(listeners) as client:
        wait_until(lambda: collector.health.connected, "a connection")
        wait_until(lambda: next(home.glob("staging/_open/c0/subscriptions"), None) is not None, "granted filters")
        publish(client, [(f"{root}/a/b", payload) for payload in sent])
        wait_until(lambda: len(originals(settings)) == len(sent), "all messages")
    assert originals(settings) == sent


def test_a_certificate_that_nobody_vouches_for_is_refused(listeners: Listeners, home: Path) -> None:
    settings = make_settings(listeners, home, "strange", broker_url=listeners.tls_url)
    with (
        Collector(settings, once_connected_or_fail=True) as collector,
        pytest.raises(TlsRefusedError, match="MQTT_TLS_CA"),
    ):
        collector.run()


def test_a_certificate_of_another_host_is_refused(listeners: Listeners, home: Path) -> None:
    url = listeners.tls_url.replace("127.0.0.1", "localhost")
    settings = make_settings(listeners, home, "other-host", broker_url=url, tls_ca=listeners.certificate)
    with (
        Collector(settings, once_connected_or_fail=True) as collector,
        pytest.raises(TlsRefusedError, match="host name"),
    ):
        collector.run()
