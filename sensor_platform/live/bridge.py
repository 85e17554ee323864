"""The live bridge: an MQTT session of its own (QoS 0, clean, random client id) from the broker to the hub.

Two threads: `live-mqtt` only fills a bounded buffer, `live-decode` empties it several times a second. When decoding
falls behind, the oldest messages are shed and counted; the durable path has them all. Nobody watches: nothing is
subscribed, so an unwatched stream costs nothing.
"""

import secrets
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sensor_platform.errors import BrokerError, SensorPlatformError, SubscriptionRefusedError
from sensor_platform.live.channels import Channels
from sensor_platform.live.definitions import HeardDefinitions
from sensor_platform.live.hub import LiveReading
from sensor_platform.live.readings import LiveMessage, readings_of
from sensor_platform.log import get_logger
from sensor_platform.mqtt.connection import Protocol, UnsupportedProtocolError, connect, endpoint, new_client, refused
from sensor_platform.routes.model import Routes
from sensor_platform.settings import Settings

log = get_logger(part="live")

BUFFER_MESSAGES = 20_000
GROUP_MESSAGES = 2_000
INTERVAL_S = 0.15
LOOP_S = 0.1
STOP_TIMEOUT_S = 1.0

Publish = Callable[[list[LiveReading]], None]


@dataclass(frozen=True, slots=True)
class BridgeHealth:
    """A snapshot.

    subscribed: the broker granted it, so that what is published from now on is streamed.
    shed: messages that were not streamed because decoding fell behind.
    definitions_trouble: why data that needs an earlier definition may be missing; None: nothing is in the way.
    """

    connected: bool
    subscribed: bool
    messages: int
    readings: int
    refused: int
    shed: int
    error: str | None
    definitions_trouble: str | None


class Bridge:
    """`publish` is called in the decoding thread, with the readings of each group."""

    def __init__(
        self,
        settings: Settings,
        routes: Routes,
        publish: Publish,
        *,
        definitions: HeardDefinitions | None = None,
        buffer_messages: int = BUFFER_MESSAGES,
    ) -> None:
        self._settings = settings
        self._routes = routes
        self._channels = Channels(settings.api.live_channels, routes)
        self._publish = publish
        self._definitions = definitions or HeardDefinitions()
        self._buffer: deque[LiveMessage] = deque(maxlen=buffer_messages)
        self._lock = threading.Lock()  # guards buffer and counters
        self._counts = {"messages": 0, "readings": 0, "refused": 0, "shed": 0}
        self._error: str | None = None
        self._watched = False
        self._connected = threading.Event()
        self._subscribed = threading.Event()  # as the broker answered
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._stay_connected, name="live-mqtt", daemon=True),
            threading.Thread(target=self._decode_on, name="live-decode", daemon=True),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(STOP_TIMEOUT_S)

    @property
    def health(self) -> BridgeHealth:
        """How the session is, and what was counted since the start."""
        with self._lock:
            counts, error = dict(self._counts), self._error
        return BridgeHealth(
            self._connected.is_set(),
            self._subscribed.is_set(),
            **counts,
            error=error,
            definitions_trouble=self._definitions.trouble,
        )

    def watch(self, watched: bool) -> None:
        """Somebody watches, or nobody any more. Only a wish: the MQTT thread alone uses the connection."""
        self._watched = watched

    def wait_connected(self, timeout_s: float) -> bool:
        return self._connected.wait(timeout_s)

    # ---- thread live-mqtt

    def _stay_connected(self) -> None:
        protocols = [Protocol.V5, Protocol.V311]
        if self._settings.mqtt.protocol != "auto":
            protocols = [Protocol(self._settings.mqtt.protocol)]
        pause_s = self._settings.mqtt.reconnect_min_s
        while not self._stopping.is_set():
            try:
                was_connected = self._session(protocols[0])
                pause_s = self._settings.mqtt.reconnect_min_s if was_connected else pause_s * 2
            except UnsupportedProtocolError as err:
                protocols = protocols[1:] or protocols
                self._say(err)
            except SensorPlatformError as err:
                pause_s *= 2
                self._say(err)
            pause_s = min(pause_s, self._settings.mqtt.reconnect_max_s)
            self._stopping.wait(pause_s * (0.5 + secrets.randbelow(1000) / 2000))  # jitter

    def _session(self, protocol: Protocol) -> bool:
        """One connection, to its end; whether the broker ever accepted it."""
        client = new_client(
            self._settings.mqtt,
            client_id=f"sensor-platform-live-{secrets.token_hex(6)}",
            protocol=protocol,
            kind=Client,
        )
        answer: list[ReasonCode] = []
        client.on_connect = self._when_connected(answer)
        client.on_disconnect = self._when_disconnected
        client.on_message = self._when_message
        client.on_subscribe = self._when_subscribed
        client.on_unsubscribe = lambda *_: self._subscribed.clear()
        connect(client, self._settings.mqtt)
        subscribed = False
        while not self._stopping.is_set() and client.loop(LOOP_S) == MQTTErrorCode.MQTT_ERR_SUCCESS:
            if self._connected.is_set() and subscribed != self._watched:
                subscribed = not subscribed
                self._subscribe(client, subscribed=subscribed)
        self._connected.clear()
        self._subscribed.clear()
        client.disconnect()
        if answer and answer[0].is_failure:
            raise refused(answer[0], endpoint(self._settings.mqtt))
        return bool(answer)

    def _when_connected(self, answer: list[ReasonCode]) -> Callable[..., None]:
        def on_connect(
            client: Client, userdata: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
        ) -> None:
            answer.append(reason)
            if reason.is_failure:
                return
            with self._lock:
                self._error = None
            self._connected.set()
            log.info("live_connected")

        return on_connect

    def _when_disconnected(
        self, client: Client, userdata: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._connected.clear()
        if not self._stopping.is_set():
            self._say(BrokerError(f"broker {endpoint(self._settings.mqtt)}: the connection ended: {reason}"))

    def _when_subscribed(
        self, client: Client, userdata: Any, mid: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        refused_filters = [
            name for name, reason in zip(self._routes.filters, reasons, strict=False) if reason.is_failure
        ]
        if refused_filters:
            where, names = endpoint(self._settings.mqtt), ", ".join(refused_filters)
            self._say(SubscriptionRefusedError(f"broker {where}: refused to let the live page subscribe to {names}."))
        else:
            self._subscribed.set()

    def _when_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic.encode()
        except UnicodeDecodeError:
            topic = b"\xff"  # refused like any other topic that is not UTF-8; the durable path keeps its bytes
        kept = LiveMessage(topic, bytes(message.payload), message.retain, datetime.now(UTC))
        with self._lock:
            self._counts["messages"] += 1
            self._counts["shed"] += len(self._buffer) == self._buffer.maxlen
            self._buffer.append(kept)

    def _subscribe(self, client: Client, *, subscribed: bool) -> None:
        filters = self._routes.filters
        if subscribed:
            self._definitions.forget()  # what was said while nobody watched was not heard
            client.subscribe([(topic_filter, 0) for topic_filter in filters])
        else:
            client.unsubscribe(filters)

    def _say(self, err: SensorPlatformError) -> None:
        """A change of state is told once, not per attempt."""
        with self._lock:
            is_news, self._error = self._error != str(err), str(err)
        if is_news:
            log.warning("live_disconnected", error=str(err))

    # ---- thread live-decode

    def _decode_on(self) -> None:
        while not self._stopping.wait(INTERVAL_S):
            while group := self._take():
                self._decode(group)

    def _take(self) -> list[LiveMessage]:
        with self._lock:
            return [self._buffer.popleft() for _ in range(min(len(self._buffer), GROUP_MESSAGES))]

    def _decode(self, group: list[LiveMessage]) -> None:
        try:
            readings, refusals = readings_of(
                group,
                self._routes,
                self._channels,
                max_payload_bytes=self._settings.mqtt.max_payload_bytes,
                definitions=self._definitions,
            )
        except Exception:
            # The top of a thread: a group that cannot be shown is counted, and the stream goes on.
            log.exception("live_group_failed", messages=len(group))
            with self._lock:
                self._counts["shed"] += len(group)
            return
        with self._lock:
            self._counts["readings"] += len(readings)
            self._counts["refused"] += refusals
        if readings:
            self._publish(readings)
