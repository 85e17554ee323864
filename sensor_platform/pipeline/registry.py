"""Sensors and places as people edit them: descriptions, limits, units, and the hierarchy of work units."""

import math
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.database.tables import sensor, series, work_unit
from sensor_platform.errors import SensorPlatformError
from sensor_platform.pipeline.readings import find_sensor
from sensor_platform.pipeline.series import Key, change_unit, look_up
from sensor_platform.transformers.units import AS_IT_IS, conversion

#: `series.unit_by` of a unit that was set by hand.
PERSON = "a person"


class UnknownSeriesError(SensorPlatformError):
    """The sensor has no such metric."""


class WorkUnitError(SensorPlatformError):
    """A work unit that is not there, or that would lie in itself."""


def list_series(database: Database) -> list[dict[str, Any]]:
    """Every series with its sensor and place, by name."""
    parent = work_unit.alias("parent")
    query = (
        sa.select(
            work_unit.c.name.label("work_unit"),
            sensor.c.name.label("sensor"),
            series.c.metric,
            series.c.unit,
            series.c.minimum,
            series.c.maximum,
            series.c.conflicts,
            sensor.c.description,
            parent.c.name.label("parent"),
        )
        .select_from(
            series.join(sensor)
            .join(work_unit, work_unit.c.id == sensor.c.work_unit_id)
            .outerjoin(parent, parent.c.id == work_unit.c.parent_id)
        )
        .order_by(work_unit.c.name, sensor.c.name, series.c.metric)
    )
    with database.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def set_sensor(
    database: Database,
    name: str,
    *,
    description: str | None = None,
    metric: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    unit: str | None = None,
) -> None:
    """Sets what is given; a NaN limit takes the limit away. Another unit converts the stored values, and the limits
    that stand; new limits are in the new unit.

    Raises:
        UnknownSensorError, UnknownSeriesError: there is no such sensor, or it has no such metric.
    """
    limits: dict[str, Any] = {
        key: None if math.isnan(value) else value
        for key, value in (("minimum", minimum), ("maximum", maximum))
        if value is not None
    }
    with database.begin() as connection:
        place, sensor_name = find_sensor(connection, name)
        found = sa.select(sensor.c.id).join(work_unit)
        found = found.where(work_unit.c.name == place, sensor.c.name == sensor_name)
        sensor_id = connection.execute(found).scalar_one()
        if description is not None:
            connection.execute(sa.update(sensor).where(sensor.c.id == sensor_id).values(description=description))
        if unit is not None:
            _set_unit(connection, (place, sensor_name, metric or ""), unit)
        if limits:
            which = sa.and_(series.c.sensor_id == sensor_id, series.c.metric == metric)
            if not connection.execute(sa.update(series).where(which).values(limits)).rowcount:
                raise _no_metric(place, sensor_name, metric)


def _set_unit(connection: sa.Connection, key: Key, unit: str) -> None:
    # Before the look: no load may bring values of the old unit meanwhile.
    locks.take(connection, locks.LOAD)
    known = look_up(connection, [key]).get(key)
    if known is None:
        raise _no_metric(*key)
    how = AS_IT_IS if known.unit is None else conversion(known.unit, unit)
    if known.unit is None or isinstance(how, str):
        # Nothing to convert by: a label. What named the old one is refused when its hours are loaded again.
        how = AS_IT_IS
    if known.unit is not None:
        change_unit(connection, known, unit, how, by=PERSON)
    connection.execute(sa.update(series).where(series.c.id == known.id).values(unit=unit, unit_by=PERSON))


def _no_metric(place: str, sensor_name: str, metric: str | None) -> UnknownSeriesError:
    return UnknownSeriesError(f"{place}/{sensor_name} has no metric {metric!r}")


def set_parent(database: Database, name: str, parent: str | None) -> None:
    """Says which place holds work unit `name`; the place is made when it is new.

    Raises:
        WorkUnitError: there is no such work unit, or it would lie in itself.
    """
    with database.begin() as connection:
        parent_id = None
        if parent is not None:
            connection.execute(insert(work_unit).values(name=parent).on_conflict_do_nothing())
            parent_id = connection.execute(sa.select(work_unit.c.id).where(work_unit.c.name == parent)).scalar_one()
            if name in _places_above(connection, parent_id):
                raise WorkUnitError(f"work unit {name!r} cannot lie in {parent!r}: that lies in {name!r}")
        update = sa.update(work_unit).where(work_unit.c.name == name).values(parent_id=parent_id)
        if not connection.execute(update).rowcount:
            raise WorkUnitError(f"there is no work unit {name!r}; `sensor-platform sensors list` shows them")


def _places_above(connection: sa.Connection, work_unit_id: int) -> set[str]:
    """The names of this place and of all that hold it."""
    base = sa.select(work_unit.c.id, work_unit.c.name, work_unit.c.parent_id).where(work_unit.c.id == work_unit_id)
    above = base.cte("above", recursive=True)
    step = sa.select(work_unit.c.id, work_unit.c.name, work_unit.c.parent_id)
    above = above.union(step.join(above, work_unit.c.id == above.c.parent_id))
    return set(connection.execute(sa.select(above.c.name)).scalars())
