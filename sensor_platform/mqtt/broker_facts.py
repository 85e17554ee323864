"""What a broker grants and shows of itself, and what of that would lose messages. Plain functions on plain values.

A CONNACK of MQTT 5 says what is granted; 3.1.1 says nothing. `$SYS` shows mosquitto's counters. Queue limits,
persistence and autosave are shown by neither: deploy/mosquitto.conf sets them; a session that is gone tells of them.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from paho.mqtt.properties import Properties

from sensor_platform.mqtt.findings import Finding
from sensor_platform.settings import MqttSettings

#: Property of a CONNACK -> our name [MQTT 5, 3.2.2.3].
_GRANTED = {
    "SessionExpiryInterval": "session_expiry_s",
    "ReceiveMaximum": "receive_maximum",
    "MaximumQoS": "maximum_qos",
    "RetainAvailable": "retain_available",
    "MaximumPacketSize": "maximum_packet_bytes",
    "WildcardSubscriptionAvailable": "wildcards_available",
    "SharedSubscriptionAvailable": "shared_subscriptions_available",
    "ServerKeepAlive": "keep_alive_s",
}
VERSION = "$SYS/broker/version"
DROPPED = "$SYS/broker/publish/messages/dropped"
#: Topics that are asked for -> our name.
SYS_TOPICS = {
    VERSION: "version",
    "$SYS/broker/uptime": "uptime",
    DROPPED: "messages_dropped",
    "$SYS/broker/store/messages/count": "messages_stored",
    "$SYS/broker/clients/expired": "clients_expired",
}


def granted(properties: Properties | None) -> dict[str, int]:
    """What the CONNACK says; what it does not say is as asked for."""
    return {name: getattr(properties, key) for key, name in _GRANTED.items() if hasattr(properties, key)}


def of_connack(found: Mapping[str, int], settings: MqttSettings, filters: Iterable[str]) -> Iterator[Finding]:
    """What the broker does not grant, and what is lost by that."""
    names = tuple(filters)
    expiry_s = found.get("session_expiry_s", settings.session_expiry_s)
    if not settings.clean_session and expiry_s < settings.session_expiry_s:
        yield Finding(
            "session_expires_early",
            f"the broker keeps our session for {expiry_s} s, not {settings.session_expiry_s}: what waits there longer "
            "is lost. Raise its limit (mosquitto: persistent_client_expiration).",
        )
    if found.get("maximum_qos", 2) == 0:
        yield Finding(
            "no_qos_1", "the broker delivers at QoS 0 only: nothing is acknowledged or sent again. Use another broker."
        )
    if 0 < found.get("maximum_packet_bytes", 0) < settings.max_payload_bytes:
        yield Finding(
            "packets_limited",
            f"the broker takes packets of {found['maximum_packet_bytes']} bytes at most: machines cannot publish "
            f"larger ones, though MQTT_MAX_PAYLOAD_BYTES={settings.max_payload_bytes}. Raise its limit (mosquitto: "
            "message_size_limit, max_packet_size).",
        )
    if not found.get("wildcards_available", 1) and any(set("+#") & set(name) for name in names):
        yield Finding("no_wildcards", "the broker has no wildcard subscriptions: routes must name whole topics there.")
    if not found.get("shared_subscriptions_available", 1) and any(name.startswith("$share/") for name in names):
        yield Finding("no_shared_subscriptions", "the broker has no shared subscriptions: run one collector there.")


def session_lost() -> Finding:
    """The broker knows nothing of a session that it had granted."""
    return Finding(
        "session_lost",
        "the broker had forgotten our session at the last CONNECT: what waited there is lost. It restarted without "
        "persistence, or the session expired. See deploy/mosquitto.conf: persistence, autosave_interval.",
    )


class SysFindings:
    """What the counters of `$SYS` say, over the life of this process."""

    def __init__(self) -> None:
        self._first_dropped: int | None = None
        self._dropped = 0

    def take(self, found: Mapping[str, Any]) -> Iterator[Finding]:
        """`found`: values by the names of SYS_TOPICS."""
        if "amqtt" in str(found.get("version", "")).lower():
            yield Finding(
                "demo_broker", "the broker is amqtt: for a demo only, it keeps nothing over a restart. Use mosquitto."
            )
        dropped = found.get("messages_dropped")
        if isinstance(dropped, int):
            if self._first_dropped is None or dropped < self._first_dropped:  # smaller: the broker has restarted
                self._first_dropped = dropped
            self._dropped = max(self._dropped, dropped - self._first_dropped)
        if self._dropped:
            yield Finding(
                "broker_drops",
                f"the broker has dropped {self._dropped} messages since this collector started, for us or another "
                "client: a queue limit. See deploy/mosquitto.conf: max_queued_messages, max_queued_bytes.",
            )
