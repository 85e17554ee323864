"""The history of the collectors' connections: since when, how often lost, why."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sensor_platform.database.tables import collector_connection

if TYPE_CHECKING:
    from sensor_platform.database.engine import Database

_columns = collector_connection.c
COLUMNS = ("at", "collector", "event", "kind", "reason", "broker", "protocol", "session_present", "pid")


def listed(database: "Database", *, collector: str | None = None, limit: int) -> list[dict[str, Any]]:
    """Events, the newest first."""
    query = sa.select(*[_columns[name] for name in COLUMNS]).order_by(_columns.id.desc()).limit(limit)
    if collector is not None:
        query = query.where(_columns.collector == collector)
    with database.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def summary(connection: sa.Connection, collector: str, *, now: datetime) -> dict[str, Any]:
    """`connected_since`, `lost_24h` and `last_lost` of one collector, as far back as its history goes."""
    own = sa.select(_columns.at, _columns.event, _columns.kind, _columns.reason).where(_columns.collector == collector)
    newest = connection.execute(own.order_by(_columns.id.desc()).limit(1)).one_or_none()
    lost = own.where(_columns.event == "lost").order_by(_columns.id.desc())
    last = connection.execute(lost.limit(1)).one_or_none()
    recent = sa.select(sa.func.count()).select_from(lost.where(_columns.at > now - timedelta(days=1)).subquery())
    return {
        "connected_since": newest.at if newest is not None and newest.event == "connected" else None,
        "lost_24h": connection.execute(recent).scalar_one(),
        "last_lost": {"at": last.at, "kind": last.kind, "reason": last.reason} if last is not None else None,
    }
