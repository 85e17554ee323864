"""The registry: places, sensors and series as loads see them and people know them. Edited here, with a history."""

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import registry_change, sensor, series, work_unit
from sensor_platform.errors import SensorPlatformError
from sensor_platform.pipeline.calibration import Calibration, laid_over
from sensor_platform.pipeline.declarations import Declaration
from sensor_platform.pipeline.declare import PERSON, Declared, declare, find_concerned
from sensor_platform.pipeline.readings import find_sensor
from sensor_platform.pipeline.registry_file import read_registry
from sensor_platform.pipeline.series import Key, calibrations_of, look_up

#: One reading may be late and another lost; a sensor of which a third is missing is silent.
SILENT_INTERVALS = 3
HISTORY = ("version", "at", "by", "source", "kind", "work_unit", "sensor", "metric", "before", "after")


class UnknownSeriesError(SensorPlatformError):
    """The sensor has no such metric."""


def import_registry(database: Database, path: Path, *, by: str, dry_run: bool = False) -> Declared:
    """Makes the registry say what the file says: all of it, or nothing. The second time nothing changes.

    Raises:
        RegistryError: a sentence with file and line for each problem.
    """
    declarations = read_registry(path)
    with database.connect() as connection:
        found = find_concerned(connection, declarations)
        declared = declare(connection, declarations, by=by, source=str(path), found=found)
        if not dry_run:
            connection.commit()
    return declared


def set_sensor(
    database: Database,
    name: str,
    *,
    description: str | None = None,
    expected_interval_s: float | None = None,
    metric: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    unit: str | None = None,
    relabel: bool = False,
    calibration: Calibration | None = None,
    by: str = PERSON,
) -> Declared:
    """Sets what is given; a NaN takes a number away, an empty text a description. Another unit converts the stored
    values, and the limits and calibrations that stand; new ones are in the new unit. `relabel`: the unit was wrong, and
    the numbers of readings that name none, limits and calibrations were in `unit` all the time. A calibration takes the
    place of others within its times; one that changes nothing takes them away.

    Raises:
        UnknownSensorError, UnknownSeriesError: there is no such sensor, or it has no such metric.
        RegistryError: the minimum would be above the maximum; the unit that stands does not convert to that one; the
            series has a calibration and no unit.
    """
    of_sensor = {"description": description, "expected_interval_s": expected_interval_s}
    of_series = {"unit": unit, "minimum": minimum, "maximum": maximum}
    with database.begin() as connection:
        subject = find_sensor(connection, name)
        declarations = [Declaration(subject, _given(of_sensor))]
        found = None
        if _given(of_series) or calibration is not None:
            key = (*subject, metric or "")
            if calibration is not None:
                found = find_concerned(connection, [_of_series(connection, key, of_series, calibration)])
            locks.take(connection, locks.LOAD)  # what is laid over those that stand must still stand when it is written
            declarations.append(_of_series(connection, key, of_series, calibration))
        return declare(connection, declarations, by=by, relabel=relabel, found=found)


def _of_series(
    connection: sa.Connection, key: Key, fields: dict[str, Any], calibration: Calibration | None
) -> Declaration:
    """`calibration` laid over those that stand."""
    known = look_up(connection, [key]).get(key)
    if known is None:
        raise UnknownSeriesError(f"{'/'.join(key[:2])} has no metric {key[2]!r}")
    laid = {} if calibration is None else {"calibrations": laid_over(known.calibrations, calibration)}
    return Declaration(key, {**_given(fields), **laid})


def set_work_unit(
    database: Database,
    name: str,
    *,
    level: str | None = None,
    parent: str | None = None,
    description: str | None = None,
    by: str = PERSON,
) -> Declared:
    """Sets what is given of a place in the plant; an empty text takes it away. Places are made when new, `parent` too.

    Raises:
        RegistryError: it would lie in itself, or in a part of its kind.
    """
    said = _given({"level": level, "parent": parent, "description": description})
    with database.begin() as connection:
        return declare(connection, [Declaration((name,), said)], by=by)


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    """Without what was not given; None for what is to be taken away."""
    away = {name for name, value in fields.items() if value == "" or (isinstance(value, float) and math.isnan(value))}
    return {name: None if name in away else value for name, value in fields.items() if value is not None}


def list_series(database: Database) -> list[dict[str, Any]]:
    """Every series with its sensor and place, by name; `metric` is None for a declared sensor of which none is known.

    `calibrations`: those in force. `declared`: a person said something of the sensor. `seen`: a reading of it was
    registered.
    """
    parent = work_unit.alias("parent")
    query = (
        sa.select(
            work_unit.c.name.label("work_unit"),
            sensor.c.name.label("sensor"),
            series.c.metric,
            series.c.id,
            series.c.unit,
            series.c.minimum,
            series.c.maximum,
            series.c.conflicts,
            sensor.c.description,
            parent.c.name.label("parent"),
            sensor.c.expected_interval_s,
            sensor.c.declared_at.is_not(None).label("declared"),
            sensor.c.first_seen_at.is_not(None).label("seen"),
        )
        .select_from(
            sensor.outerjoin(series)
            .join(work_unit, work_unit.c.id == sensor.c.work_unit_id)
            .outerjoin(parent, parent.c.id == work_unit.c.parent_id)
        )
        .order_by(work_unit.c.name, sensor.c.name, series.c.metric)
    )
    with database.connect() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
        calibrations = calibrations_of(connection, [row["id"] for row in rows if row["id"] is not None])
    for row in rows:
        row["calibrations"] = [one.described() for one in calibrations.get(row.pop("id"), ())]
    return rows


def silent_sensors(connection: sa.Connection, *, now: datetime) -> dict[tuple[str, str], bool]:
    """Sensors that have an expected interval and have sent something: whether their newest reading is older than
    SILENT_INTERVALS of it, by event time."""
    rows = connection.execute(_SILENT, {"now": now})
    return {(row.work_unit, row.sensor): row.intervals > SILENT_INTERVALS for row in rows}


def list_work_units(database: Database) -> list[dict[str, Any]]:
    """Every place with its level, the one that holds it, its path from the top, and its own sensors, by path."""
    with database.connect() as connection:
        return [dict(row) for row in connection.execute(_WORK_UNITS).mappings()]


def history(database: Database, *, name: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
    """What people changed, the newest first: of all, or of one place or sensor (`work_unit`, `work_unit/sensor`)."""
    query = sa.select(*(registry_change.c[column] for column in HISTORY)).order_by(registry_change.c.id.desc())
    if name is not None:
        full = registry_change.c.work_unit + "/" + registry_change.c.sensor
        query = query.where(sa.or_(registry_change.c.work_unit == name, full == name, registry_change.c.sensor == name))
    with database.connect() as connection:
        return [dict(row) for row in connection.execute(query.limit(limit)).mappings()]


_SILENT = statement("sensor_platform.pipeline", "silent_sensors")
_WORK_UNITS = statement("sensor_platform.pipeline", "work_units")
