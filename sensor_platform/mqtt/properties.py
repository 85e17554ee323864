"""The MQTT 5 properties of a PUBLISH: content type and user properties are kept, the others skipped.

paho's Properties object costs more than all the rest of a message. And what is malformed here must not end the
connection: the message would come again, and end the next one.
"""

from dataclasses import dataclass, field

CONTENT_TYPE = 0x03
USER_PROPERTY = 0x26
SUBSCRIPTION_IDENTIFIER = 0x0B
#: Payload format, message expiry, topic alias: their sizes.
FIXED_SIZES = {0x01: 1, 0x02: 4, 0x23: 2}
#: Content type, response topic, correlation data: two bytes of length, then the value.
SIZED = frozenset({CONTENT_TYPE, 0x08, 0x09})


@dataclass(slots=True)
class PublishProperties:
    """What a message says of itself beside topic and payload."""

    content_type: str | None = None
    user_properties: list[tuple[str, str]] = field(default_factory=list)


def publish_properties(section: bytes) -> PublishProperties:
    """Reads the section, its length included. Stops at the first thing that is not as the standard says."""
    found = PublishProperties()
    at = _after_number(section, 0)
    while at < len(section):
        identifier, at = section[at], at + 1
        if identifier in FIXED_SIZES:
            at += FIXED_SIZES[identifier]
        elif identifier in SIZED:
            value, at = _sized(section, at)
            if identifier == CONTENT_TYPE:
                found.content_type = value
        elif identifier == USER_PROPERTY:
            name, at = _sized(section, at)
            value, at = _sized(section, at)
            found.user_properties.append((name, value))
        elif identifier == SUBSCRIPTION_IDENTIFIER:
            at = _after_number(section, at)
        else:
            break
    return found


def _after_number(section: bytes, at: int) -> int:
    while at < len(section) and section[at] > 127:
        at += 1
    return at + 1


def _sized(section: bytes, at: int) -> tuple[str, int]:
    start = at + 2
    end = start + int.from_bytes(section[at:start], "big")
    return section[start:end].decode(errors="replace"), end
