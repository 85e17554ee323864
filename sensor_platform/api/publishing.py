"""`POST /api/mqtt/publish`: one message to the broker, confirmed before we answer."""

from base64 import b64decode
from binascii import Error as Base64Error
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sensor_platform.api.context import Platform
from sensor_platform.mqtt.publisher import Publisher

router = APIRouter()

CONFIRM_TIMEOUT_S = 10


class Publish(BaseModel):
    """The message: its payload as text, or as base64 where it is not text."""

    model_config = ConfigDict(extra="forbid")

    topic: str = Field(min_length=1, max_length=65_535)
    payload: str | None = None
    payload_base64: str | None = None
    qos: Literal[0, 1, 2] = 1
    retain: bool = False

    @model_validator(mode="after")
    def _one_payload(self) -> "Publish":
        if (self.payload is None) == (self.payload_base64 is None):
            raise ValueError("give payload or payload_base64, and not both")
        if any(c in self.topic for c in "+#\0"):
            raise ValueError("topic: no wildcard and no U+0000 in a topic to publish to")
        self.data()
        return self

    def data(self) -> bytes:
        """The payload's bytes."""
        if self.payload_base64 is None:
            return (self.payload or "").encode()
        try:
            return b64decode(self.payload_base64, validate=True)
        except Base64Error as err:
            raise ValueError(f"payload_base64: {err}") from err


@router.post("/api/mqtt/publish", status_code=201)
def publish(message: Publish, platform: Platform) -> dict[str, Any]:
    """`confirmed`: the broker has it and somebody subscribes to it. At QoS 0 nobody can say."""
    with Publisher(platform.settings, stall_timeout_s=CONFIRM_TIMEOUT_S) as publisher:
        future = publisher.publish(message.topic, message.data(), qos=message.qos, retain=message.retain)
        future.result(CONFIRM_TIMEOUT_S)
    return {"topic": message.topic, "bytes": len(message.data()), "qos": message.qos, "confirmed": message.qos > 0}
