"""Reading through paho's public API alone: what the collector falls back on when paho's private parts have changed.

Slower by a factor of ten or more, since each message is an object, a callback and a write; the same guarantees. What
paho refuses to decode ends the connection: a property with invalid UTF-8, an empty topic on MQTT 3.1.1.
"""

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode

from sensor_platform.mqtt.arrived import READ_BYTES, Arrived

PUBLISH = 0x30


class StockClient(Client):
    """Collects messages in `arrived`; acknowledges nothing by itself. No threads: its owner runs the loop."""

    malformed: str | None = None  # what is no MQTT: paho keeps that to itself too
    arrived: Arrived
    socket_error: OSError | None

    def start_reading(self) -> None:
        """To be called before each connect: nothing of an earlier connection is left."""
        self.arrived = Arrived()
        self.socket_error = None  # paho keeps it to itself
        self.manual_ack_set(True)
        self.on_message = _collect

    def take(self) -> Arrived:
        """What arrived, handed over."""
        taken, self.arrived = self.arrived, Arrived()
        return taken

    def abort(self) -> None:
        """Closes the socket as it is."""
        sock = self.socket()
        if sock is not None:
            sock.close()

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """As long as messages come, 256 KB at most. paho reads one packet a call, and does not say whether it did."""
        while True:
            before = len(self.arrived)
            rc = super().loop_read(max_packets)
            nothing_came = len(self.arrived) == before
            if rc != MQTTErrorCode.MQTT_ERR_SUCCESS or nothing_came or self.arrived.size_bytes >= READ_BYTES:
                return rc

    def acknowledge(self, taken: Arrived) -> None:
        """In received order, a write each. QoS 2: a PUBCOMP, since paho sent the PUBREC before we saw the message."""
        for packet_id, first in zip(taken.ids.tolist(), taken.first_bytes, strict=True):
            if qos := first >> 1 & 3:
                self.ack(packet_id, qos)


def _collect(client: Client, userdata: object, message: MQTTMessage) -> None:
    """Keeps a message in the form in which the wire brought it."""
    assert isinstance(client, StockClient)
    arrived, topic = client.arrived, _topic(message)
    properties = message.properties
    if properties is not None:
        if (content_type := getattr(properties, "ContentType", None)) is not None:
            arrived.content_types[len(arrived)] = content_type
        if user_properties := getattr(properties, "UserProperty", None):
            arrived.user_properties[len(arrived)] = list(user_properties)
    arrived.topics.append(topic)
    arrived.packet_ids += message.mid.to_bytes(2, "big") if message.qos else b"\0\0"
    arrived.first_bytes.append(PUBLISH | message.dup << 3 | message.qos << 1 | message.retain)
    arrived.payloads.append(bytes(message.payload))
    arrived.size_bytes += len(topic) + len(message.payload)


def _topic(message: MQTTMessage) -> bytes:
    """Its bytes, whatever they are: their UTF-8 is judged in the pipeline."""
    try:
        return message.topic.encode()
    except UnicodeDecodeError as err:
        return bytes(err.object)
