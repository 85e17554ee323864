"""What people say of the unit of a series: a wish to see its values in another, or that its label was wrong."""

from collections.abc import Mapping
from dataclasses import asdict

import sqlalchemy as sa

from sensor_platform.database.each_row import update_each
from sensor_platform.database.tables import series
from sensor_platform.pipeline.series import Key, Series, UnitChange, Units
from sensor_platform.pipeline.unit_change import change_units, has_readings, refusal
from sensor_platform.transformers.units import conversion


def convert_to(connection: sa.Connection, key: Key, known: Series, unit: str, *, relabel: bool, by: str) -> Units:
    """Tells the readings of the series `known`, whose row the caller holds, in another unit; `relabel`: they were in it
    all the time. Returns what the row is to say.

    Raises:
        UnitChangeRefusedError: what stands does not convert to `unit`, or a route says what it is.
    """
    if known.unit is None or known.unnamed_unit is None:
        to = Units(unit, by, unit, None)
    elif relabel:
        to = _relabelled(key, known, unit, by)
    else:
        to = _wished(connection, key, known, unit, by)
    if (to.unit, to.unnamed_unit) != (known.unit, known.unnamed_unit):
        change_units(connection, UnitChange(key, known, to, by), keep_limits=relabel)
    return to


def set_units(connection: sa.Connection, units: Mapping[int, Units]) -> None:
    """What the rows of series say, which the caller holds; by id, many at once."""
    update_each(connection, series, [{"id": id_, **asdict(to)} for id_, to in units.items()])


def set_first_units(connection: sa.Connection, units: Mapping[int, str], by: str) -> None:
    """Gives series that have no unit yet, whose rows the caller holds, their first one; by id, many at once."""
    set_units(connection, {id_: Units(unit, by, unit, None) for id_, unit in units.items()})


def _wished(connection: sa.Connection, key: Key, known: Series, unit: str, by: str) -> Units:
    """What readings that name no unit are in is a fact of the device: it stays, and they are converted too."""
    unnamed = known.unnamed_unit or unit
    hopeless = [one for one in (known.unit, unnamed) if one is not None and isinstance(conversion(one, unit), str)]
    if not hopeless:
        return Units(unit, by, unnamed, known.unnamed_by)
    if known.unnamed_by is None and not has_readings(connection, known.id):
        return Units(unit, by, unit, None)
    raise refusal(
        key,
        f"its unit {hopeless[0]!r} does not convert to {unit!r}. If the label was wrong and the numbers were in that "
        "all the time, say so with `sensors set --relabel`; if the device measures something else now, give it a new "
        "metric",
    )


def _relabelled(key: Key, known: Series, unit: str, by: str) -> Units:
    if known.unnamed_by is not None and known.unnamed_unit != unit:
        raise refusal(
            key,
            f"the route {known.unnamed_by!r} says that readings without a unit are in {known.unnamed_unit!r}: "
            f"change its units to {unit!r} instead",
        )
    return Units(unit, by, unit, known.unnamed_by)
