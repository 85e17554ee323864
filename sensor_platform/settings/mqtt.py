"""The broker, the session and the micro-batches of the collector; the queue of what is published."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from sensor_platform.settings.section import Section

BROKER_SCHEMES = ("mqtt", "mqtts", "ws", "wss")
#: In place of a topic: nowhere.
OFF = "off"


def _broker_url(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        bad = parts.scheme not in BROKER_SCHEMES or not parts.hostname or (parts.port == 0)
    except ValueError:
        bad = True
    if bad:
        raise ValueError("accepted: mqtt://, mqtts://, ws:// or wss:// with a host and an optional port")
    return value


def _status_topic(value: str) -> str:
    if value == OFF:
        return value
    try:
        topic = value.format(collector="c", client_id="c")
    except (KeyError, IndexError, ValueError):
        topic = ""
    if not topic or topic.startswith("$") or set("+#\0") & set(topic):
        raise ValueError("accepted: a topic without wildcards that may name {collector} and {client_id}, or off")
    return value


def _share_group(value: str | None) -> str | None:
    if value is not None and (not 0 < len(value.encode()) <= 200 or set(value) & set("/+#\0")):
        raise ValueError("accepted: 1 to 200 bytes without /, + and #")
    return value


class MqttSettings(Section):
    """The broker, the session and the micro-batches of the collector."""

    broker_url: Annotated[str | None, AfterValidator(_broker_url)] = Field(
        None, alias="MQTT_BROKER_URL", description="mqtt://, mqtts://, ws://, wss://; empty: the embedded broker"
    )
    client_id: str | None = Field(
        None,
        alias="MQTT_CLIENT_ID",
        description="stable client id of the collector; empty: made once, kept in the home",
    )
    share_group: Annotated[str | None, AfterValidator(_share_group)] = Field(
        None,
        alias="MQTT_SHARE_GROUP",
        description="collectors of the same group split the messages; empty: this one takes them all",
    )
    collector_workers: int = Field(
        1,
        alias="COLLECTOR_WORKERS",
        ge=1,
        le=64,
        description="collectors that `up` starts; more than one share the load",
    )
    username: str | None = Field(None, alias="MQTT_USERNAME", description="user name at the broker")
    password: SecretStr | None = Field(None, alias="MQTT_PASSWORD", description="password at the broker")
    tls_enabled: bool = Field(False, alias="MQTT_TLS_ENABLED", description="TLS also where the URL does not say so")
    tls_ca: Path | None = Field(None, alias="MQTT_TLS_CA", description="CA file; empty: the system's store")
    tls_cert: Path | None = Field(None, alias="MQTT_TLS_CERT", description="client certificate")
    tls_key: Path | None = Field(None, alias="MQTT_TLS_KEY", description="key of the client certificate")
    tls_key_password: SecretStr | None = Field(
        None, alias="MQTT_TLS_KEY_PASSWORD", description="of an encrypted MQTT_TLS_KEY"
    )
    tls_check_hostname: bool = Field(
        True,
        alias="MQTT_TLS_CHECK_HOSTNAME",
        description="false: any certificate of a trusted CA is taken for the broker's, which is unsafe",
    )
    protocol: Literal["auto", "5", "3.1.1"] = Field(
        "auto", alias="MQTT_PROTOCOL", description="auto: MQTT 5, and 3.1.1 where the broker has no 5"
    )
    keep_alive_s: int = Field(30, alias="MQTT_KEEP_ALIVE", ge=5, le=65535, description="seconds")
    connect_timeout_s: float = Field(10, alias="MQTT_CONNECT_TIMEOUT", gt=0, description="seconds")
    session_expiry_s: int = Field(
        604800,
        alias="MQTT_SESSION_EXPIRY",
        ge=60,
        le=0xFFFFFFFF,
        description="seconds that the broker keeps the session",
    )
    clean_session: bool = Field(
        False,
        alias="MQTT_CLEAN_SESSION",
        description="true: the broker forgets the session at each disconnect, and what comes meanwhile is lost",
    )
    status_topic: Annotated[str, AfterValidator(_status_topic)] = Field(
        "sensor-platform/status/{client_id}",
        alias="MQTT_STATUS_TOPIC",
        description="where the collector says online and offline, retained; {collector} and {client_id}; off: nowhere",
    )
    broker_check_interval_s: float = Field(
        60, alias="MQTT_BROKER_CHECK_INTERVAL", ge=0, description="seconds between looks at the broker's $SYS; 0: never"
    )
    receive_maximum: int = Field(
        20000, alias="MQTT_RECEIVE_MAXIMUM", ge=1, le=65535, description="messages in flight that we allow the broker"
    )
    linger_ms: int = Field(
        5, alias="MQTT_LINGER", ge=0, le=1000, description="milliseconds a group waits for company before its fsync"
    )
    read_path: Literal["auto", "stock"] = Field(
        "auto",
        alias="MQTT_READ_PATH",
        description="auto: packets cut in place; stock: through paho-mqtt's public API alone, far slower",
    )
    buffer_max_size: int = Field(
        100_000, alias="MQTT_BUFFER_MAX_SIZE", ge=1, description="messages at which an open micro-batch is sealed"
    )
    buffer_flush_interval_ms: int = Field(
        2000, alias="MQTT_BUFFER_FLUSH_INTERVAL", ge=10, description="milliseconds after which a micro-batch is sealed"
    )
    max_payload_bytes: int = Field(
        4_194_304, alias="MQTT_MAX_PAYLOAD_BYTES", ge=1, description="a larger payload becomes a dead letter"
    )
    stop_timeout_s: float = Field(
        10,
        alias="MQTT_STOP_TIMEOUT",
        gt=0,
        description="seconds to drain in; then it ends all the same",
    )
    reconnect_min_s: float = Field(0.5, alias="MQTT_RECONNECT_MIN", gt=0, description="seconds, first backoff")
    reconnect_max_s: float = Field(30, alias="MQTT_RECONNECT_MAX", gt=0, description="seconds, cap of the backoff")
    outbox_max_messages: int = Field(
        100_000, alias="MQTT_OUTBOX_MAX_MESSAGES", ge=1, description="messages in the queue of `publish --queue`"
    )
    outbox_max_bytes: int = Field(
        268_435_456, alias="MQTT_OUTBOX_MAX_BYTES", ge=1, description="bytes in the queue of `publish --queue`"
    )
