"""A real mosquitto behind TLS and passwords, with certificates of every kind from a CA made for the test."""

import base64
import hashlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from sensor_platform.embedded.broker import find_mosquitto
from sensor_platform_tests.conftest import free_port, missing_tool
from sensor_platform_tests.waiting import wait_until

USERNAME, PASSWORD = "collector", "correct horse"
#: The only filters that `restricted` grants.
ALLOWED = "allowed/#"


@dataclass(frozen=True)
class Secured:
    """Addresses by what is wrong with them, and the files that a client needs."""

    good: str
    expired: str
    elsewhere: str
    wants_certificate: str
    good_wss: str
    wants_certificate_wss: str
    plain_port: int  # for publishers of the test; asks a password as well
    ca: Path
    other_ca: Path
    client_certificate: Path
    client_of_other_ca: Path
    username: str = USERNAME
    password: str = PASSWORD
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return self.good

    @property
    def port(self) -> int:
        return self.plain_port


@contextmanager
def secured(folder: Path) -> Iterator[Secured]:
    """One mosquitto with a listener for each case."""
    ca, other = trustme.CA(), trustme.CA()
    now = datetime.now(UTC)
    certificates = {
        "good": ca.issue_cert("localhost", "127.0.0.1"),
        "expired": ca.issue_cert("localhost", not_before=now - timedelta(days=9), not_after=now - timedelta(days=2)),
        "elsewhere": ca.issue_cert("elsewhere.example"),
    }
    files = {name: folder / f"{name}.pem" for name in certificates}
    for name, certificate in certificates.items():
        certificate.private_key_and_cert_chain_pem.write_to_path(str(files[name]))
    ca_file, other_ca, client, stranger = (folder / f"{name}.pem" for name in ("ca", "other-ca", "client", "stranger"))
    ca.cert_pem.write_to_path(str(ca_file))
    other.cert_pem.write_to_path(str(other_ca))
    ca.issue_cert("collector@plant.example").private_key_and_cert_chain_pem.write_to_path(str(client))
    other.issue_cert("collector@plant.example").private_key_and_cert_chain_pem.write_to_path(str(stranger))
    ports = {name: free_port() for name in ("good", "expired", "elsewhere", "wants", "wss", "wants_wss", "plain")}
    ask = ["require_certificate true", f"cafile {ca_file}"]
    lines = [
        f"listener {ports['plain']} 127.0.0.1",
        *_listener(ports["good"], files["good"]),
        *_listener(ports["expired"], files["expired"]),
        *_listener(ports["elsewhere"], files["elsewhere"]),
        *_listener(ports["wants"], files["good"]),
        *ask,
        *_listener(ports["wss"], files["good"]),
        "protocol websockets",
        *_listener(ports["wants_wss"], files["good"]),
        *ask,
        "protocol websockets",
        f"password_file {_password_file(folder)}",
    ]
    with mosquitto(folder, lines):
        yield Secured(
            good=f"mqtts://localhost:{ports['good']}",
            expired=f"mqtts://localhost:{ports['expired']}",
            elsewhere=f"mqtts://localhost:{ports['elsewhere']}",
            wants_certificate=f"mqtts://localhost:{ports['wants']}",
            good_wss=f"wss://localhost:{ports['wss']}/mqtt",
            wants_certificate_wss=f"wss://localhost:{ports['wants_wss']}/mqtt",
            plain_port=ports["plain"],
            ca=ca_file,
            other_ca=other_ca,
            client_certificate=client,
            client_of_other_ca=stranger,
        )


@dataclass(frozen=True)
class Restricted:
    """A broker that refuses subscriptions: an `acl_file` of mosquitto 2.0 grants them and delivers nothing instead."""

    url: str
    port: int
    ca: Path
    username: str = USERNAME
    password: str = PASSWORD
    host: str = "127.0.0.1"


@contextmanager
def restricted(folder: Path) -> Iterator[Restricted]:
    """Over TLS, with mosquitto's dynamic security plugin; only `ALLOWED` may be subscribed to."""
    plugins = sorted(Path("/usr/lib").rglob("mosquitto_dynamic_security.so"))
    if not plugins:
        missing_tool("mosquitto's dynamic security plugin is not installed")
    ca = trustme.CA()
    ca_file, certificate = folder / "ca.pem", folder / "good.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    rules = folder / "rules.json"
    rules.write_text(json.dumps(_rules()))
    tls, plain = free_port(), free_port()
    lines = [
        f"listener {plain} 127.0.0.1",
        *_listener(tls, certificate),
        f"plugin {plugins[0]}",
        f"plugin_opt_config_file {rules}",
    ]
    with mosquitto(folder, lines):
        yield Restricted(url=f"mqtts://localhost:{tls}", port=plain, ca=ca_file)


@contextmanager
def mosquitto(
    folder: Path, lines: list[str], *, anonymous: bool = False, persistence: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """A mosquitto with this configuration, until the end of the block."""
    program = find_mosquitto()
    if program is None:
        missing_tool("mosquitto is not installed")
    first = ["per_listener_settings false", "user root"]
    first += [] if persistence else ["persistence false"]
    first.append(f"allow_anonymous {str(anonymous).lower()}")
    (folder / "mosquitto.conf").write_text("\n".join([*first, *lines]) + "\n")
    log = folder / "mosquitto.log"
    with log.open("wb") as file:
        process = subprocess.Popen([program, "-c", folder / "mosquitto.conf"], stderr=file)
    try:
        wait_until(lambda: "running" in log.read_text(), "mosquitto")
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)


def _listener(port: int, certificate: Path) -> list[str]:
    return [f"listener {port} 127.0.0.1", f"certfile {certificate}", f"keyfile {certificate}"]


def _password_file(folder: Path) -> Path:
    salt = b"0123456789ab"
    digest = hashlib.pbkdf2_hmac("sha512", PASSWORD.encode(), salt, 101)
    path = folder / "passwords"
    path.write_text(f"{USERNAME}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n")
    path.chmod(0o600)
    return path


def _rules() -> dict[str, object]:
    salt = b"0123456789ab"
    digest = hashlib.pbkdf2_hmac("sha512", PASSWORD.encode(), salt, 101)
    everything = {"publishClientSend": True, "publishClientReceive": True, "subscribe": False, "unsubscribe": True}
    may = {"acltype": "subscribePattern", "topic": ALLOWED, "priority": 0, "allow": True}
    client = {
        "username": USERNAME,
        "password": base64.b64encode(digest).decode(),
        "salt": base64.b64encode(salt).decode(),
        "iterations": 101,
        "roles": [{"rolename": "collector"}],
    }
    return {
        "defaultACLAccess": everything,
        "clients": [client],
        "groups": [],
        "roles": [{"rolename": "collector", "acls": [may]}],
    }
