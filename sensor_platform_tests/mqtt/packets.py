"""MQTT packets, written out by hand."""


def publish(
    topic: bytes, payload: bytes, *, first: int = 0x32, packet_id: int = 1, properties: bytes | None = None
) -> bytes:
    """A PUBLISH packet, written out by hand."""
    body = len(topic).to_bytes(2, "big") + topic
    if first & 0x06:
        body += packet_id.to_bytes(2, "big")
    if properties is not None:
        body += variable(len(properties)) + properties
    body += payload
    return bytes([first]) + variable(len(body)) + body


def variable(number: int) -> bytes:
    digits = bytearray()
    while True:
        number, digit = divmod(number, 128)
        digits.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(digits)
