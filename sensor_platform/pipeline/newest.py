"""The newest rows of a table with the names that people know, for who looks at it without asking a question."""

from typing import Any, Literal

import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import (
    dead_letter,
    dead_letter_message,
    metrics_daily,
    metrics_hourly,
    metrics_minute,
    sensor,
    series,
    work_unit,
)

Rows = list[dict[str, Any]]
RollupLevel = Literal["minute", "hour", "day"]

_TABLES: dict[RollupLevel, sa.Table] = {"minute": metrics_minute, "hour": metrics_hourly, "day": metrics_daily}


def newest_letters(database: Database, *, limit: int) -> Rows:
    """Dead letters as they were written, the newest first; `topic` is text as far as it is UTF-8."""
    query = (
        sa.select(
            dead_letter.c.id,
            dead_letter_message.c.received_at,
            dead_letter.c.state,
            dead_letter.c.code,
            dead_letter.c.detail,
            dead_letter_message.c.topic,
        )
        .join_from(dead_letter, dead_letter_message)
        .order_by(dead_letter.c.id.desc())
        .limit(limit)
    )
    with database.read_only() as connection:
        rows = connection.execute(query).mappings().all()
    return [{**row, "topic": bytes(row["topic"]).decode("utf-8", "replace")} for row in rows]


def newest_rollups(database: Database, level: RollupLevel, *, limit: int) -> Rows:
    """Rows of the newest buckets, the newest first."""
    table = _TABLES[level]
    newest = sa.select(table).order_by(table.c.bucket.desc()).limit(limit).subquery()
    query = (
        sa.select(
            newest.c.bucket,
            work_unit.c.name.label("work_unit"),
            sensor.c.name.label("sensor"),
            series.c.metric,
            series.c.unit,
            *(newest.c[name] for name in ("count", "min", "mean", "max")),
        )
        .join_from(newest, series, series.c.id == newest.c.series)
        .join(sensor)
        .join(work_unit)
        .order_by(newest.c.bucket.desc(), "work_unit", "sensor", series.c.metric)
    )
    with database.read_only() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def newest_readings(database: Database, *, limit: int) -> Rows:
    """The newest reading of each of the series that were last heard of, by event time, the newest first."""
    with database.read_only() as connection:
        return [dict(row) for row in connection.execute(_NEWEST_READINGS, {"limit": limit}).mappings()]


_NEWEST_READINGS = statement("sensor_platform.pipeline", "newest_readings")
