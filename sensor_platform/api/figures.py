"""Health without a token, figures over time, newest readings, alerts: what the page draws."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, TypeVar

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response

from sensor_platform.api.collecting import collectors
from sensor_platform.api.context import Context, Platform
from sensor_platform.database.tables import health
from sensor_platform.embedded.run_file import read_run_file
from sensor_platform.errors import DatabaseUnavailableError
from sensor_platform.health.alerts import listed
from sensor_platform.health.figures import COUNTERS, measure

router = APIRouter()
T = TypeVar("T")

#: Anybody may ask for health: the database is asked once in this time, however many do.
HEALTH_FOR_S = 1.0
#: A collector that was silent for longer does not answer.
SILENT_AFTER_S = 15.0
#: Parts of `up` that only its supervisor watches.
RUN_PARTS = ("code_server", "daemon", "webserver")


class Remembered(Generic[T]):
    """An answer that stays good for a while; while one caller gets a new one the others wait for it."""

    def __init__(self, ask: Callable[[], T], *, for_s: float) -> None:
        self._ask, self._for_s = ask, for_s
        self._lock = threading.Lock()
        self._answer: tuple[float, T] | None = None

    def __call__(self) -> T:
        with self._lock:
            if self._answer is None or time.monotonic() - self._answer[0] > self._for_s:
                self._answer = (time.monotonic(), self._ask())
            return self._answer[1]


@router.get("/api/mqtt/health")
def health_now(request: Request, response: Response) -> dict[str, Any]:
    """Whether every part answers, and the figures; 503 when one does not. No token: nothing in it names the plant."""
    answer: dict[str, Any] = request.app.state.health()
    response.status_code = 200 if answer["ready"] else 503
    return answer


@router.get("/api/figures")
def figures(platform: Platform, minutes: Annotated[int, Query(ge=1, le=1440)] = 15) -> dict[str, Any]:
    """The recorded figures of the last minutes: `{figure: {subject: [[time, value], ...]}}`, oldest first."""
    since = datetime.now(UTC) - timedelta(minutes=minutes)
    query = sa.select(health.c.figure, health.c.subject, health.c.at, health.c.value)
    found: dict[str, dict[str, list[Any]]] = {}
    with platform.database.connect() as connection:
        for figure, subject, at, value in connection.execute(query.where(health.c.at >= since).order_by(health.c.at)):
            found.setdefault(figure, {}).setdefault(subject, []).append([at, value])
    return found


@router.get("/api/readings")
def readings(
    platform: Platform,
    limit: Annotated[int, Query(ge=1, le=1000, description="series")] = 100,
    points: Annotated[int, Query(ge=1, le=500, description="readings of each")] = 60,
) -> list[dict[str, Any]]:
    """The newest readings of the series that were heard of last, out of the metric tables."""
    with platform.database.connect() as connection:
        rows = connection.execute(_NEWEST, {"limit": limit, "points": points}).mappings().all()
    return [dict(row) for row in rows]


@router.get("/api/alerts")
def alerts(platform: Platform, ended: bool = False) -> list[dict[str, Any]]:
    """Open alerts, and with `ended` those that were."""
    return listed(platform.database, ended=ended)


def health_of(platform: Context) -> dict[str, Any]:
    """The answer of `/api/mqtt/health`, also where the database does not answer."""
    now = datetime.now(UTC)
    running = read_run_file(platform.settings.home)
    others = {name: part.state for name, part in (running.parts if running else {}).items() if name in RUN_PARTS}
    parts = {"broker": "answers" if platform.bridge.health.connected else "does not answer"}
    found: dict[str, float | None] = {}
    try:
        for figure in measure(platform.database, platform.staging, now=now):
            if figure.figure not in COUNTERS:
                found[figure.figure] = _greater(found.get(figure.figure), figure.value)
        parts |= {"database": "answers", "collector": _collector(collectors(platform.database), now=now)}
    except DatabaseUnavailableError:
        parts |= {"database": "does not answer", "collector": "unknown"}
    ready = all(state in ("answers", "waiting", "running") for state in (parts | others).values())
    return {"ready": ready, "at": now, "parts": parts | others, "figures": found}


def _collector(beats: list[dict[str, Any]], *, now: datetime) -> str:
    """Of several, the one that is worst."""
    fresh = [beat for beat in beats if (now - beat["beat_at"]).total_seconds() <= SILENT_AFTER_S]
    if not fresh:
        return "does not answer"
    waiting = [beat for beat in fresh if beat["state"] == "waiting"]
    if any(not beat["connected"] for beat in fresh if beat not in waiting):
        return "not connected"
    return "waiting" if waiting else "answers"


def _greater(a: float | None, b: float | None) -> float | None:
    return max((value for value in (a, b) if value is not None), default=None)


# The mark bounds the search: a series whose newest reading is of 2013 is not looked for in every later partition.
_NEWEST = sa.text(
    """
    with newest as (
        select series, time from sensor_platform.high_water_mark order by time desc limit :limit
    )
    select work_unit.name as work_unit, sensor.name as sensor, series.metric, series.unit,
           (array_agg(reading.time order by reading.time desc))[1] as time,
           (array_agg(reading.value order by reading.time desc))[1] as value,
           (array_agg(reading.text order by reading.time desc))[1] as text,
           case (array_agg(reading.quality order by reading.time desc))[1]
               when 'g' then 'good' when 'u' then 'uncertain' else 'bad' end as quality,
           array_agg(array[extract(epoch from reading.time)::float8, reading.value] order by reading.time)
               filter (where reading.value is not null and reading.value = reading.value
                             and abs(reading.value) < 'infinity') as points
    from newest
    join sensor_platform.series on series.id = newest.series
    join sensor_platform.sensor on sensor.id = series.sensor_id
    join sensor_platform.work_unit on work_unit.id = sensor.work_unit_id
    cross join lateral (
        select metric.time, metric.value, metric.quality,
               case when metric.text <> '' or metric.value is null then metric.text end as text
        from sensor_platform.metric
        where metric.series = newest.series and metric.time <= newest.time
        order by metric.time desc limit :points
    ) reading
    group by work_unit.name, sensor.name, series.metric, series.unit, newest.time
    order by newest.time desc, work_unit.name, sensor.name, series.metric
    """
)
