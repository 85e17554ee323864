"""Series: the integer key of one metric of one sensor, its unit and its limits. Registered when first seen.

Registered before the load, in a transaction of its own and in sorted order: two processes that meet the same new sensor
wait for each other for milliseconds and never deadlock. A series without readings, left by a crash, harms nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import registry_change, unit_change
from sensor_platform.transformers.units import Conversion

#: A little less than a float holds.
GREATEST_FLOAT = 1.7e308
#: Units of a series that are noted: a place fits in a byte.
NOTED_UNITS = 126

#: work unit, sensor, metric
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Series:
    """What the tables know of one series. `units`: those that its readings named, in order of appearance."""

    id: int
    unit: str | None
    minimum: float | None
    maximum: float | None
    conflicts: str
    unit_by: str | None = None
    units: tuple[str, ...] = ()
    seen: bool = True  # False: its sensor was declared, and no reading of it has been registered

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
class UnitChange:
    """Another unit for a series, and who names it."""

    series: Series
    unit: str
    how: Conversion
    by: str


def look_up(connection: sa.Connection, keys: Collection[Key]) -> dict[Key, Series]:
    """Those of `keys` that are registered."""
    if not keys:
        return {}
    rows = connection.execute(_LOOK_UP, _columns(list(keys)))
    return {
        (row.work_unit, row.sensor, row.metric): Series(
            row.id, row.unit, row.minimum, row.maximum, row.conflicts, row.unit_by, tuple(row.units), row.seen
        )
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


def change_unit(connection: sa.Connection, series: Series, unit: str, how: Conversion, *, by: str) -> None:
    """Gives `series` another unit; its stored values and limits become what `how` makes of them.

    A load that was prepared before finds the change, under the same lock, and is prepared again. Nothing happens where
    another process was faster.
    """
    locks.take(connection, locks.LOAD)
    if connection.execute(_UNIT_NOW, {"series": series.id}).scalar_one() != series.unit or series.unit is None:
        return
    connection.execute(_NOTE_UNIT, {"series": series.id, "unit": series.unit})
    place = connection.execute(_PLACE_OF_UNIT, {"series": series.id, "unit": series.unit}).scalar_one()
    greatest = GREATEST_FLOAT / max(how.factor, 1.0)
    numbers = {"factor": how.factor, "offset": how.offset, "divisor": how.divisor, "greatest": greatest}
    what = {"series": series.id, "unit_before": series.unit, "unit": unit, "by": by, "place": place or -1}
    if how.changes_nothing:
        connection.execute(_RENAME_UNIT, what)
    else:
        connection.execute(_CHANGE_UNIT, {**what, **numbers})


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


_UNIT_NOW = sa.text("SELECT unit FROM sensor_platform.series WHERE id = :series FOR UPDATE")
_NOTE_UNIT = sa.text(
    "UPDATE sensor_platform.series SET units = (units || CAST(:unit AS text))[1:126]"
    " WHERE id = :series AND :unit <> ALL(units)"
)
_PLACE_OF_UNIT = sa.text(
    "SELECT array_position(units, CAST(:unit AS text)) FROM sensor_platform.series WHERE id = :series"
)
_LOOK_UP = statement("sensor_platform.pipeline", "look_up_series")
_NOTE_UNITS = statement("sensor_platform.pipeline", "note_units")
_CHANGE_UNIT = statement("sensor_platform.pipeline", "change_unit")
_RENAME_UNIT = statement("sensor_platform.pipeline", "rename_unit")
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
