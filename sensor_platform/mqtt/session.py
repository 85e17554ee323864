"""One connection to the broker, from CONNECT to DISCONNECT, for a session that outlives it.

The collector's one thread calls everything. Errors come out of `check` as classes of our own tree, told apart.
"""

import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from sensor_platform.errors import BrokerError, BrokerUnreachableError, SensorPlatformError
from sensor_platform.log import get_logger
from sensor_platform.mqtt.arrived import Arrived
from sensor_platform.mqtt.broker_facts import granted
from sensor_platform.mqtt.connection import Protocol, connect, connection_error, endpoint, new_client, refused
from sensor_platform.mqtt.presence import Presence
from sensor_platform.mqtt.read_path import reading_client
from sensor_platform.mqtt.waker import Waker
from sensor_platform.settings import MqttSettings

#: How long a DISCONNECT and the last acknowledgements may take to leave.
GOODBYE_S = 2.0
RETAIN_ONLY_IF_NEW = 1

#: Hears the reasons of a SUBACK or UNSUBACK, one a filter; 3.1.1 has none in its UNSUBACK.
OnAnswer = Callable[[list[ReasonCode]], None]


class NoAnswerError(BrokerUnreachableError):
    """The broker closed the connection before its CONNACK: perhaps it does not know this version of MQTT."""


class Session:
    """A connection with a persistent session, clean start off unless the settings say so loudly, QoS 1.

    On 3.1.1 one not `persistent` ends the session.
    """

    def __init__(
        self,
        settings: MqttSettings,
        *,
        client_id: str,
        protocol: Protocol,
        waker: Waker,
        persistent: bool = True,
        presence: Presence | None = None,
        wanted: Iterable[str] = (),
    ) -> None:
        self.protocol = protocol
        self._client_id = client_id
        self.endpoint = endpoint(settings)
        self.connected = False
        self.session_present = False
        self._settings = settings
        self._waker = waker
        self._error: BrokerError | None = None
        self._closing = False
        self.farewell = "disconnected"
        self._answers: dict[int, OnAnswer] = {}  # packet id of a SUBSCRIBE or UNSUBSCRIBE -> who waits for its answer
        client = new_client(
            settings,
            client_id=client_id,
            protocol=protocol,
            kind=reading_client(settings.read_path),
            persistent=persistent and not settings.clean_session,
        )
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_answer
        client.on_unsubscribe = self._on_answer
        client.start_reading()
        self._client = client
        self._presence = presence
        self.granted: dict[str, int] = {}
        if presence is not None:
            presence.attach(client, wanted)

    def open(self, *, should_stop: Callable[[], bool]) -> bool:
        """Connects and waits for the CONNACK. False when told to stop meanwhile. Raises a BrokerError."""
        deadline_s = time.monotonic() + self._settings.connect_timeout_s
        connect(
            self._client,
            self._settings,
            session_expiry_s=None if self._settings.clean_session else self._settings.session_expiry_s,
            receive_maximum=self._settings.receive_maximum,
        )
        while not self.connected:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                self.close()
                raise BrokerUnreachableError(f"broker {self.endpoint}: it accepted the connection and says nothing.")
            if should_stop():
                self.close()
                return False
            self.wait(left_s)
            self.check()
        if self._presence is not None:
            self._presence.announce(self._client)
        return True

    def subscribe(self, filters: Sequence[str], *, on_answer: OnAnswer) -> None:
        """QoS 1; the broker delivers each message at the lower of ours and the publisher's."""
        if self.protocol is Protocol.V5:
            options = SubscribeOptions(qos=1, retainHandling=RETAIN_ONLY_IF_NEW)
            _, packet_id = self._client.subscribe([(name, options) for name in filters])
        else:
            _, packet_id = self._client.subscribe([(name, 1) for name in filters])
        self._expect(packet_id, on_answer)

    def unsubscribe(self, filters: Sequence[str], *, on_answer: OnAnswer) -> None:
        _, packet_id = self._client.unsubscribe(list(filters))
        self._expect(packet_id, on_answer)

    def _expect(self, packet_id: int | None, on_answer: OnAnswer) -> None:
        if packet_id is not None:  # None: the connection is gone, and `check` says so
            self._answers[packet_id] = on_answer

    def wait(self, timeout_s: float) -> bool:
        """Until something arrived, the waker rang or the time is over. Whether something was read."""
        sock = self._client.socket()
        if sock is None:
            return False
        waits_inside = getattr(sock, "pending", None)  # TLS: decrypted bytes that no poll tells of
        readable = waits_inside is not None and waits_inside() > 0
        if not readable:
            readable = self._waker.wait(timeout_s, fd=sock.fileno(), for_write=self._client.want_write())
        if readable:
            self._read()
        if self._client.want_write():
            self._client.loop_write()
        self._client.loop_misc()
        return readable

    def _read(self) -> None:
        try:
            self._client.loop_read()
        except SensorPlatformError:
            raise
        except Exception as err:  # noqa: BLE001  whatever a broker sends: this is the collector's one thread
            get_logger().exception("cannot_read", broker=str(self.endpoint))
            self._error = BrokerError(
                f"broker {self.endpoint}: it sent what cannot be read: {err!r}. What is not acknowledged stays with "
                "it and comes again; the log has the whole error."
            )

    @property
    def arrived(self) -> Arrived:
        """What was read and not yet taken."""
        return self._client.arrived

    def take(self) -> Arrived:
        return self._client.take()

    def acknowledge(self, taken: Arrived) -> None:
        """For messages of this connection; dropped when it is gone: their redelivery brings its own."""
        if self.connected:
            self._client.acknowledge(taken)

    def check(self) -> None:
        """Raises what ended the connection."""
        if self._error is not None:
            self.close()
            raise self._error

    def close(self) -> None:
        """DISCONNECT, which keeps the session and its expiry; what is queued leaves first, within two seconds."""
        self._say_goodbye(None)

    def end(self) -> None:
        """DISCONNECT, and the end of the session: the broker forgets what it holds for us. Raises a BrokerError."""
        if self.protocol is Protocol.V5:
            properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 0
            self._say_goodbye(properties)
            return
        self.close()  # 3.1.1 ends a session by a connection that asks for a clean one
        clean = Session(
            self._settings, client_id=self._client_id, protocol=self.protocol, waker=self._waker, persistent=False
        )
        clean.open(should_stop=lambda: False)
        clean.close()

    def _say_goodbye(self, properties: Properties | None) -> None:
        deadline_s = time.monotonic() + GOODBYE_S
        was_connected, self.connected, self._closing = self.connected, False, True
        spare = None
        if (open_socket := self._client.socket()) is not None:
            spare = socket.socket(fileno=os.dup(open_socket.fileno()))
            if was_connected and self._presence is not None:
                self._presence.farewell(self._client, self.farewell)
            self._client.disconnect(properties=properties)
        while (sock := self._client.socket()) is not None and time.monotonic() < deadline_s:
            self._waker.wait(0.1, fd=sock.fileno(), for_write=True)
            self._client.loop_write()
        self._client.abort()
        if spare is not None:
            _hang_up(spare, deadline_s=deadline_s)

    def _on_connect(
        self, client: Client, userdata: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._error = refused(reason, self.endpoint)
        else:
            self.connected, self.session_present = True, flags.session_present
            self.granted = granted(properties)

    def _on_disconnect(
        self,
        client: Client,
        userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        had_answer, self.connected = self.connected, False
        if self._error is not None or self._closing:
            return
        if flags.is_disconnect_packet_from_server:
            self._error = refused(reason, self.endpoint)
        elif reason == "Protocol error":
            why = self._client.malformed or "a packet that paho refuses"
            kind = BrokerError if had_answer else NoAnswerError  # perhaps it speaks the other version only
            self._error = kind(
                f"broker {self.endpoint}: what it sent is not MQTT: {why}. We connect again. If it goes on, look at "
                "what stands between us and the broker."
            )
        elif self._client.socket_error is not None:
            self._error = connection_error(self._client.socket_error, self.endpoint)
        elif not had_answer:
            self._error = NoAnswerError(f"broker {self.endpoint}: it closed the connection without an answer.")
        else:
            self._error = BrokerUnreachableError(f"broker {self.endpoint}: the connection ended: {reason}.")

    def _on_answer(
        self, client: Client, userdata: object, packet_id: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        on_answer = self._answers.pop(packet_id, None)
        if on_answer is not None:
            on_answer(reasons)


def _hang_up(spare: socket.socket, *, deadline_s: float) -> None:
    """Reads until the broker has closed its side. Closed with something unread, TCP would reset the connection, and the
    broker might not see what we sent last: acknowledgements, farewell and DISCONNECT."""
    with spare, suppress(OSError):
        spare.shutdown(socket.SHUT_WR)
        while (left_s := deadline_s - time.monotonic()) > 0:
            spare.settimeout(left_s)
            if not spare.recv(65536):
                return
