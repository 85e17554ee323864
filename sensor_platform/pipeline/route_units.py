"""What routes say of the units of series that are known: followed where nobody else said so before.

A route says in which unit it wants a series, and that readings which name none are in it. Followed is the first that
says so, not a second one. Two processes whose route files say different things under one name look like a route that
is edited to and fro: what such a route asks for a second time is not done, only warned of. Whatever is not followed,
every reading is still converted from its own unit, or refused.
"""

import pandas as pd

from sensor_platform.pipeline.catalogue import Catalogue
from sensor_platform.pipeline.decode import DecodedMessages
from sensor_platform.pipeline.keys import IDENTITY, Keys
from sensor_platform.pipeline.series import Key, Series, UnitChange, Units
from sensor_platform.pipeline.units import unit_of_route
from sensor_platform.routes.model import Routes


def follow_routes(decoded: DecodedMessages, routes: Routes, catalogue: Catalogue, *, again: bool) -> None:
    """Gives known series the units that the routes of their readings want of them.

    Asked of all that was decoded: a reading in another unit than the series has would not get past validation before,
    and one that does not convert to the unit of its route is refused, but the route says what it says.
    `again`: what the routes say now counts, also where they said so before and something else since.
    """
    changes = _changes(_asking(decoded), routes, catalogue)
    if changes and not again:
        changes = catalogue.without_to_and_fro(changes)
    if changes:
        catalogue.change_units(changes)


def _asking(decoded: DecodedMessages) -> pd.DataFrame:
    if decoded.unfit.empty:
        return decoded.readings
    columns = [*IDENTITY, "route", "message", "ordinal"]
    frames = [frame[columns] for frame in (decoded.readings, decoded.unfit) if len(frame)]
    return pd.concat(frames, ignore_index=True).sort_values(["message", "ordinal"], kind="stable", ignore_index=True)


def _changes(readings: pd.DataFrame, routes: Routes, catalogue: Catalogue) -> list[UnitChange]:
    if not any(route.units for route in routes):
        return []
    names = {name: routes[name] for name in set(readings["route"].tolist())}
    saying = readings["route"].isin([name for name, route in names.items() if route.units])
    if not saying.any():
        return []
    keys = Keys.of_readings(readings[saying])
    last = dict(zip(keys.of.tolist(), readings["route"][saying].tolist(), strict=True))
    wanted = {
        key: (unit, last[place])
        for place, key in enumerate(keys.keys)
        if all(isinstance(name, str) for name in key)
        and (unit := unit_of_route(key[-1], names[last[place]])) is not None
    }
    known = catalogue.look_up(list(wanted))
    changes = [_change(key, series, *wanted[key]) for key, series in known.items()]
    # In the order in which `register` locks them.
    return sorted((change for change in changes if change is not None), key=lambda change: change.series.id)


def _change(key: Key, known: Series, unit: str, route: str) -> UnitChange | None:
    """Where the route names another unit than the series has, and may: a first reading gave it, or the same route."""
    if known.unit is None or known.unnamed_unit is None:
        return None
    to = Units(known.unit, known.unit_by, known.unnamed_unit, known.unnamed_by)
    if known.unit_by in (None, route):
        to = Units(unit, route, to.unnamed_unit, to.unnamed_by)
    if known.unnamed_by in (None, route):
        to = Units(to.unit, to.unit_by, unit, route)
    is_new = (to.unit, to.unnamed_unit) != (known.unit, known.unnamed_unit)
    return UnitChange(key, known, to, route) if is_new else None
