"""The last value of each series, with its age: what a plant looks like now, and what has gone silent."""

from datetime import datetime
from typing import Any

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.pipeline.readings import find_sensor

COLUMNS = ("work_unit", "sensor", "metric", "time", "age_s", "value", "text", "unit", "quality")


def last_values(
    database: Database,
    *,
    now: datetime,
    sensor: str | None = None,
    metric: str | None = None,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """COLUMNS of the newest reading of each series, by name; of one sensor, or one metric, where they are given.

    `age_s` is `now` less the reading's time, in seconds; below 0 where the sensor's clock is ahead of ours. `value` is
    None where the reading is a text.

    Raises:
        UnknownSensorError: no sensor, or more than one, goes by that name.
    """
    with database.connect() as connection:
        unit, name = (None, None) if sensor is None else find_sensor(connection, sensor)
        wanted = {"work_unit": unit, "sensor": name, "metric": metric, "limit": limit}
        rows = connection.execute(_LAST, wanted).mappings().all()
    return [_with_age(dict(row), now) for row in rows]


def _with_age(row: dict[str, Any], now: datetime) -> dict[str, Any]:
    age_s = round((now - row["time"]).total_seconds(), 3)
    return {name: age_s if name == "age_s" else row[name] for name in COLUMNS}


_LAST = statement("sensor_platform.pipeline", "last")
