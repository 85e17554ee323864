"""Publishing with confirmation: what the simulator, replay, `publish` and the API send goes through here.

paho keeps the connection in a thread of its own and sends what is unconfirmed again after a reconnect (at QoS 1 the
broker may then have it twice). Ours are the bounded window, so that memory does not grow with a slow broker; the reason
codes, which paho hands over but does not judge; and errors that say what stands in the way.
"""

import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sensor_platform.errors import BrokerError, BrokerUnreachableError, NoMatchingSubscribersError
from sensor_platform.mqtt.connection import (
    Protocol,
    UnsupportedProtocolError,
    connect,
    endpoint,
    new_client,
    refused,
)
from sensor_platform.settings import Settings

NO_MATCHING_SUBSCRIBERS = 0x10
FIRST_FAILURE = 0x80
#: Reason codes of PUBACK and PUBREC that refuse a message [MQTT 5, 3.4.2.1].
REFUSALS = {
    0x83: "implementation specific error",
    0x87: "not authorised to publish there",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x97: "quota exceeded",
    0x99: "payload format invalid",
}
#: The session outlives a short cut, so that QoS 2 stays exactly once; a clean end removes it.
SESSION_EXPIRY_S = 300
HANG_UP_AFTER_S = 2
#: Sleeping less than this costs more than it evens out.
SHORTEST_PAUSE_S = 0.002

OnConfirmed = Callable[[str, bytes], None]


@dataclass(frozen=True, slots=True)
class Published:
    """What became of published messages. `confirmed`: the broker has it, and somebody subscribes to it."""

    published: int
    confirmed: int
    unmatched: int

    @property
    def complete(self) -> bool:
        return self.confirmed == self.published


@dataclass(slots=True)
class _InFlight:
    """A message without its confirmation. `settle` is told None, or why it failed; in the network thread."""

    topic: str
    payload: bytes
    settle: Callable[[BrokerError | None], None]


class _ClosedError(BrokerUnreachableError):
    """The connection ended without a word."""


class _Client(paho.Client):
    """paho connects again by itself, and its thread alone owns the connection. It overlooks what a PUBREC says."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "reconnect_on_failure": True})
        self.pubrec_codes: dict[int, int] = {}

    def _handle_pubrec(self) -> MQTTErrorCode:
        packet = self._in_packet["packet"]
        if self._protocol == MQTTProtocolVersion.MQTTv5 and len(packet) > 2 and packet[2]:
            self.pubrec_codes[int.from_bytes(packet[:2], "big")] = packet[2]
        return super()._handle_pubrec()


class Publisher:
    """`with Publisher(settings) as publisher: publisher.publish_all(messages)`. Any thread may publish."""

    def __init__(self, settings: Settings, *, window: int = 1000, stall_timeout_s: float = 60) -> None:
        self._settings = settings.mqtt
        self._window = window
        self._stall_timeout_s = stall_timeout_s
        self._changed = threading.Condition()  # guards all below; never held while paho is called
        self._in_flight: dict[int, _InFlight] = {}
        self._early: dict[int, int] = {}  # confirmed before publish() could say under which packet id
        self._used = 0
        self._connected = False
        self._trouble: BrokerError | None = None
        self._progress_at = 0.0
        self._on_resent: OnConfirmed | None = None
        self._client: _Client | None = None

    def __enter__(self) -> Self:
        self._to = endpoint(self._settings)
        if self._settings.protocol != "auto":
            self._client = self._open(Protocol(self._settings.protocol))
            return self
        try:
            self._client = self._open(Protocol.V5)
        except (UnsupportedProtocolError, _ClosedError):  # some old brokers just hang up on version 5
            self._client = self._open(Protocol.V311)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._client is not None
        try:
            if kind is None:
                self._wait_until_confirmed()
        finally:
            _close(self._client)

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> Future[None]:
        """Hands a message over. The future ends when the broker confirms it; at QoS 0, which nobody confirms, at once.

        Raises:
            BrokerUnreachableError: the window is full and nothing is confirmed any more.
            The future raises NoMatchingSubscribersError, or BrokerError with the broker's reason.
        """
        future: Future[None] = Future()

        def settle(error: BrokerError | None) -> None:
            future.set_exception(error) if error else future.set_result(None)

        self._send(_InFlight(topic, payload, settle), qos=qos, retain=retain)
        return future

    def publish_all(
        self,
        messages: Iterable[tuple[str, bytes]],
        *,
        qos: int = 1,
        retain: bool = False,
        rate: float | None = None,
        stop: threading.Event | None = None,
        on_confirmed: OnConfirmed | None = None,
        on_resent: OnConfirmed | None = None,
    ) -> Published:
        """Publishes (topic, payload) pairs in order and waits until each is confirmed.

        Args:
            messages: read no further ahead than the window allows.
            qos: 1 or 2.
            rate: messages/s at most; None: as fast as the broker confirms.
            stop: ends the reading of `messages`; what was handed over is still waited for.
            on_confirmed: told each confirmed message, in the network thread.
            on_resent: told each message that a reconnect sends again: the broker may have it twice.

        Raises:
            BrokerUnreachableError: nothing was confirmed for the stall timeout.
            BrokerError: the broker refused a message.
        """
        if qos not in (1, 2):
            raise ValueError(f"qos={qos}: publish_all waits for confirmations, which QoS 0 does not have")
        tally = _Tally(on_confirmed)
        self._on_resent = on_resent
        for topic, payload in _paced(messages, rate, stop or threading.Event()):
            tally.published += 1
            self._send(_InFlight(topic, payload, tally.settler(topic, payload)), qos=qos, retain=retain)
            tally.raise_refusal()
        self._wait_until_confirmed()
        tally.raise_refusal()
        return Published(tally.published, tally.confirmed, tally.unmatched)

    def _open(self, protocol: Protocol) -> "_Client":
        self._trouble = None
        client = new_client(
            self._settings, client_id=f"sensor-platform-{secrets.token_hex(6)}", protocol=protocol, kind=_Client
        )
        client.reconnect_delay_set(self._settings.reconnect_min_s, self._settings.reconnect_max_s)  # type: ignore[arg-type]
        client.on_connect = self._connect_answered
        client.on_disconnect = self._connection_lost
        client.on_publish = self._confirmed
        connect(client, self._settings, session_expiry_s=SESSION_EXPIRY_S)
        client.loop_start()
        try:
            self._wait_for_connack()
        except BaseException:
            _close(client)
            raise
        return client

    def _wait_for_connack(self) -> None:
        timeout_s = self._settings.connect_timeout_s
        with self._changed:
            self._changed.wait_for(lambda: self._connected or self._trouble, timeout_s)
            if not self._connected:
                raise self._trouble or BrokerUnreachableError(
                    f"broker {self._to}: no answer to CONNECT in {timeout_s:g} s. Does an MQTT broker listen there?"
                )

    def _send(self, message: _InFlight, *, qos: int, retain: bool) -> None:
        assert self._client is not None, "use it in a with block"
        self._take_slot()
        try:
            info = self._client.publish(message.topic, message.payload, qos=qos, retain=retain)
        except ValueError:
            self._free_slot()
            raise
        if info.rc == paho.MQTT_ERR_QUEUE_SIZE or (qos == 0 and info.rc != paho.MQTT_ERR_SUCCESS):
            self._free_slot()
            raise BrokerUnreachableError(f"broker {self._to}: the message could not be sent ({info.rc.name})")
        with self._changed:
            code = self._early.pop(info.mid, None)
            if code is None and qos > 0:
                self._in_flight[info.mid] = message
                return
        self._settle(message, code or 0)

    def _take_slot(self) -> None:
        with self._changed:
            # Not while disconnected: paho could put the PUBLISH before the CONNECT.
            self._wait_until(lambda: self._connected and self._used < self._window)
            self._used += 1

    def _free_slot(self) -> None:
        with self._changed:
            self._used -= 1
            self._progress_at = time.monotonic()
            self._changed.notify_all()

    def _wait_until_confirmed(self) -> None:
        with self._changed:
            self._wait_until(lambda: self._used == 0)

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits as long as something moves."""
        began = time.monotonic()
        while not condition():
            left_s = max(self._progress_at, began) + self._stall_timeout_s - time.monotonic()
            if left_s <= 0:
                reason = f" ({self._trouble})" if self._trouble else ""
                raise BrokerUnreachableError(
                    f"broker {self._to}: nothing was confirmed for {self._stall_timeout_s:g} s, "
                    f"{self._used} messages are unconfirmed{reason}"
                )
            self._changed.wait(left_s)

    def _settle(self, message: _InFlight, code: int) -> None:
        """The slot is free only after the caller was told: who waits for all finds everything told."""
        message.settle(_error_of(message.topic, code))
        self._free_slot()

    # Called by paho, in its thread.

    def _confirmed(
        self, client: paho.Client, _data: Any, mid: int, reason: ReasonCode, _properties: Properties
    ) -> None:
        assert isinstance(client, _Client)
        code = client.pubrec_codes.pop(mid, reason.value)
        with self._changed:
            message = self._in_flight.pop(mid, None)
            if message is None:
                self._early[mid] = code
                return
        self._settle(message, code)

    def _connect_answered(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        with self._changed:
            self._trouble = refused(reason, self._to) if reason.is_failure else None
            self._connected = self._trouble is None
            again = list(self._in_flight.values()) if self._connected and self._on_resent else []
            self._changed.notify_all()
        for message in again:
            assert self._on_resent is not None
            self._on_resent(message.topic, message.payload)

    def _connection_lost(
        self,
        _client: paho.Client,
        _data: Any,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        with self._changed:
            told = refused(reason, self._to) if flags.is_disconnect_packet_from_server else None
            self._trouble = told or self._trouble or _ClosedError(f"broker {self._to}: it closed the connection")
            self._connected = False
            self._changed.notify_all()


def _close(client: _Client) -> None:
    """Ends connection, session and thread, whatever state they are in."""
    client.drop_out_messages()  # or paho's thread would wait for their confirmations
    at_end = None
    if client.protocol == MQTTProtocolVersion.MQTTv5:
        at_end = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
        at_end.SessionExpiryInterval = 0
    client.disconnect(properties=at_end)
    hang_up = threading.Timer(HANG_UP_AFTER_S, _hang_up, [client])
    hang_up.start()
    client.loop_stop()
    hang_up.cancel()


def _hang_up(client: _Client) -> None:
    """A broker that reads no more would hold DISCONNECT, and with it paho's thread, for ever."""
    open_socket = client.socket()
    if isinstance(open_socket, socket.socket):
        with suppress(OSError):
            open_socket.shutdown(socket.SHUT_RDWR)


class _Tally:
    """Counts of one publish_all. Only the network thread writes confirmed and unmatched."""

    def __init__(self, on_confirmed: OnConfirmed | None) -> None:
        self.published = self.confirmed = self.unmatched = 0
        self._on_confirmed = on_confirmed
        self._refusal: BrokerError | None = None

    def settler(self, topic: str, payload: bytes) -> Callable[[BrokerError | None], None]:
        def settle(error: BrokerError | None) -> None:
            if error is None:
                self.confirmed += 1
                if self._on_confirmed:
                    self._on_confirmed(topic, payload)
            elif isinstance(error, NoMatchingSubscribersError):
                self.unmatched += 1
            else:
                self._refusal = self._refusal or error

        return settle

    def raise_refusal(self) -> None:
        if self._refusal:
            raise self._refusal


def _error_of(topic: str, code: int) -> BrokerError | None:
    if code == NO_MATCHING_SUBSCRIBERS:
        return NoMatchingSubscribersError(f'"{topic}": nobody subscribes to it, nothing would have kept the message')
    if code >= FIRST_FAILURE:
        name = REFUSALS.get(code, "unspecified")
        return BrokerError(f'"{topic}": the broker refused the message: {name} (0x{code:02X})')
    return None


def _paced(
    messages: Iterable[tuple[str, bytes]], rate: float | None, stop: threading.Event
) -> Iterator[tuple[str, bytes]]:
    """The messages no faster than `rate`. Each is asked for when it is due, so that its own time is right."""
    due = time.monotonic()
    remaining = iter(messages)
    while not stop.is_set():
        if rate:
            ahead_s = due - time.monotonic()
            if ahead_s > SHORTEST_PAUSE_S and stop.wait(ahead_s):
                return
            # What a slow second missed is not made good with a burst.
            due = max(due, time.monotonic() - 1) + 1 / rate
        try:
            yield next(remaining)
        except StopIteration:
            return
