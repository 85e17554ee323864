"""Reading PUBLISH packets in place: paho's client, but one `recv` of up to 256 KB a time and no Python call a message.

paho makes eight system calls and a Properties object for each QoS 1 message; this makes four bytes objects. paho keeps
the connection, the session, keep-alive and every packet that is not a PUBLISH. All private names of paho that we touch
are in this module; a contract test fails when an upgrade of paho changes them.
"""

import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from paho.mqtt.client import Client
from paho.mqtt.enums import MessageType, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.exception import MalformedPacket

from sensor_platform.mqtt.properties import publish_properties

READ_BYTES = 256 * 1024
PUBLISH = 0x30
QOS_BITS = 0x06
QOS_2 = 0x04

#: The private names that this module relies on, for the contract test.
PAHO_ATTRIBUTES = (
    "_connect_timeout",
    "_host",
    "_in_packet",
    "_last_bytes_received",
    "_msgtime_mutex",
    "_protocol",
    "_sock",
    "_ssl_context",
)
PAHO_METHODS = ("_loop_rc_handle", "_packet_handle", "_packet_queue", "_sock_close", "_sock_recv", "_ssl_wrap_socket")


@dataclass(slots=True)
class Arrived:
    """The PUBLISH packets read since the last `take`, as columns."""

    first_bytes: bytearray = field(default_factory=bytearray)
    topics: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    packet_ids: list[int] = field(default_factory=list)  # 0 at QoS 0
    content_types: dict[int, str] = field(default_factory=dict)
    user_properties: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    size_bytes: int = 0

    def __len__(self) -> int:
        return len(self.payloads)

    def add_properties(self, section: bytes) -> None:
        """Content type and user properties of the message that is about to be added; the others are not for us."""
        found = publish_properties(section)
        if found.content_type is not None:
            self.content_types[len(self)] = found.content_type
        if found.user_properties:
            self.user_properties[len(self)] = found.user_properties


class FastClient(Client):
    """Collects PUBLISH packets in `arrived`; acknowledges nothing by itself. No threads: its owner runs the loop."""

    arrived: Arrived
    read_error: OSError | None
    _pieces: list[bytes]  # of a frame that is not all here yet
    _pieces_bytes: int
    _wanted_bytes: int

    def start_reading(self) -> None:
        """To be called before each connect: nothing of an earlier connection is left."""
        self.arrived = Arrived()
        self.read_error = None
        self._pieces, self._pieces_bytes, self._wanted_bytes = [], 0, 0

    def take(self) -> Arrived:
        """What arrived, handed over."""
        taken, self.arrived = self.arrived, Arrived()
        return taken

    def abort(self) -> None:
        """Closes the socket as it is."""
        self._sock_close()

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Reads what is there, 256 KB at most, into `arrived`. `max_packets` is paho's, and means nothing here."""
        size = 0
        # A plain socket that gave less than we asked for is empty; TLS and WebSocket give one record or frame a time.
        is_plain = type(self._sock) is socket.socket
        while self._sock is not None and size < READ_BYTES:
            try:
                data = self._sock_recv(READ_BYTES)
            except BlockingIOError:
                break
            except OSError as err:
                self.read_error = err
                data = b""
            rc = self._cut_checked(data) if data else MQTTErrorCode.MQTT_ERR_CONN_LOST
            if rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return self._loop_rc_handle(rc)
            size += len(data)
            if is_plain and len(data) < READ_BYTES:
                break
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def acknowledge(self, packet_ids: Sequence[int], first_bytes: bytes) -> None:
        """One write for a whole group, in received order: PUBACK, and PUBREC where QoS 2 came."""
        flags = np.frombuffer(first_bytes, np.uint8)
        frames = np.empty((len(flags), 4), np.uint8)
        frames[:, 0] = np.where(flags & QOS_BITS == QOS_2, MessageType.PUBREC, MessageType.PUBACK)
        frames[:, 1] = 2
        frames[:, 2:] = np.array(packet_ids, ">u2").view(np.uint8).reshape(-1, 2)
        promised = frames[flags & QOS_BITS != 0]
        if len(promised):
            self._packet_queue(MessageType.PUBACK, promised.tobytes(), 0, 1)

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        """As paho does it, but for a handshake that fails: paho leaves that socket open."""
        assert self._ssl_context is not None
        sock = self._ssl_context.wrap_socket(tcp_sock, server_hostname=self._host, do_handshake_on_connect=False)
        try:
            sock.settimeout(self._connect_timeout)
            sock.do_handshake()
        except BaseException:
            sock.close()
            raise
        return sock

    def _cut_checked(self, data: bytes) -> MQTTErrorCode:
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()
        try:
            return self._cut(data)
        except (MalformedPacket, IndexError):
            return MQTTErrorCode.MQTT_ERR_PROTOCOL

    def _cut(self, data: bytes) -> MQTTErrorCode:
        """Every whole frame in `data` and what was left before: PUBLISH into `arrived`, others to paho.

        One flat loop, written for speed: it runs once a message.
        """
        if self._pieces:
            self._pieces.append(data)
            self._pieces_bytes += len(data)
            if self._pieces_bytes < self._wanted_bytes:
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            data = b"".join(self._pieces)
        arrived, is_5 = self.arrived, self._protocol == MQTTProtocolVersion.MQTTv5
        position, end, wanted = 0, len(data), 2
        while end - position >= 2:
            first, length, start = data[position], data[position + 1], position + 2
            if length > 127:
                length, start = _long_length(data, position + 1)
                if not start:
                    wanted = end - position + 1
                    break
            stop = start + length
            if stop > end:
                wanted = stop - position
                break
            position = stop
            if first & 0xF0 != PUBLISH:
                rc = self._hand_over(first, data[start:stop])
                if rc != MQTTErrorCode.MQTT_ERR_SUCCESS or self._sock is None:
                    return rc
                continue
            topic_end = at = start + 2 + (data[start] << 8 | data[start + 1])
            packet_id = 0
            if first & QOS_BITS:
                packet_id = data[at] << 8 | data[at + 1]
                at += 2
            properties = at
            if is_5:
                at = at + 1 if data[at] == 0 else _after_properties(data, at)
            if at > stop:
                raise MalformedPacket("PUBLISH shorter than its own lengths")
            if at - properties > 1:
                arrived.add_properties(data[properties:at])
            arrived.topics.append(data[start + 2 : topic_end])
            arrived.packet_ids.append(packet_id)
            arrived.first_bytes.append(first)
            arrived.payloads.append(data[at:stop])
        arrived.size_bytes += position
        self._pieces = [data[position:]] if position < end else []
        self._pieces_bytes, self._wanted_bytes = end - position, wanted
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _hand_over(self, first: int, body: bytes) -> MQTTErrorCode:
        self._in_packet = {
            "command": first,
            "have_remaining": 1,
            "remaining_count": [],
            "remaining_mult": 1,
            "remaining_length": len(body),
            "packet": bytearray(body),
            "to_process": 0,
            "pos": 0,
        }
        return self._packet_handle()


def _long_length(data: bytes, at: int) -> tuple[int, int]:
    """A variable byte integer and where it ends; (0, 0) when it is not all there."""
    value = 0
    for place, byte in enumerate(data[at : at + 4]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    if len(data) - at >= 4:
        raise MalformedPacket("a length of more than four bytes")
    return 0, 0


def _after_properties(data: bytes, at: int) -> int:
    length, start = _long_length(data, at)
    if not start:
        raise MalformedPacket("PUBLISH ends within the length of its properties")
    return start + length
