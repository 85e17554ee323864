"""`/api/mqtt`: how collecting goes, and the API's own start and stop.

Start and stop are one of two standing wishes in the control row; the other is the switch of `mqtt_sensor` in Dagster.
The collector collects when both are on, so a start while that switch is off could only pretend: it is refused.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter
from sqlalchemy.dialects.postgresql import insert

from sensor_platform.api.context import Context, Platform
from sensor_platform.api.errors import ApiError
from sensor_platform.database.engine import Database
from sensor_platform.database.tables import collector_control, collector_heartbeat
from sensor_platform.embedded.run_file import read_run_file
from sensor_platform.errors import ObjectStoreError
from sensor_platform.health.alerts import firing
from sensor_platform.pipeline.accounting import totals
from sensor_platform.pipeline.process import pending_lately

router = APIRouter()


@router.get("/api/mqtt")
def status(platform: Platform) -> dict[str, Any]:
    """Collectors, wishes, what became of the messages, and the live stream."""
    messages, readings, waiting = totals(platform.database)
    return {
        "wishes": _wishes(platform.database),
        "collectors": collectors(platform.database),
        "messages": {**asdict(messages), "pending_micro_batches": _pending(platform)},
        "readings": asdict(readings),
        "dead_letters_pending": waiting,
        "alerts_firing": firing(platform.database),
        "live": {**asdict(platform.bridge.health), "clients": len(platform.hub)},
        "dagster_url": dagster_url(platform),
    }


@router.post("/api/mqtt")
def start(platform: Platform) -> dict[str, Any]:
    """Wishes for collecting; 409 while `mqtt_sensor` is switched off."""
    if not _wishes(platform.database)["sensor_on"]:
        raise ApiError(
            409,
            "mqtt_sensor is switched off in Dagster, and collecting needs both wishes",
            do="switch mqtt_sensor on in the Dagster UI (Automation), then start again",
        )
    return _wish(platform.database, api_on=True)


@router.delete("/api/mqtt")
def stop(platform: Platform) -> dict[str, Any]:
    """Wishes for no collecting: the collector drains, seals and waits; the broker keeps what arrives meanwhile."""
    return _wish(platform.database, api_on=False)


def collectors(database: Database) -> list[dict[str, Any]]:
    """The last heartbeat of each collector."""
    query = sa.select(collector_heartbeat).order_by(collector_heartbeat.c.collector)
    with database.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def dagster_url(platform: Context) -> str | None:
    """Where the Dagster UI of this home answers, if it runs."""
    running = read_run_file(platform.settings.home)
    return running.dagster_url if running is not None else None


def _pending(platform: Context) -> int | None:
    """Micro-batches of the last hours that wait to be loaded; None while the object store does not answer."""
    try:
        return len(pending_lately(platform.staging, platform.database, now=datetime.now(UTC)))
    except ObjectStoreError:
        return None


def _wishes(database: Database) -> dict[str, Any]:
    """Both wishes; nobody ever wished: both are on."""
    columns = collector_control.c
    query = sa.select(columns.sensor_on, columns.api_on, columns.changed_at, columns.changed_by)
    with database.connect() as connection:
        row = connection.execute(query).mappings().one_or_none()
    return dict(row) if row else {"sensor_on": True, "api_on": True, "changed_at": None, "changed_by": None}


def _wish(database: Database, *, api_on: bool) -> dict[str, Any]:
    values: dict[str, Any] = {"api_on": api_on, "changed_by": "api"}
    new = insert(collector_control).values(**values)
    changed = new.on_conflict_do_update(
        index_elements=[collector_control.c.only],
        set_={**values, "changed_at": sa.func.now()},
        where=collector_control.c.api_on.is_distinct_from(new.excluded.api_on),
    )
    with database.begin() as connection:
        connection.execute(changed)
    return {"wishes": _wishes(database)}
