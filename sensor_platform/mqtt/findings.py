"""What would lose messages though nothing stands in the way: a setting, or what the broker grants. Told, no more."""

from collections.abc import Iterator
from dataclasses import dataclass

from sensor_platform.settings import MqttSettings


@dataclass(frozen=True, slots=True)
class Finding:
    """One warning: a stable word, and a sentence that says what would be lost and what to do."""

    kind: str
    detail: str


def of_settings(settings: MqttSettings) -> Iterator[Finding]:
    """Safeguards that somebody switched off."""
    if not settings.tls_check_hostname:
        yield Finding(
            "hostname_unchecked",
            "MQTT_TLS_CHECK_HOSTNAME=false: whoever has any certificate of a trusted CA can pass for the broker. "
            "Call the broker in MQTT_BROKER_URL what its certificate does, and remove the setting.",
        )
    if settings.clean_session:
        yield Finding(
            "clean_session",
            "MQTT_CLEAN_SESSION=true: what is published while the collector is away, or unacknowledged when a "
            "connection ends, is lost. Remove the setting.",
        )
