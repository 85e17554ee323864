"""`/api/trace`, `/api/messages`: from a number to its bytes, and from bytes to what became of them."""

from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any

from fastapi import APIRouter, Query

from sensor_platform.api.context import Platform
from sensor_platform.api.errors import ApiError
from sensor_platform.pipeline.lineage import became
from sensor_platform.pipeline.readings import trace as trace_reading
from sensor_platform.pipeline.received import received
from sensor_platform.routes.filters import TopicFilter, parse_filter

router = APIRouter()


@router.get("/api/trace")
def trace(
    platform: Platform,
    sensor: Annotated[str, Query(description="WORK_UNIT/NAME, or NAME where it is unique")],
    metric: str,
    time: datetime,
) -> Any:
    """Every reading of the metric at that time, with the message that it came from and what made it."""
    return _finite(trace_reading(platform.database, platform.staging, sensor, metric, _aware(time)))


@router.get("/api/messages")
def messages(
    platform: Platform,
    *,
    topic: Annotated[str, Query(description="a topic, or a filter")],
    start: Annotated[datetime, Query(alias="from")],
    end: Annotated[datetime | None, Query(alias="to")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[dict[str, Any]]:
    """The first messages that were received on the topic in that time."""
    until = datetime.now(UTC) if end is None else _aware(end)
    topics = _topics(topic)
    return received(platform.database, platform.staging, topics, start=_aware(start), end=until, limit=limit)


@router.get("/api/messages/{micro_batch}/{sequence}")
def message(micro_batch: str, sequence: int, platform: Platform) -> Any:
    """What became of one message."""
    context = platform
    found = became(context.database, context.staging, context.routes, micro_batch, sequence, settings=context.settings)
    return _finite(found)


def _topics(topic: str) -> TopicFilter:
    try:
        return parse_filter(topic)
    except ValueError as err:
        raise ApiError(422, f"topic {topic}: {err}", do="give a topic or a filter, as a/+/b/#") from err


def _aware(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinities: such a value is null."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not isfinite(value) else value
