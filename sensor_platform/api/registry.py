"""`/api/sensors`, `/api/work-units` and `/api/registry/history`: the registry, to read. It is edited by commands."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from sensor_platform.api.context import Platform
from sensor_platform.pipeline.registry import history, list_series, list_work_units

router = APIRouter()


@router.get("/api/sensors")
def sensors(
    platform: Platform,
    declared: Annotated[bool | None, Query(description="only those that a person declared, or that nobody did")] = None,
    seen: Annotated[bool | None, Query(description="only those of which a reading came, or none did")] = None,
) -> list[dict[str, Any]]:
    """A row a series, by name; one without a metric for a declared sensor of which none is known."""
    return [
        row
        for row in list_series(platform.database)
        if declared in (None, row["declared"]) and seen in (None, row["seen"])
    ]


@router.get("/api/work-units")
def work_units(platform: Platform) -> list[dict[str, Any]]:
    """Every place of the plant with its level, its path from the top and the number of its own sensors."""
    return list_work_units(platform.database)


@router.get("/api/registry/history")
def registry_history(
    platform: Platform,
    name: Annotated[str | None, Query(description="WORK_UNIT/NAME, a sensor or a work unit")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000, description="changes")] = 100,
) -> list[dict[str, Any]]:
    """What people changed, the newest first."""
    return history(platform.database, name=name, limit=limit)
