"""When alerts fire."""

from pydantic import Field

from sensor_platform.settings.section import Section


class HealthSettings(Section):
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
