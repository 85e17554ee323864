"""Messages as they came, to readings as clients get them: the same routes and transformers as the durable path."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import orjson
import pyarrow as pa

from sensor_platform.live.channels import Channels
from sensor_platform.live.definitions import HeardDefinitions
from sensor_platform.live.hub import LiveReading
from sensor_platform.pipeline.decode import decode
from sensor_platform.routes.model import Routes
from sensor_platform.staging.format import SCHEMA
from sensor_platform.transformers.contract import Quality


@dataclass(frozen=True, slots=True)
class LiveMessage:
    """What the live path keeps of a PUBLISH."""

    topic: bytes
    payload: bytes
    retain: bool
    received_at: datetime


def readings_of(
    messages: list[LiveMessage],
    routes: Routes,
    channels: Channels,
    *,
    max_payload_bytes: int,
    definitions: HeardDefinitions,
) -> tuple[list[LiveReading], int]:
    """Readings in received order, and how many refusals there were. Validation is the durable path's business."""
    decoded = decode(_table(messages), routes, max_payload_bytes=max_payload_bytes, definitions_of=definitions.of)
    definitions.learn(decoded.definitions)
    channel_of = [_channel(message.topic, channels) for message in messages]
    found = [
        LiveReading(channel, orjson.dumps(_reading(row, channel)))
        for row in decoded.readings.to_dict("records")
        if (channel := channel_of[row["message"]]) is not None
    ]
    return found, len(decoded.refusals)


def _channel(topic: bytes, channels: Channels) -> str | None:
    return channels.of(topic.decode(errors="replace"))


def _reading(row: Mapping[Hashable, Any], channel: str) -> dict[str, Any]:
    value = row["value"]
    return {
        "channel": channel,
        "work_unit": row["work_unit"],
        "sensor": row["sensor"],
        "metric": row["metric"],
        "time": datetime.fromtimestamp(row["time"] / 1_000_000, UTC).isoformat(),
        "value": float(value) if isfinite(value) else None,
        "text": _or_none(row["text"]),
        "unit": _or_none(row["unit"]),
        "quality": Quality(row["quality"]).name.lower(),
    }


def _or_none(value: object) -> str | None:
    """pandas says NaN where there is no string."""
    return value if isinstance(value, str) else None


def _table(messages: list[LiveMessage]) -> pa.Table:
    count = len(messages)
    columns: dict[str, list[Any]] = {
        "sequence": list(range(count)),
        "received_at": [message.received_at for message in messages],
        "topic": [message.topic for message in messages],
        "payload": [message.payload for message in messages],
        "qos": [0] * count,
        "retain": [message.retain for message in messages],
        "dup": [False] * count,
        "packet_id": [None] * count,
        "connection": [0] * count,
        "redelivery_of": [None] * count,
        "content_type": [None] * count,
        "user_properties": [None] * count,
    }
    return pa.Table.from_pydict(columns, schema=SCHEMA)
