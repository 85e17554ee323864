"""`/api/mqtt/subscriptions`: what the collectors subscribe to, changed while they run."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from sensor_platform.api.context import Platform
from sensor_platform.database.subscriptions import add, listed, remove
from sensor_platform.mqtt.subscriptions import MOST_ADDED

router = APIRouter()


class Filters(BaseModel):
    """A batch: all of it, or nothing where one is refused."""

    model_config = ConfigDict(extra="forbid")

    filters: list[Annotated[str, Field(max_length=65_535)]] = Field(min_length=1, max_length=MOST_ADDED)


@router.get("/api/mqtt/subscriptions")
def subscriptions(platform: Platform) -> dict[str, Any]:
    """Filters of the routes and added ones, with what the broker answered each running collector."""
    return {"subscriptions": [each.as_dict() for each in listed(platform.database, platform.routes)]}


@router.post("/api/mqtt/subscriptions")
def subscribe(platform: Platform, batch: Filters) -> dict[str, Any]:
    """Every collector takes them up within a second."""
    changed = add(platform.database, platform.routes, batch.filters, by="api")
    return {"added": changed.filters, "notes": changed.notes}


@router.delete("/api/mqtt/subscriptions")
def unsubscribe(platform: Platform, batch: Filters) -> dict[str, Any]:
    """Only what was added: filters of routes go with their route."""
    changed = remove(platform.database, platform.routes, batch.filters)
    return {"removed": changed.filters, "notes": changed.notes}
