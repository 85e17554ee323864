"""Listening on a broker for a while: a clean session at QoS 0 of its own, and a bounded sample of what arrives.

Runs in the thread that calls it. Nothing is acknowledged, kept or changed at the broker, whoever else is connected.
"""

import re
import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sensor_platform.errors import SensorPlatformError, SubscriptionRefusedError
from sensor_platform.mqtt.connection import (
    Protocol,
    UnsupportedProtocolError,
    connect,
    endpoint,
    lost,
    new_client,
    refused,
)
from sensor_platform.routes.filters import TopicFilter, parse_filter
from sensor_platform.settings import OFF, MqttSettings

LOOP_S = 0.2


@dataclass(frozen=True, slots=True)
class Limits:
    """messages: after so many it stops listening. The others: what is beyond them is counted, and not kept."""

    messages: int = 100_000
    topics: int = 5_000
    samples: int = 20
    bytes: int = 32 * 1024 * 1024
    payload_bytes: int = 256 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """One message of a topic."""

    payload: bytes
    received_at: datetime
    retain: bool


@dataclass(slots=True)
class HeardTopic:
    """What was heard on a topic: every message is counted, the first few are kept."""

    topic: str
    messages: int = 0
    samples: list[Sample] = field(default_factory=list)


@dataclass(slots=True)
class Heard:
    """Everything that was heard. `not_kept`: messages of which the bounds let nothing be seen."""

    topics: dict[str, HeardTopic] = field(default_factory=dict)
    messages: int = 0
    not_kept: int = 0
    bytes: int = 0

    def add(self, topic: str, sample: Sample, limits: Limits) -> None:
        """Counts the message, and keeps it as a sample while `limits` leave room."""
        self.messages += 1
        heard = self.topics.get(topic)
        size = len(sample.payload)
        fits = size <= limits.payload_bytes and self.bytes + size <= limits.bytes
        if not fits or (heard is None and len(self.topics) >= limits.topics):
            self.not_kept += 1
            return
        if heard is None:
            heard = self.topics[topic] = HeardTopic(topic)
        heard.messages += 1
        if len(heard.samples) < limits.samples:
            heard.samples.append(sample)
            self.bytes += size


def listen(
    settings: MqttSettings,
    filters: Sequence[str],
    *,
    for_s: float,
    limits: Limits | None = None,
    stop: threading.Event | None = None,
) -> Heard:
    """What arrives within `for_s` seconds, retained messages first; or until `stop`, or the limit of messages.

    Raises:
        BrokerError: by what stood in the way, told apart as everywhere.
    """
    protocols = [Protocol.V5, Protocol.V311] if settings.protocol == "auto" else [Protocol(settings.protocol)]
    for protocol in protocols:
        try:
            return _Session(settings, filters, limits or Limits(), stop or threading.Event()).run(protocol, for_s)
        except UnsupportedProtocolError:
            if protocol is protocols[-1]:
                raise
    raise AssertionError("there is at least one protocol")


class _Session:
    """One connection, to its end."""

    def __init__(self, settings: MqttSettings, filters: Sequence[str], limits: Limits, stop: threading.Event) -> None:
        self._settings = settings
        self._filters = filters
        self._limits = limits
        self._stop = stop
        self._heard = Heard()
        self._hidden = _own_topics(settings)
        self._error: SensorPlatformError | None = None
        self._until_s: float | None = None
        self._for_s = 0.0

    def run(self, protocol: Protocol, for_s: float) -> Heard:
        self._for_s = for_s
        client = new_client(
            self._settings,
            client_id=f"sensor-platform-discover-{secrets.token_hex(6)}",
            protocol=protocol,
            kind=Client,
        )
        client.on_connect, client.on_subscribe, client.on_message = self._connected, self._subscribed, self._message
        connect(client, self._settings)
        answer_by_s = time.monotonic() + self._settings.connect_timeout_s
        while self._error is None and not self._is_over(answer_by_s):
            code = client.loop(LOOP_S)
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS and self._error is None:
                raise lost(code, endpoint(self._settings))
        client.disconnect()
        if self._error is not None:
            raise self._error
        if self._until_s is None and not self._stop.is_set():
            raise SubscriptionRefusedError(f"broker {endpoint(self._settings)}: no answer to our subscription.")
        return self._heard

    def _is_over(self, answer_by_s: float) -> bool:
        until_s = answer_by_s if self._until_s is None else self._until_s
        full = self._heard.messages >= self._limits.messages
        return full or self._stop.is_set() or time.monotonic() >= until_s

    def _connected(
        self, client: Client, userdata: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._error = refused(reason, endpoint(self._settings))
        else:
            client.subscribe([(topic_filter, 0) for topic_filter in self._filters])

    def _subscribed(
        self, client: Client, userdata: Any, mid: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        names = [name for name, reason in zip(self._filters, reasons, strict=False) if reason.is_failure]
        if names:
            where = endpoint(self._settings)
            self._error = SubscriptionRefusedError(
                f"broker {where}: refused to let us subscribe to {', '.join(names)}."
            )
        self._until_s = time.monotonic() + self._for_s

    def _message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self._heard.messages += 1
            self._heard.not_kept += 1
            return
        if self._heard.messages < self._limits.messages and not _is_hidden(topic, self._hidden):
            sample = Sample(bytes(message.payload), datetime.now(UTC), message.retain)
            self._heard.add(topic, sample, self._limits)


def _own_topics(settings: MqttSettings) -> list[TopicFilter]:
    """Where our collectors say that they are there."""
    if settings.status_topic == OFF:
        return []
    levels = [re.sub(r".*\{.*", "+", level) for level in settings.status_topic.split("/")]
    return [parse_filter("/".join(levels))]


def _is_hidden(topic: str, hidden: Iterable[TopicFilter]) -> bool:
    return topic.startswith("$") or any(own.match(topic) is not None for own in hidden)
