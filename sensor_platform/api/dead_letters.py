"""`/api/mqtt/deadletter`: look at what was refused, try it again, or discard it with a reason."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from sensor_platform.api.context import Platform
from sensor_platform.dead_letters import store
from sensor_platform.dead_letters.retry import retry as retry_letters
from sensor_platform.dead_letters.states import State
from sensor_platform.errors import Stage

router = APIRouter()

#: In one request.
MAX_LETTERS = 1000
Ids = Annotated[list[int], Field(min_length=1, max_length=MAX_LETTERS)]


class Discard(BaseModel):
    """Which, and why: the reason stays with the letter."""

    model_config = ConfigDict(extra="forbid")

    ids: Ids
    why: str = Field(min_length=1, max_length=1000)


class Retry(BaseModel):
    """Which; without `ids` those that are due. `dry_run` only says what would become of them."""

    model_config = ConfigDict(extra="forbid")

    ids: Ids | None = None
    dry_run: bool = False
    limit: int = Field(MAX_LETTERS, ge=1, le=MAX_LETTERS)


@router.get("/api/mqtt/deadletter")
def letters(
    platform: Platform,
    *,
    state: Annotated[list[State] | None, Query()] = None,
    stage: Annotated[list[Stage] | None, Query()] = None,
    code: Annotated[list[str] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LETTERS)] = 100,
    after: Annotated[int | None, Query(description="`next` of the page before")] = None,
) -> dict[str, Any]:
    """Dead letters, the newest first. Filters may be given several times; `next` is null on the last page."""
    found = store.list_letters(platform.database, states=state, stages=stage, codes=code, limit=limit + 1, after=after)
    page = found[:limit]
    return {
        "dead_letters": page,
        "next": page[-1]["id"] if len(found) > limit else None,
        "counts": store.counts(platform.database),
    }


@router.delete("/api/mqtt/deadletter")
def discard(request: Discard, platform: Platform) -> dict[str, Any]:
    """Marks them; their bytes stay."""
    done = store.discard(platform.database, request.ids, by="api", why=request.why)
    return {"discarded": done}


@router.post("/api/mqtt/deadletter/retry")
def retry(request: Retry, platform: Platform) -> dict[str, Any]:
    """Decodes them again with today's routes and transformers."""
    report = retry_letters(
        platform.database,
        platform.routes,
        settings=platform.settings,
        ids=request.ids,
        limit=request.limit,
        dry_run=request.dry_run,
        by="api",
    )
    return asdict(report)
