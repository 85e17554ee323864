"""`/api/last`: the newest reading of each series, with its age and quality."""

from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any

from fastapi import APIRouter, Query

from sensor_platform.api.context import Platform
from sensor_platform.pipeline.last import last_values

router = APIRouter()


@router.get("/api/last")
def last(
    platform: Platform,
    sensor: Annotated[str | None, Query(description="WORK_UNIT/NAME, or NAME where it is unique")] = None,
    metric: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000, description="series")] = 1000,
) -> list[dict[str, Any]]:
    """A row a series, by name. JSON has no NaN and no infinities: such a value is null."""
    rows = last_values(platform.database, now=datetime.now(UTC), sensor=sensor, metric=metric, limit=limit)
    return [{**row, "value": _finite(row["value"])} for row in rows]


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
