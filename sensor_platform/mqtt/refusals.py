"""What the broker's answer to a PUBLISH means: the reason codes of PUBACK, PUBREC and PUBCOMP [MQTT 5, 3.4.2.1]."""

from sensor_platform.errors import BrokerError, MessageRefusedError, NoMatchingSubscribersError, QuotaExceededError

NO_MATCHING_SUBSCRIBERS = 0x10
FIRST_FAILURE = 0x80
QUOTA_EXCEEDED = 0x97
REFUSALS = {
    0x83: "implementation specific error",
    0x87: "not authorised to publish there",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x92: "packet identifier not found",
    QUOTA_EXCEEDED: "quota exceeded",
    0x99: "payload format invalid",
}


def refusal(topic: str, code: int) -> BrokerError | None:
    """The error of a reason code; None when the broker took the message."""
    if code == NO_MATCHING_SUBSCRIBERS:
        return NoMatchingSubscribersError(f'"{topic}": nobody subscribes to it, nothing would have kept the message')
    if code < FIRST_FAILURE:
        return None
    kind = QuotaExceededError if code == QUOTA_EXCEEDED else MessageRefusedError
    name = REFUSALS.get(code, "unspecified")
    return kind(f'"{topic}": the broker refused the message: {name} (0x{code:02X})')
