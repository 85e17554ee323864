"""Series: the integer key of one metric of one sensor, its unit and its limits. Registered when first seen.

Registered before the load, in a transaction of its own and in sorted order: two processes that meet the same new sensor
wait for each other for milliseconds and never deadlock. A series without readings, left by a crash, harms nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from sensor_platform.database.raw import statement

#: work unit, sensor, metric
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Series:
    """What the tables know of one series."""

    id: int
    unit: str | None
    minimum: float | None
    maximum: float | None
    conflicts: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What accepted readings say of a series: the first unit that they name, and the policy of their route."""

    key: Key
    unit: str | None
    conflicts: str


def look_up(connection: sa.Connection, keys: Collection[Key]) -> dict[Key, Series]:
    """Those of `keys` that are registered."""
    if not keys:
        return {}
    rows = connection.execute(_LOOK_UP, _columns(list(keys)))
    return {
        (row.work_unit, row.sensor, row.metric): Series(row.id, row.unit, row.minimum, row.maximum, row.conflicts)
        for row in rows
    }


def register(connection: sa.Connection, seen: Sequence[Seen]) -> None:
    """Registers what is new, notes the first unit of a series that had none, and follows the routes' policies."""
    if not seen:
        return
    ordered = sorted(seen, key=lambda one: one.key)
    parameters = {
        **_columns([one.key for one in ordered]),
        "units": [one.unit for one in ordered],
        "conflicts": [one.conflicts for one in ordered],
    }
    for step in _REGISTER:
        connection.execute(step, parameters)


def _columns(keys: Sequence[Key]) -> dict[str, list[str]]:
    work_units, sensors, metrics = zip(*keys, strict=True)
    return {"work_units": list(work_units), "sensors": list(sensors), "metrics": list(metrics)}


_LOOK_UP = statement("sensor_platform.pipeline", "look_up_series")
_REGISTER = [
    statement("sensor_platform.pipeline", name)
    for name in ("register_work_units", "register_sensors", "register_series", "update_series")
]
