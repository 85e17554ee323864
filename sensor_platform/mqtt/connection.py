"""How we reach a broker: address, TLS, credentials, protocol version; and why it says no, told apart.

Shared by the collector and the publisher. Nothing here runs a loop or a thread.
"""

import ssl
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeVar
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, error_string
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sensor_platform.errors import (
    BrokerBusyError,
    BrokerError,
    BrokerUnreachableError,
    ClientIdTakenError,
    ConfigurationError,
    CredentialsRefusedError,
)
from sensor_platform.mqtt.tls import tls_context, tls_error
from sensor_platform.settings import MqttSettings

DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


class Protocol(StrEnum):
    """The MQTT version of one connection."""

    V5 = "5"
    V311 = "3.1.1"


class UnsupportedProtocolError(BrokerError):
    """The broker does not speak this version of MQTT."""

    kind = "protocol_refused"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the broker listens, and how. `str()` never shows credentials."""

    host: str
    port: int
    transport: Literal["tcp", "websockets"]
    tls: bool
    path: str
    username: str | None = None
    password: str | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def endpoint(settings: MqttSettings) -> Endpoint:
    """The endpoint of the settings. User name and password of the settings win over those in the URL."""
    if settings.broker_url is None:
        raise ConfigurationError(
            "MQTT_BROKER_URL is not set and no platform runs in this home. "
            "Start one with `sensor-platform up`, or name a broker."
        )
    url = urlsplit(settings.broker_url)
    password = settings.password.get_secret_value() if settings.password else None
    return Endpoint(
        host=url.hostname or "localhost",
        port=url.port or DEFAULT_PORTS[url.scheme],
        transport="websockets" if url.scheme in ("ws", "wss") else "tcp",
        tls=settings.tls_enabled or url.scheme in ("mqtts", "wss"),
        path=url.path or "/mqtt",
        username=settings.username or (unquote(url.username) if url.username else None),
        password=password or (unquote(url.password) if url.password else None),
    )


C = TypeVar("C", bound=Client)


def new_client(
    settings: MqttSettings, *, client_id: str, protocol: Protocol, kind: type[C], persistent: bool = False
) -> C:
    """A client that is not connected yet. `persistent`: the broker keeps the session between connections."""
    to = endpoint(settings)
    is_5 = protocol is Protocol.V5
    client = kind(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=None if is_5 else not persistent,
        protocol=MQTTProtocolVersion.MQTTv5 if is_5 else MQTTProtocolVersion.MQTTv311,
        transport=to.transport,
        reconnect_on_failure=False,  # who connects again, and when, is decided in one place: not in paho
    )
    client.connect_timeout = settings.connect_timeout_s
    if to.username is not None:
        client.username_pw_set(to.username, to.password)
    if to.tls:
        client.tls_set_context(tls_context(settings))
    if to.transport == "websockets":
        client.ws_set_options(path=to.path)
    return client


def connect(
    client: Client, settings: MqttSettings, *, session_expiry_s: int | None = None, receive_maximum: int | None = None
) -> None:
    """Opens the connection and sends CONNECT; the CONNACK comes later. On MQTT 5 a session expiry asks for a session.

    Raises:
        BrokerUnreachableError, TlsRefusedError: by what stood in the way.
    """
    to = endpoint(settings)
    try:
        if client.protocol == MQTTProtocolVersion.MQTTv5:
            properties = _connect_properties(session_expiry_s, receive_maximum)
            clean = session_expiry_s is None  # paho's default would delete the session at each start
            client.connect(to.host, to.port, settings.keep_alive_s, clean_start=clean, properties=properties)
        else:
            client.connect(to.host, to.port, settings.keep_alive_s)
    except (OSError, ValueError) as err:  # ValueError: paho's WebSocket handshake
        raise connection_error(err, to) from err


def _connect_properties(session_expiry_s: int | None, receive_maximum: int | None) -> Properties:
    # Neither Topic Alias Maximum (paho would hand out empty topics) nor Maximum Packet Size: a broker discards in
    # silence what exceeds it [MQTT-3.1.2-25].
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    if session_expiry_s is not None:
        properties.SessionExpiryInterval = session_expiry_s
    if receive_maximum is not None:
        properties.ReceiveMaximum = receive_maximum
    return properties


def connection_error(err: Exception, to: Endpoint) -> BrokerError:
    """The error class of what a socket raised."""
    if isinstance(err, ssl.SSLError):
        return tls_error(err, str(to))
    why = getattr(err, "strerror", None) or str(err) or type(err).__name__
    if isinstance(err, ValueError):
        return BrokerUnreachableError(f"broker {to}: {why}. Is {to.path} the path of its WebSocket listener?")
    return BrokerUnreachableError(f"broker {to}: no connection: {why}. Is it running, and is MQTT_BROKER_URL right?")


#: Server busy, Receive Maximum exceeded, message rate too high, quota exceeded, connection rate exceeded.
BUSY = frozenset({137, 147, 150, 151, 159})
#: Reason codes of CONNACK and DISCONNECT [MQTT 5, 3.2.2.2, 3.14.2.1]; paho gives those of 3.1.1 the same numbers.
_REFUSALS: tuple[tuple[frozenset[int], type[BrokerError], str], ...] = (
    (frozenset({132}), UnsupportedProtocolError, "it does not speak this version of MQTT. Set MQTT_PROTOCOL=auto."),
    # Bad user name or password, not authorised, banned, bad authentication method.
    (
        frozenset({134, 135, 138, 140}),
        CredentialsRefusedError,
        "refused us: {reason}. Check MQTT_USERNAME, MQTT_PASSWORD and the broker's permissions.",
    ),
    (
        frozenset({142}),
        ClientIdTakenError,
        "another client connected with our client id. Give each collector its own MQTT_CLIENT_ID.",
    ),
    (BUSY, BrokerBusyError, "takes no more for now: {reason}. Check its limits and quotas."),
    # Server unavailable, shutting down, keep-alive time-out.
    (frozenset({136, 139, 141}), BrokerUnreachableError, "ended the connection: {reason}."),
    (frozenset({133}), BrokerError, "refuses our client id. Set MQTT_CLIENT_ID to one that it allows."),
)


def refused(reason: ReasonCode, to: Endpoint) -> BrokerError:
    """The error class of a CONNACK or DISCONNECT that says no."""
    known = (entry for entry in _REFUSALS if reason.value in entry[0])
    _, kind, text = next(known, ((), BrokerError, "ended the connection: {reason}."))
    return kind(f"broker {to}: {text.format(reason=reason)}")


def lost(code: MQTTErrorCode, to: Endpoint) -> BrokerError:
    """The error of a connection that ended without a word."""
    return BrokerUnreachableError(f"broker {to}: connection lost: {error_string(code)}")
