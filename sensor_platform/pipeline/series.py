"""Series: the integer key of one metric of one sensor, its unit and its limits. Registered when first seen.

Registered before the load, in a transaction of its own and in sorted order: two processes that meet the same new sensor
wait for each other for milliseconds and never deadlock. A series without readings, left by a crash, harms nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from sensor_platform.database.raw import statement
from sensor_platform.database.tables import registry_change, unit_change
from sensor_platform.pipeline.calibration import Calibration
from sensor_platform.pipeline.recalibrated import outdate
from sensor_platform.transformers.units import AS_IT_IS, Conversion, conversion

#: Units of a series that are noted: a place fits in a byte.
NOTED_UNITS = 126

#: work unit, sensor, metric
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Series:
    """What the tables know of one series. `units`: those that its readings named, in order of appearance.

    `unnamed_unit` is the one that readings are in which name none, and `unnamed_by` the route that says so.
    """

    id: int
    unit: str | None
    minimum: float | None
    maximum: float | None
    conflicts: str
    unit_by: str | None = None
    units: tuple[str, ...] = ()
    seen: bool = True  # False: its sensor was declared, and no reading of it has been registered
    unnamed_unit: str | None = None
    unnamed_by: str | None = None
    calibrations: tuple[Calibration, ...] = ()

    def place_of(self, unit: str | None) -> int:
        """What a reading that named `unit` keeps of it: a place from 1; 0 for none, -1 where it is not noted."""
        if unit is None:
            return 0
        return self.units.index(unit) + 1 if unit in self.units else -1


@dataclass(frozen=True, slots=True)
class Seen:
    """What accepted readings say of a series: its unit and who says so (None: the first reading that names one), the
    policy of their route, and every unit that they name."""

    key: Key
    unit: str | None
    conflicts: str
    unit_by: str | None = None
    units: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Units:
    """What a series is to have: the unit of its values and that of readings that name none, each with who says so."""

    unit: str
    unit_by: str | None
    unnamed_unit: str
    unnamed_by: str | None


@dataclass(frozen=True, slots=True)
class UnitChange:
    """Other units for a series, and the route or person that asks for them."""

    key: Key
    series: Series
    to: Units
    by: str

    @property
    def unit(self) -> str:
        """Of its values, from now on."""
        return self.to.unit

    @property
    def how(self) -> Conversion:
        """What becomes of a value that named the unit of the series; of others: `pipeline.unit_change`."""
        how = conversion(self.series.unit or self.unit, self.unit)
        return AS_IT_IS if isinstance(how, str) else how


def look_up(connection: sa.Connection, keys: Collection[Key]) -> dict[Key, Series]:
    """Those of `keys` that are registered."""
    if not keys:
        return {}
    rows = connection.execute(_LOOK_UP, _columns(list(keys))).all()
    calibrations = calibrations_of(connection, [row.id for row in rows if row.is_calibrated])
    return {
        (row.work_unit, row.sensor, row.metric): Series(
            row.id,
            row.unit,
            row.minimum,
            row.maximum,
            row.conflicts,
            row.unit_by,
            tuple(row.units),
            row.seen,
            row.unnamed_unit,
            row.unnamed_by,
            tuple(calibrations.get(row.id, ())),
        )
        for row in rows
    }


def calibrations_of(connection: sa.Connection, series: Sequence[int]) -> dict[int, list[Calibration]]:
    """The calibrations in force of those that have any, by time."""
    found: dict[int, list[Calibration]] = {}
    if not series:
        return found
    for row in connection.execute(_CALIBRATIONS, {"series": series}):
        found.setdefault(row.series, []).append(Calibration(row.valid_from, row.valid_to, row.scale, row.offset))
    return found


def convert_calibrations(connection: sa.Connection, series: int, how: Conversion) -> None:
    """The series has another unit, by `how`. Values in calibrated times were converted too, but for the last digit."""
    held = calibrations_of(connection, [series]).get(series, [])
    numbers = {"factor": how.factor, "offset": how.offset, "divisor": how.divisor}
    connection.execute(_CONVERT_CALIBRATIONS, {"series": series, **numbers})
    outdate(connection, [(series, (one.valid_from, one.valid_to)) for one in held])


def register(connection: sa.Connection, seen: Sequence[Seen]) -> None:
    """Registers what is new, notes the first unit of a series that had none, and follows the routes' policies.

    A route that names the unit that a series has already is noted as the one who says so, where nobody else does.
    """
    if not seen:
        return
    ordered = sorted(seen, key=lambda one: one.key)
    parameters = {
        **_columns([one.key for one in ordered]),
        "units": [one.unit for one in ordered],
        "units_by": [one.unit_by for one in ordered],
        "conflicts": [one.conflicts for one in ordered],
        "is_seen": True,
    }
    for step in _REGISTER:
        connection.execute(step, parameters)
    named = [(one.key, unit) for one in ordered for unit in one.units]
    if named:
        columns = _columns([key for key, _ in named])
        connection.execute(_NOTE_UNITS, {**columns, "named": [unit for _, unit in named]})


def unit_changes(connection: sa.Connection) -> int:
    """Grows whenever the unit of any series changes."""
    return int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(unit_change.c.id), 0))).scalar_one())


def registry_version(connection: sa.Connection) -> int:
    """Grows whenever a person changes the registry, in the transaction of the change, under the load's lock."""
    newest = sa.select(sa.func.coalesce(sa.func.max(registry_change.c.version), 0))
    return int(connection.execute(newest).scalar_one())


def _columns(keys: Sequence[Key]) -> dict[str, list[str]]:
    work_units, sensors, metrics = zip(*keys, strict=True)
    return {"work_units": list(work_units), "sensors": list(sensors), "metrics": list(metrics)}


_LOOK_UP = statement("sensor_platform.pipeline", "look_up_series")
_CALIBRATIONS = statement("sensor_platform.pipeline", "calibrations")
_CONVERT_CALIBRATIONS = statement("sensor_platform.pipeline", "convert_calibrations")
_NOTE_UNITS = statement("sensor_platform.pipeline", "note_units")
_REGISTER = [
    statement("sensor_platform.pipeline", name)
    for name in (
        "register_work_units",
        "register_sensors",
        "see_sensors",
        "register_series",
        "lock_series",
        "update_series",
    )
]
