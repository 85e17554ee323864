"""What would lose messages though nothing stands in the way: a setting, what the broker grants, a clock. Only told."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from sensor_platform.settings import MqttSettings
from sensor_platform.staging.clock import SET_FROM_US, ReceivedClock

#: A clock that is off by less is in order: a reading may lead its reception by five times as much.
CLOCK_OFF_S = 60.0


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


def of_clock(clock: ReceivedClock, *, database_off_s: float) -> Finding | None:
    """A wall clock that is wrong, or was. `database_off_s`: by how much it leads the database's."""
    off_s = (clock.next_us - clock.wall_us) / 1e6
    if clock.wall_us < SET_FROM_US:
        return Finding(
            "clock_never_set",
            "This machine's clock is before 2001: it was never set, and readings are refused as dead letters of stage "
            "`time`. Set it, best by NTP; the collector then believes it.",
        )
    if abs(database_off_s) >= CLOCK_OFF_S:
        return Finding(
            "clock_differs",
            f"This machine's clock is {_off(database_off_s)} the database's. Set both right, best by NTP.",
        )
    if off_s >= CLOCK_OFF_S:
        return Finding(
            "received_times_ahead",
            f"Messages are stamped as received {_off(off_s)} this machine's clock, which is or was wrong: received "
            "times never go back. Nothing is lost, but readings without a time of their own get that one. To begin "
            "anew stop the collector, move `state` out of its folder below `_open` in the staging area, and start it.",
        )
    if off_s <= -CLOCK_OFF_S:
        return Finding(
            "received_times_behind",
            f"Messages are stamped as received {_off(off_s)} this machine's clock, which was set while collecting. "
            "If it is right now, restart the collector: readings with a right time are refused as of the future.",
        )
    return None


def _off(seconds: float) -> str:
    """Such as "3:00:00 ahead of"."""
    return f"{timedelta(seconds=round(abs(seconds)))} {'ahead of' if seconds > 0 else 'behind'}"
