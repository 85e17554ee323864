"""A message to publish: topic, payload, QoS, retain and MQTT 5 properties, checked before anything is sent.

What a broker would answer with a cut connection (a wildcard, U+0000, a string too long) is an error here, at its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from sensor_platform.errors import InvalidMessageError

#: A string or binary field has two bytes of length.
GREATEST_FIELD_BYTES = 65_535
#: The remaining length of a packet has four bytes of seven bits.
GREATEST_PACKET_BYTES = 268_435_455
GREATEST_EXPIRY_S = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class MessageProperties:
    """The MQTT 5 properties of a message; those left out are not sent. MQTT 3.1.1 has none.

    Args:
        content_type: such as "application/json".
        user_properties: (name, value) pairs, kept in order; a name may come again.
        message_expiry_s: seconds after which the broker gives the message to nobody any more.
        response_topic: where an answer is expected.
        correlation_data: bytes that the answer repeats.
        is_text: True says that the payload is UTF-8, False that it is bytes (the payload format indicator).

    Raises:
        InvalidMessageError: a value that MQTT cannot carry.
    """

    content_type: str | None = None
    user_properties: Sequence[tuple[str, str]] = ()
    message_expiry_s: int | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    is_text: bool | None = None

    def __post_init__(self) -> None:
        if self.content_type is not None:
            _check_text("content type", self.content_type)
        for name, value in self.user_properties:
            _check_text("user property", name)
            _check_text(f'user property "{name}"', value)
        if self.message_expiry_s is not None and not 0 <= self.message_expiry_s <= GREATEST_EXPIRY_S:
            raise InvalidMessageError(
                f"message expiry {self.message_expiry_s}: accepted are whole seconds from 0 to {GREATEST_EXPIRY_S}"
            )
        if self.response_topic is not None:
            check_topic(self.response_topic, what="response topic")
        if self.correlation_data is not None and len(self.correlation_data) > GREATEST_FIELD_BYTES:
            raise InvalidMessageError(
                f"correlation data of {len(self.correlation_data)} bytes: {GREATEST_FIELD_BYTES} at most"
            )

    def __bool__(self) -> bool:
        return bool(self.names())

    def names(self) -> list[str]:
        """Those that are set."""
        given = {name: getattr(self, name) for name in self.__slots__}
        return [name for name, value in given.items() if value not in (None, ())]

    def to_paho(self) -> Properties:
        """Those that are set, as a PUBLISH carries them."""
        sent = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if self.content_type is not None:
            sent.ContentType = self.content_type
        if self.user_properties:
            sent.UserProperty = list(self.user_properties)
        if self.message_expiry_s is not None:
            sent.MessageExpiryInterval = self.message_expiry_s
        if self.response_topic is not None:
            sent.ResponseTopic = self.response_topic
        if self.correlation_data is not None:
            sent.CorrelationData = self.correlation_data
        if self.is_text is not None:
            sent.PayloadFormatIndicator = int(self.is_text)
        return sent


NO_PROPERTIES = MessageProperties()


@dataclass(frozen=True, slots=True)
class Message:
    """What is published. Raises InvalidMessageError for what MQTT cannot carry."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    properties: MessageProperties = NO_PROPERTIES

    def __post_init__(self) -> None:
        check_topic(self.topic)
        if self.qos not in (0, 1, 2):
            raise InvalidMessageError(f'"{self.topic}": QoS {self.qos}: accepted are 0, 1 and 2')
        if self.size_bytes > GREATEST_PACKET_BYTES:
            raise InvalidMessageError(
                f'"{self.topic}": a message of {self.size_bytes} bytes: MQTT carries {GREATEST_PACKET_BYTES} at most'
            )
        if self.properties.is_text:
            _check_is_text(self.topic, self.payload)

    @property
    def size_bytes(self) -> int:
        """Of topic, payload and properties; a little less than the packet."""
        own = len(self.topic.encode()) + len(self.payload) + 7  # two lengths, packet id, length of the properties
        return own + (len(self.properties.to_paho().pack()) if self.properties else 0)  # type: ignore[no-untyped-call]


def check_topic(topic: str, *, what: str = "topic") -> str:
    """A topic that a message may be published to [MQTT-3.3.2-2]. Raises InvalidMessageError."""
    if not topic:
        raise InvalidMessageError(f"the {what} is empty")
    if "+" in topic or "#" in topic:
        raise InvalidMessageError(f'{what} "{topic}": the wildcards + and # are for subscriptions')
    _check_text(what, topic)
    return topic


def _check_text(what: str, text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as err:
        raise InvalidMessageError(f"{what} {text!a}: not valid UTF-8: {err.reason}") from err
    if "\0" in text:
        raise InvalidMessageError(f"{what} {text!a}: MQTT strings cannot hold U+0000")
    if size > GREATEST_FIELD_BYTES:
        raise InvalidMessageError(f"{what} of {size} bytes: {GREATEST_FIELD_BYTES} at most")


def _check_is_text(topic: str, payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError as err:
        raise InvalidMessageError(
            f'"{topic}": the payload format says text, but byte {err.start} is not UTF-8: {err.reason}'
        ) from err
