"""Every setting, one tree, parsed once at the edge and passed on.

The alias of a field is its environment variable; `NAME_FILE` names a file that holds the value, for secrets. The order
is environment, then the `.env` file of the working folder, then the default. Plain pydantic models rather than
pydantic-settings: the tree is built from one merged mapping, so a test or a script builds it without an environment.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from sensor_platform.errors import ConfigurationError

BROKER_SCHEMES = ("mqtt", "mqtts", "ws", "wss")


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


def _database_url(value: SecretStr | None) -> SecretStr | None:
    if value is not None and urlsplit(value.get_secret_value()).scheme not in ("postgresql", "postgres"):
        raise ValueError("accepted: postgresql://user:password@host:port/database")
    return value


def _staging_url(value: str | None) -> str | None:
    if value is None:
        return None
    parts = urlsplit(value)
    local = parts.scheme == "file" and not parts.netloc and parts.path
    bucket = parts.scheme == "s3" and parts.hostname and not parts.query and "@" not in parts.netloc
    if not local and not bucket:
        raise ValueError("accepted: file:///absolute/path, or s3://bucket/prefix")
    return value


def _share_group(value: str | None) -> str | None:
    if value is not None and (not 0 < len(value.encode()) <= 200 or set(value) & set("/+#\0")):
        raise ValueError("accepted: 1 to 200 bytes without /, + and #")
    return value


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="forbid")


class MqttSettings(_Section):
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


class HealthSettings(_Section):
    """Thresholds of the alert rules; 0 switches a rule off."""

    message_rate: float = Field(
        1000, alias="MQTT_THRESHOLD_MESSAGE_RATE", ge=0, description="messages/s; the alert fires above it"
    )
    error_rate_percent: float = Field(
        5,
        alias="MQTT_THRESHOLD_ERROR_RATE",
        ge=0,
        le=100,
        description="messages dead-lettered or partial / staged over five minutes, in percent; fires above it",
    )
    dead_letter_backlog: int = Field(
        10_000, alias="DEAD_LETTER_THRESHOLD_BACKLOG", ge=0, description="pending dead letters; fires above it"
    )
    collector_down_s: float = Field(
        30, alias="COLLECTOR_THRESHOLD_DOWN", ge=0, description="seconds without a heartbeat, or without a connection"
    )
    cannot_stage_s: float = Field(
        2, alias="STAGING_THRESHOLD_REFUSED", ge=0, description="seconds for which the disk refuses messages"
    )
    upload_backlog_s: float = Field(
        300, alias="STAGING_THRESHOLD_UPLOAD", ge=0, description="seconds a sealed micro-batch waits for its upload"
    )
    sparkplug_gaps: int = Field(
        1,
        alias="SPARKPLUG_THRESHOLD_GAPS",
        ge=0,
        description="how often messages of Sparkplug nodes are missing within an hour; fires above it",
    )
    clock_skew_s: float = Field(
        60,
        alias="SENSOR_THRESHOLD_CLOCK_SKEW",
        ge=0,
        description="seconds that the clock of a sensor is ahead or behind; fires above it",
    )


class DeadLetterSettings(_Section):
    """How often a dead letter is tried again."""

    max_attempts: int = Field(5, alias="DEAD_LETTER_MAX_ATTEMPTS", ge=1, description="then it is exhausted")
    first_backoff_s: float = Field(60, alias="DEAD_LETTER_BACKOFF", gt=0, description="seconds; doubles each time")
    rebirth_interval_s: float = Field(
        300,
        alias="DEAD_LETTER_REBIRTH_INTERVAL",
        ge=0,
        description="seconds after which a Sparkplug node is asked for its births again; 0: never asked",
    )


def _letter_states(value: str) -> str:
    if not value or set(value.split(",")) - {"resolved", "discarded", "exhausted", "pending"}:
        raise ValueError("accepted: some of resolved, discarded, exhausted, pending, with commas between them")
    return value


class RetentionSettings(_Section):
    """How long what was made of the messages is kept, in days; 0 keeps everything."""

    raw_days: float = Field(
        0,
        alias="METRIC_RETENTION_DAYS",
        ge=0,
        description="readings, and their duplicates, are deleted so long after their event time, by month; 0: never",
    )
    minute_days: float = Field(
        0, alias="METRICS_MINUTE_RETENTION_DAYS", ge=0, description="the same of rollups a minute, by the day; 0: never"
    )
    hour_days: float = Field(
        0, alias="METRICS_HOURLY_RETENTION_DAYS", ge=0, description="the same of rollups an hour; 0: never"
    )
    day_days: float = Field(
        0, alias="METRICS_DAILY_RETENTION_DAYS", ge=0, description="the same of rollups a day; 0: never"
    )

    @property
    def by_level(self) -> dict[str, float]:
        """Days of raw readings and of each rollup."""
        return {"raw": self.raw_days, "minute": self.minute_days, "hour": self.hour_days, "day": self.day_days}

    dead_letter_days: float = Field(
        0,
        alias="DEAD_LETTER_RETENTION_DAYS",
        ge=0,
        description="dead letters lose their bytes so long after they were closed; 0: never",
    )
    dead_letter_states: Annotated[str, AfterValidator(_letter_states)] = Field(
        "resolved,discarded",
        alias="DEAD_LETTER_RETENTION_STATES",
        description="of which states; open ones (exhausted, pending) are discarded first, so long after they were made",
    )


class TransformerSettings(_Section):
    """Formats of your own: where they may come from, and what they may use."""

    folder: Path | None = Field(
        None,
        alias="SENSOR_PLATFORM_TRANSFORMERS",
        description="folder whose *.py files bring formats; only you or root may write it; empty: none",
    )
    timeout_s: float = Field(
        10, alias="TRANSFORMER_TIMEOUT_S", gt=0, description="seconds that a call of a custom transformer may take"
    )
    memory_bytes: int = Field(
        1_073_741_824,
        alias="TRANSFORMER_MEMORY_BYTES",
        ge=16_777_216,
        description="bytes that custom transformers may use beyond what their process starts with",
    )


class ApiSettings(_Section):
    """Ports of what people open in a browser, and the channels of the live stream."""

    host: Literal["127.0.0.1"] = Field("127.0.0.1", alias="API_HOST", description="loopback only")
    port: int = Field(8080, alias="API_PORT", ge=1, le=65535, description="next free port when taken")
    dagster_port: int = Field(3000, alias="DAGSTER_PORT", ge=1, le=65535, description="next free port when taken")
    broker_port: int = Field(1883, alias="BROKER_PORT", ge=1, le=65535, description="next free port when taken")
    live_channels: str = Field(
        "{work_unit}/{sensor}",
        alias="LIVE_CHANNELS",
        description="live channel of a topic: comma-separated FILTER=CHANNEL pairs, or one template for every route",
    )


class Settings(_Section):
    """The whole tree. Build it with `load_settings()`, or by hand: `Settings(mqtt=MqttSettings(broker_url=...))`."""

    environment: Literal["development", "test", "production"] = Field(
        "development", alias="SENSOR_PLATFORM_ENV", description="development, test, production"
    )
    home: Path = Field(
        Path(".sensor-platform"), alias="SENSOR_PLATFORM_HOME", description="where embedded parts keep their data"
    )
    routes_file: Path | None = Field(
        None,
        alias="SENSOR_PLATFORM_ROUTES",
        description="route file; empty: routes.yaml in the working folder, otherwise the packaged default",
    )
    database_url: Annotated[SecretStr | None, AfterValidator(_database_url)] = Field(
        None, alias="DATABASE_URL", description="postgresql://...; empty: the embedded PostgreSQL"
    )
    staging_url: Annotated[str | None, AfterValidator(_staging_url)] = Field(
        None, alias="STAGING_URL", description="file:///... or s3://bucket/prefix; empty: under the home folder"
    )
    staging_retention_days: float = Field(
        0, alias="STAGING_RETENTION_DAYS", ge=0, description="processed micro-batches are deleted after this; 0: never"
    )
    staging_compaction_hours: float = Field(
        24,
        alias="STAGING_COMPACTION_HOURS",
        ge=0,
        description="micro-batches of hours that ended so long ago are compacted once processed; 0: never",
    )
    run_stays_s: float = Field(
        60,
        alias="READINGS_RUN_STAYS_S",
        ge=0,
        description="a run of new micro-batches stays for those that come meanwhile; 0: each takes what is there",
    )
    dagster_history_days: float = Field(
        2,
        alias="DAGSTER_HISTORY_DAYS",
        ge=0,
        description="runs, events and check evaluations of Dagster are deleted after this, failed runs after ten times "
        "that; 0: never",
    )
    mqtt: MqttSettings = Field(default_factory=MqttSettings)
    health: HealthSettings = Field(default_factory=HealthSettings)
    dead_letters: DeadLetterSettings = Field(default_factory=DeadLetterSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    transformers: TransformerSettings = Field(default_factory=TransformerSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)

    @model_validator(mode="after")
    def _absolute_home(self) -> "Settings":
        # Children of `up` run elsewhere: the home must mean the same folder there.
        object.__setattr__(self, "home", self.home.expanduser().absolute())
        return self


SECTIONS: dict[str, type[_Section]] = {
    "mqtt": MqttSettings,
    "health": HealthSettings,
    "dead_letters": DeadLetterSettings,
    "retention": RetentionSettings,
    "transformers": TransformerSettings,
    "api": ApiSettings,
}


def load_settings(environ: Mapping[str, str] | None = None, *, env_file: Path | None = Path(".env")) -> Settings:
    """Settings from the environment and an optional `.env` file.

    Raises:
        ConfigurationError: one line that names the setting, its value (never a secret) and what is accepted.
    """
    values = _merged(os.environ if environ is None else environ, env_file)
    tree: dict[str, Any] = {name: _section(cls, values) for name, cls in SECTIONS.items()}
    return Settings(**_checked(Settings, {**_known(Settings, values), **tree}))


def _merged(environ: Mapping[str, str], env_file: Path | None) -> dict[str, str]:
    from dotenv import dotenv_values

    sections: list[type[_Section]] = [Settings, *SECTIONS.values()]
    from_file = dotenv_values(env_file) if env_file is not None and env_file.is_file() else {}
    merged = {name: value for name, value in {**from_file, **environ}.items() if value}
    for cls in sections:
        for field in cls.model_fields.values():
            name = field.alias
            if name is not None and f"{name}_FILE" in merged:
                merged[name] = _read_secret(f"{name}_FILE", merged[f"{name}_FILE"])
    return merged


def _read_secret(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as err:
        raise ConfigurationError(f"{name}={path}: cannot read the file: {err.strerror}") from err


def _known(cls: type[_Section], values: Mapping[str, str]) -> dict[str, Any]:
    return {f.alias: values[f.alias] for f in cls.model_fields.values() if f.alias is not None and f.alias in values}


def _section(cls: type[_Section], values: Mapping[str, str]) -> _Section:
    return cls(**_checked(cls, _known(cls, values)))


def _checked(cls: type[_Section], values: dict[str, Any]) -> dict[str, Any]:
    try:
        cls(**values)
    except ValidationError as err:
        first = err.errors()[0]
        name = str(first["loc"][0])
        field = next(f for f in cls.model_fields.values() if f.alias == name)
        secret = "Secret" in str(field.annotation)
        # A URL may carry a password.
        shown = "(not shown)" if secret or "@" in str(values.get(name)) else values.get(name)
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{name}={shown}: {reason} ({field.description})") from err
    return values
