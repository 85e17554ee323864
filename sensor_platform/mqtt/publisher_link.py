"""The publisher's connection: opened with backoff, kept by paho's own thread, ended for certain.

paho connects again by itself and sends what is unconfirmed once more. Here is what it leaves to us: the first attempts,
MQTT 3.1.1 for brokers that have no 5, what the CONNACK allows, and why there is no connection.
"""

import random
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MessageState, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sensor_platform.errors import BrokerError, BrokerUnreachableError, MessageRefusedError
from sensor_platform.log import get_logger
from sensor_platform.mqtt.backoff import Backoff
from sensor_platform.mqtt.connection import Protocol, UnsupportedProtocolError, connect, endpoint, new_client, refused
from sensor_platform.mqtt.message import Message
from sensor_platform.settings import MqttSettings

#: The session outlives a short cut, so that QoS 2 stays exactly once; a clean end removes it.
SESSION_EXPIRY_S = 300
HANG_UP_AFTER_S = 2
IN_FLIGHT = 20


class _ClosedError(BrokerUnreachableError):
    """The connection ended without a word."""


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """What the broker takes, as its CONNACK says; MQTT 3.1.1 says nothing."""

    has_properties: bool = True
    maximum_qos: int = 2
    retain_available: bool = True
    greatest_packet_bytes: int | None = None

    def check(self, message: Message) -> None:
        """Raises MessageRefusedError: sent all the same, the message would cost the connection, again and again."""
        if message.properties and not self.has_properties:
            names = ", ".join(message.properties.names())
            raise MessageRefusedError(
                f'"{message.topic}": the connection speaks MQTT 3.1.1, which has no properties ({names}). '
                "Leave them out, or use a broker and MQTT_PROTOCOL with MQTT 5."
            )
        if message.qos > self.maximum_qos:
            raise MessageRefusedError(f'"{message.topic}": the broker takes QoS {self.maximum_qos} at most')
        if message.retain and not self.retain_available:
            raise MessageRefusedError(f'"{message.topic}": the broker keeps no retained messages')
        if self.greatest_packet_bytes and message.size_bytes > self.greatest_packet_bytes:
            raise MessageRefusedError(
                f'"{message.topic}": {message.size_bytes} bytes, the broker takes {self.greatest_packet_bytes} at most'
            )


class _Client(paho.Client):
    """paho connects again by itself, and its thread alone owns the connection. It overlooks what a PUBREC says.

    `on_confirmed` instead of paho's `on_publish`: that one also tells of each message at QoS 0 that was written to the
    socket, whose number is soon that of a message at QoS 1.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "reconnect_on_failure": True})
        self.pubrec_codes: dict[int, int] = {}
        self.on_confirmed: Callable[[int, int], None] = lambda _packet_id, _code: None

    def _do_on_publish(self, mid: int, reason_code: ReasonCode, properties: Properties) -> MQTTErrorCode:
        """A PUBACK or PUBCOMP of a message that is in flight."""
        self.on_confirmed(mid, self.pubrec_codes.pop(mid, reason_code.value))
        return super()._do_on_publish(mid, reason_code, properties)

    def _handle_pubrec(self) -> MQTTErrorCode:
        packet = self._in_packet["packet"]
        if self._protocol == MQTTProtocolVersion.MQTTv5 and len(packet) > 2 and packet[2]:
            self.pubrec_codes[int.from_bytes(packet[:2], "big")] = packet[2]
        return super()._handle_pubrec()

    def resume(self, *, session_present: bool, receive_maximum: int) -> None:
        """What a new connection does not take over from the last one; called between CONNACK and the first PUBLISH.

        Without a session a PUBREL would be confirmed, though the message that it releases is gone. And paho sends all
        that is unconfirmed at once, however much the broker allows [MQTT-3.3.4-9].
        """
        self._max_inflight_messages = min(IN_FLIGHT, receive_maximum)
        with self._out_message_mutex:
            for place, message in enumerate(self._out_messages.values()):
                if message.state == MessageState.MQTT_MS_RESEND_PUBREL and not session_present:
                    message.state = MessageState.MQTT_MS_PUBLISH
                if place >= self._max_inflight_messages and message.state == MessageState.MQTT_MS_PUBLISH:
                    message.state = MessageState.MQTT_MS_QUEUED


class PublisherLink:
    """One connection at a time to the broker. `changed` guards its state, and is told of each change.

    Args:
        on_confirmed: told packet id and reason code, in the network thread.
        on_connected: told of each connection, the first one too, in the network thread.
    """

    def __init__(
        self,
        settings: MqttSettings,
        *,
        changed: threading.Condition,
        on_confirmed: Callable[[int, int], None],
        on_connected: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._changed = changed
        self._on_confirmed = on_confirmed
        self._on_connected = on_connected
        self._client: _Client | None = None
        self._limits = BrokerLimits()
        self.is_connected = False
        self.trouble: BrokerError | None = None
        self.to = endpoint(settings)

    def open(self, *, retry_for_s: float) -> None:
        """Connects. While nobody answers it tries again for `retry_for_s`, less and less often.

        Raises:
            BrokerUnreachableError: nobody answered in that time.
            TlsRefusedError, CredentialsRefusedError, BrokerError: at once.
        """
        backoff = Backoff(least_s=self._settings.reconnect_min_s, most_s=self._settings.reconnect_max_s)
        give_up_at = time.monotonic() + retry_for_s
        while True:
            try:
                return self._open_newest()
            except BrokerUnreachableError as err:
                left_s = give_up_at - time.monotonic()
                if left_s <= 0:
                    raise
                pause_s = min(backoff.next_s(), left_s)
                get_logger().debug("broker_unreachable", error=str(err), again_in_s=round(pause_s, 2))
                time.sleep(pause_s)

    def send(self, message: Message) -> paho.MQTTMessageInfo:
        """Hands the message to paho. Raises MessageRefusedError for what the broker said it does not take."""
        assert self._client is not None, "use it in a with block"
        self._limits.check(message)
        properties = message.properties.to_paho() if message.properties else None
        return self._client.publish(
            message.topic, message.payload, qos=message.qos, retain=message.retain, properties=properties
        )

    def close(self) -> None:
        if self._client is not None:
            _close(self._client)

    def _open_newest(self) -> None:
        if self._settings.protocol != "auto":
            return self._open(Protocol(self._settings.protocol))
        try:
            return self._open(Protocol.V5)
        except (UnsupportedProtocolError, _ClosedError):  # some old brokers just hang up on version 5
            return self._open(Protocol.V311)

    def _open(self, protocol: Protocol) -> None:
        self.trouble = None
        client = new_client(
            self._settings, client_id=f"sensor-platform-{secrets.token_hex(6)}", protocol=protocol, kind=_Client
        )
        jitter = random.uniform(0.5, 1.0)  # noqa: S311  # publishers that lost one broker do not return in step
        client.reconnect_delay_set(
            self._settings.reconnect_min_s * jitter,  # type: ignore[arg-type]
            self._settings.reconnect_max_s * jitter,  # type: ignore[arg-type]
        )
        client.on_connect = self._connect_answered
        client.on_disconnect = self._connection_lost
        client.on_confirmed = self._on_confirmed
        connect(client, self._settings, session_expiry_s=SESSION_EXPIRY_S)
        client.loop_start()
        try:
            self._wait_for_connack()
        except BaseException:
            _close(client)
            raise
        self._client = client

    def _wait_for_connack(self) -> None:
        timeout_s = self._settings.connect_timeout_s
        with self._changed:
            self._changed.wait_for(lambda: self.is_connected or self.trouble, timeout_s)
            if not self.is_connected:
                raise self.trouble or BrokerUnreachableError(
                    f"broker {self.to}: no answer to CONNECT in {timeout_s:g} s. Does an MQTT broker listen there?"
                )

    # Called by paho, in its thread.

    def _connect_answered(
        self,
        client: paho.Client,
        _data: Any,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        assert isinstance(client, _Client)
        if not reason.is_failure:
            client.resume(
                session_present=flags.session_present, receive_maximum=getattr(properties, "ReceiveMaximum", IN_FLIGHT)
            )
        with self._changed:
            self.trouble = refused(reason, self.to) if reason.is_failure else None
            self.is_connected = self.trouble is None
            self._limits = _limits(client, properties)
            self._changed.notify_all()
        if not reason.is_failure:
            self._on_connected()

    def _connection_lost(
        self,
        _client: paho.Client,
        _data: Any,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        with self._changed:
            told = refused(reason, self.to) if flags.is_disconnect_packet_from_server else None
            self.trouble = told or self.trouble or _ClosedError(f"broker {self.to}: it closed the connection")
            self.is_connected = False
            self._changed.notify_all()


def _limits(client: paho.Client, properties: Properties | None) -> BrokerLimits:
    if client.protocol != MQTTProtocolVersion.MQTTv5:
        return BrokerLimits(has_properties=False)
    return BrokerLimits(
        maximum_qos=getattr(properties, "MaximumQoS", 2),
        retain_available=bool(getattr(properties, "RetainAvailable", 1)),
        greatest_packet_bytes=getattr(properties, "MaximumPacketSize", None),
    )


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
