"""Reading PUBLISH packets in place: paho's client, but one `recv` of 64 KB a time and no Python call a message.

paho makes eight system calls and a Properties object for each QoS 1 message; this makes four bytes objects. paho keeps
the connection, the session, keep-alive and every packet that is not a PUBLISH. All private names of paho that we touch
are in this module; a contract test fails when an upgrade of paho changes them, and `stock_read` takes over.
"""

import socket
import ssl
import time
from typing import TYPE_CHECKING

from paho.mqtt.client import Client
from paho.mqtt.enums import MessageType, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.exception import MalformedPacket

from sensor_platform.mqtt.arrived import NO_PACKET_ID, READ_BYTES, Arrived

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

#: A `recv` that asks for more makes the allocator map and unmap memory each time: 12 us.
RECV_BYTES = 64 * 1024
#: Bytes of the packet id, by the first byte of a packet. What is above 2 is for paho: other packets, and QoS 3.
ID_BYTES = bytes(
    {0x30: 0, 0x32: 2, 0x34: 2}.get(first & 0xF6, 255)  # without DUP and RETAIN
    for first in range(256)
)

#: The private names that this module relies on.
PAHO_ATTRIBUTES = (
    "_in_packet",
    "_last_bytes_received",
    "_msgtime_mutex",
    "_protocol",
    "_sock",
)
PAHO_METHODS = (
    "_create_socket",
    "_create_socket_connection",
    "_loop_rc_handle",
    "_packet_handle",
    "_packet_queue",
    "_sock_close",
    "_sock_recv",
    "_sock_send",
    "_ssl_wrap_socket",
)
#: The keys of paho's `_in_packet`.
IN_PACKET = frozenset(
    (
        "command",
        "have_remaining",
        "remaining_count",
        "remaining_mult",
        "remaining_length",
        "packet",
        "to_process",
        "pos",
    )
)


def missing_parts(client: Client) -> list[str]:
    """The private names of this paho that are not as we know them: none, or `FastClient` cannot be used."""
    missing = [name for name in PAHO_ATTRIBUTES if not hasattr(client, name)]
    missing += [name for name in PAHO_METHODS if not callable(getattr(type(client), name, None))]
    if set(getattr(client, "_in_packet", ())) != IN_PACKET:
        missing.append("_in_packet")
    return missing


class FastClient(Client):
    """Collects PUBLISH packets in `arrived`; acknowledges nothing by itself. No threads: its owner runs the loop."""

    arrived: Arrived
    socket_error: OSError | None
    malformed: str | None  # what came that is not MQTT
    _pieces: list[bytes]  # of a frame that is not all here yet
    _pieces_bytes: int
    _wanted_bytes: int
    _opening: socket.socket | None = None  # while the handshakes go on

    def start_reading(self) -> None:
        """To be called before each connect: nothing of an earlier connection is left."""
        self.arrived = Arrived()
        self.socket_error = None
        self.malformed = None
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
                data = self._sock_recv(RECV_BYTES)
            except BlockingIOError:
                break
            except OSError as err:
                self.socket_error = err
                data = b""
            rc = self._cut_checked(data) if data else MQTTErrorCode.MQTT_ERR_CONN_LOST
            if rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return self._loop_rc_handle(rc)
            size += len(data)
            if is_plain and len(data) < RECV_BYTES:
                break
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def acknowledge(self, taken: Arrived) -> None:
        """One write for a whole group, in received order."""
        if answers := taken.answers():
            self._packet_queue(MessageType.PUBACK, answers, 0, 1)

    def _sock_send(self, buf: bytes | bytearray) -> int:
        """paho keeps to itself why a write failed."""
        try:
            return super()._sock_send(buf)
        except BlockingIOError:
            raise
        except OSError as err:
            self.socket_error = err
            raise

    def _create_socket(self) -> "SocketLike":
        """As paho does it, but for a WebSocket handshake that fails: paho leaves that socket open."""
        try:
            return super()._create_socket()
        except BaseException:
            if self._opening is not None:
                self._opening.close()
            raise

    def _create_socket_connection(self) -> socket.socket:
        self._opening = super()._create_socket_connection()
        return self._opening

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        self._opening = wrapped = super()._ssl_wrap_socket(tcp_sock)
        return wrapped

    def _cut_checked(self, data: bytes) -> MQTTErrorCode:
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()
        if self._pieces:
            self._pieces.append(data)
            self._pieces_bytes += len(data)
            if self._pieces_bytes < self._wanted_bytes:
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            data = b"".join(self._pieces)
        try:
            return self._cut(data)
        except (MalformedPacket, IndexError) as err:
            self.malformed = str(err) if isinstance(err, MalformedPacket) else "a packet ends too early"
            return MQTTErrorCode.MQTT_ERR_PROTOCOL

    def _cut(self, data: bytes) -> MQTTErrorCode:
        """Every whole frame in `data`: PUBLISH into `arrived`, others to paho. What is left becomes the first piece.

        One flat loop, written for speed: it runs once a message.
        """
        arrived, is_5 = self.arrived, self._protocol == MQTTProtocolVersion.MQTTv5
        add_topic, add_payload, add_first = arrived.topics.append, arrived.payloads.append, arrived.first_bytes.append
        packet_ids, id_bytes_of = arrived.packet_ids, ID_BYTES
        position, end, wanted = 0, len(data), 2
        while end - position >= 2:
            first, length, start = data[position], data[position + 1], position + 2
            if length > 127:
                if start < end and (high := data[start]) < 128:  # two bytes: nearly always
                    length += (high << 7) - 128
                    start += 1
                else:
                    length, start = _long_length(data, position + 1)
                    if not start:
                        wanted = end - position + 1
                        break
            stop = start + length
            if stop > end:
                wanted = stop - position
                break
            position = stop
            id_bytes = id_bytes_of[first]
            if id_bytes > 2:
                rc = self._hand_over(first, data[start:stop])
                if rc != MQTTErrorCode.MQTT_ERR_SUCCESS or self._sock is None:
                    return rc
                continue
            topic_end = start + 2 + (data[start] << 8 | data[start + 1])
            at = topic_end + id_bytes
            if is_5:
                properties = at
                at = at + 1 if data[at] == 0 else _after_properties(data, at)
                if at - properties > 1 and at <= stop:
                    arrived.add_properties(data[properties:at])
            if at > stop:
                raise MalformedPacket("PUBLISH shorter than its own lengths")
            add_topic(data[start + 2 : topic_end])
            packet_ids += data[topic_end : topic_end + 2] if id_bytes else NO_PACKET_ID
            add_first(first)
            add_payload(data[at:stop])
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
        shown = f"a packet that begins with {first:#04x} and has {len(body)} bytes"
        try:
            rc = self._packet_handle()
        except MalformedPacket as err:
            raise MalformedPacket(f"{shown} ({err})") from err
        if rc == MQTTErrorCode.MQTT_ERR_PROTOCOL:
            raise MalformedPacket(shown)
        return rc


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
