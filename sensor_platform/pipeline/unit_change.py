"""Other units for a series that has readings: what stands becomes what one clean pass would make of the same bytes.

Each reading is told again from what was sent: a value that was converted before is not converted twice. Two things can
change. The unit of the series is a wish to see values in it, and all of them are converted. The unit of readings that
name none is a statement of what they were all the time, so their numbers stay as they were sent. After either, readings
that were equal may differ, and others have become equal: who stands is judged anew (`settle_series.sql`). Rollups whose
readings retention has deleted are converted as they stand (`rollup_units`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.copy import ReadingRows
from sensor_platform.database.raw import cursor, statement
from sensor_platform.database.tables import unit_change
from sensor_platform.errors import SensorPlatformError
from sensor_platform.log import get_logger
from sensor_platform.pipeline.rollup_units import convert_left, hold_left
from sensor_platform.pipeline.series import NOTED_UNITS, Key, Series, UnitChange, Units, convert_calibrations
from sensor_platform.pipeline.units import convert_digits
from sensor_platform.transformers.numbers import shown
from sensor_platform.transformers.units import AS_IT_IS, Conversion, conversion, sent

#: Readings that are in memory at a time.
CHUNK = 50_000
UNNAMED, NOT_NOTED = 0, -1

TO_AND_FRO = (
    "it asked for this unit before, and for another one since: if two route files name a route so, give each its own "
    "name, or make them agree; `sensor-platform sensors set SENSOR --metric M --unit U` decides, or a backfill"
)
REFUSED = (
    "the series keeps its unit, and readings that do not convert to it become dead letters: mend the route, or give "
    "such readings a metric of their own"
)


class UnitChangeRefusedError(SensorPlatformError):
    """Readings of the series do not convert to the unit that is wanted of it: nothing was changed."""


def change_all(connection: sa.Connection, changes: Sequence[UnitChange]) -> list[UnitChange]:
    """What routes ask for; returns what was done. A series whose readings do not convert stays, with a warning."""
    done = []
    for change in changes:
        try:
            change_units(connection, change)
            done.append(change)
        except UnitChangeRefusedError as refused:
            _warn("unit_of_route_refused", change, because=str(refused), do=REFUSED)
    return done


def without_to_and_fro(connection: sa.Connection, changes: Sequence[UnitChange]) -> list[UnitChange]:
    """Without those that their route asked for before, and for something else since; each with a warning."""
    asked = sa.select(unit_change.c.series, unit_change.c.by, unit_change.c.unit)
    asked = asked.where(unit_change.c.series.in_([change.series.id for change in changes]))
    before = set(connection.execute(asked).tuples())
    kept = []
    for change in changes:
        if (change.series.id, change.by, _asked(change)) in before:
            _warn("unit_to_and_fro", change, because=TO_AND_FRO)
        else:
            kept.append(change)
    return kept


def _asked(change: UnitChange) -> str:
    return change.to.unnamed_unit if change.unit == change.series.unit else change.unit


def _warn(event: str, change: UnitChange, **more: str) -> None:
    work_unit, sensor, metric = change.key
    get_logger().warning(
        event,
        route=change.by,
        sensor=f"{work_unit}/{sensor}",
        metric=metric,
        unit=_asked(change),
        stays=change.series.unit,
        **more,
    )


def change_units(connection: sa.Connection, change: UnitChange, *, keep_limits: bool = False) -> None:
    """Gives the series the units; its stored readings, and limits unless they are to stay, with them.

    A load that was prepared before finds the change, under the same lock, and is prepared again. Nothing happens where
    another process was faster.

    Raises:
        UnitChangeRefusedError: a stored reading does not convert, or a float does not hold what it becomes.
    """
    key, known, to = change.key, change.series, change.to
    locks.take(connection, locks.LOAD)
    some_are_left = hold_left(connection)
    now = connection.execute(_UNITS_NOW, {"series": known.id}).one()
    if known.unit is None or (now.unit, now.unnamed_unit) != (known.unit, known.unnamed_unit):
        return
    own, before = {"series": known.id, "unit": known.unit}, known.unit
    known = replace(known, units=tuple(connection.execute(_NOTE_UNIT, own).scalar_one()))
    ways = dict(_ways(known, to))
    _refuse_what_does_not_convert(connection, key, known, to, ways)
    connection.execute(_ADOPT_UNIT, own)
    moving = {source: way for source, way in ways.items() if way is not None and not way.changes_nothing}
    if moving and _restate(connection, known.id, moving, to, key):
        _settle(connection, known.id)
    if some_are_left:
        convert_left(connection, known.id, _of_gone_readings(connection, known.id, ways, is_relabelled=keep_limits))
    limits = {"minimum": now.minimum, "maximum": now.maximum}
    _set_units(connection, known, to, limits if keep_limits else _converted(limits, before, to.unit), by=change.by)
    convert_calibrations(connection, known.id, AS_IT_IS if keep_limits else change.how)


@dataclass(frozen=True, slots=True)
class _Way:
    """From what a series holds of one source to what it is to hold: back to what was sent, and forth anew."""

    was: Conversion
    back: Conversion
    becomes: Conversion

    @property
    def changes_nothing(self) -> bool:
        return self.was == self.becomes

    def values(self, stored: np.ndarray) -> np.ndarray:
        return self.becomes.column(sent(stored, self.was, self.back))

    def digits(self, stored: int) -> Fraction:
        return self.becomes.integer(self.back.integer(stored))

    @property
    def whole(self) -> Conversion:
        """From what is stored to what it becomes, at once."""
        return AS_IT_IS if self.changes_nothing else Conversion.of(self.digits(1) - self.digits(0), self.digits(0))


def _ways(known: Series, to: Units) -> Iterator[tuple[int, _Way | None]]:
    """`source_unit` of a reading -> its way; None: there is none. Of what was not noted, it is that of the series."""
    unit = known.unit or ""
    sources = {place: (named, named) for place, named in enumerate(known.units, start=1)}
    sources |= {NOT_NOTED: (unit, unit), UNNAMED: (known.unnamed_unit or unit, to.unnamed_unit)}
    for source, (before, after) in sources.items():
        was, back, becomes = conversion(before, unit), conversion(unit, before), conversion(after, to.unit)
        if isinstance(was, str) or isinstance(back, str) or isinstance(becomes, str):
            yield source, None
        else:
            yield source, _Way(was, back, becomes)


def _of_gone_readings(
    connection: sa.Connection, series: int, ways: Mapping[int, _Way | None], *, is_relabelled: bool
) -> Conversion:
    """Of readings that are deleted it is not known any more whether they named a unit. Where that makes a difference,
    they count as unnamed if any that is left is, or if a person says what they were."""
    named, unnamed = ways[NOT_NOTED], ways[UNNAMED]
    asked = {"series": series, "sources": [UNNAMED]}
    is_unnamed = is_relabelled or named is None or connection.execute(_ANY_SOURCE, asked).scalar() is not None
    way = unnamed if is_unnamed else named
    return AS_IT_IS if way is None else way.whole


def _refuse_what_does_not_convert(
    connection: sa.Connection, key: Key, known: Series, to: Units, ways: Mapping[int, _Way | None]
) -> None:
    hopeless = [source for source, way in ways.items() if way is None]
    if not hopeless:
        return
    found = connection.execute(_ANY_SOURCE, {"series": known.id, "sources": hopeless}).scalar()
    if found is not None:
        named = {UNNAMED: known.unnamed_unit, NOT_NOTED: known.unit}.get(found) or known.units[found - 1]
        raise refusal(key, f"it has readings in {shown(named)}, which do not convert to {shown(to.unit)}")


def with_unit_noted(known: Series) -> Series:
    """The series as it is noted before its unit changes: that one is among the units that readings named."""
    return replace(known, units=tuple(dict.fromkeys([*known.units, *filter(None, [known.unit])]))[:NOTED_UNITS])


def converts(connection: sa.Connection, known: Series, to: Units) -> bool:
    """Whether all that stands of the series can be told again in other units. Only asks."""
    hopeless = [source for source, way in _ways(known, to) if way is None]
    asked = {"series": known.id, "sources": hopeless}
    return not hopeless or connection.execute(_ANY_SOURCE, asked).scalar() is None


def told_again(rows: ReadingRows, change: UnitChange) -> ReadingRows:
    """Readings, those of the series as they will stand once it has the units."""
    value, text = rows.value.copy(), rows.text.copy()
    for source, way in _ways(with_unit_noted(change.series), change.to):
        places = np.flatnonzero((rows.series == change.series.id) & (rows.source_unit == source))
        if way is not None and not way.changes_nothing and len(places):
            value[places] = way.values(rows.value[places])
            convert_digits(value, text, places, way.digits)
    return replace(rows, value=value, text=text)


def has_readings(connection: sa.Connection, series: int) -> bool:
    """Whether any stands: without one none is aside."""
    return bool(connection.execute(_HAS_READINGS, {"series": series}).scalar())


def refusal(key: Key, why: str) -> UnitChangeRefusedError:
    """The sentence for a person: which series, and why its unit stays as it is."""
    work_unit, sensor, metric = key
    return UnitChangeRefusedError(f"{work_unit}/{sensor}, metric {metric!r}: {why}")


def _restate(connection: sa.Connection, series: int, moving: dict[int, _Way], to: Units, key: Key) -> bool:
    """Tells the readings of these sources again. False: no value of theirs is another now."""
    connection.execute(_TEMPORARY_RESTATED)
    connection.execute(sa.text("DELETE FROM restated"))
    found = connection.execute(
        _READINGS_OF_SOURCES,
        {"series": series, "sources": list(moving)},
        execution_options={"stream_results": True, "yield_per": CHUNK},
    )
    n_changed = 0
    for rows in found.partitions():
        changed = list(_restated(rows, moving, to, key))
        with cursor(connection) as cur, cur.copy("COPY restated (part, row, value, text) FROM STDIN") as copy:
            for row in changed:
                copy.write_row(row)
        n_changed += len(changed)
    if n_changed:
        connection.execute(sa.text("ANALYZE restated"))
        connection.execute(_RESTATE, {"series": series})
    return n_changed > 0


def _restated(rows: Any, moving: dict[int, _Way], to: Units, key: Key) -> Iterator[tuple[int, str, float, str | None]]:
    part, row, source, stored, said = zip(*rows, strict=True)
    before, value = np.array(stored, np.float64), np.array(stored, np.float64)
    texts, text = np.array(said, dtype=object), np.array(said, dtype=object)
    for which, way in moving.items():
        places = np.flatnonzero(np.array(source) == which)
        value[places] = way.values(before[places])
        convert_digits(value, text, places, way.digits)
    lost = np.flatnonzero(np.isinf(value) & np.isfinite(before))
    if len(lost):
        raise refusal(key, f"the value {before[lost[0]]} is beyond what a float holds in {shown(to.unit)}")
    another = ~((value == before) | (np.isnan(value) & np.isnan(before))) | (text != texts)
    for place in np.flatnonzero(another).tolist():
        yield part[place], row[place], float(value[place]), text[place]


def _settle(connection: sa.Connection, series: int) -> None:
    connection.execute(_TEMPORARY_TABLES)
    connection.execute(_SETTLE_SERIES, {"series": series})
    connection.execute(_ADJUST_LEDGER)
    # A transaction may change several series, or go on with a load.
    connection.execute(sa.text("DELETE FROM touched"))


def _converted(limits: dict[str, float | None], before: str, after: str) -> dict[str, float | None]:
    """As they were where the two units do not convert: only numbers that stay as well get there."""
    how = conversion(before, after)
    if isinstance(how, str):
        return limits
    return {name: None if limit is None else float(how.column(np.array([limit]))[0]) for name, limit in limits.items()}


def _set_units(
    connection: sa.Connection, known: Series, to: Units, limits: dict[str, float | None], *, by: str
) -> None:
    is_renamed = known.unit != to.unit
    before, after = (known.unit, to.unit) if is_renamed else (known.unnamed_unit, to.unnamed_unit)
    connection.execute(
        _SET_UNITS, {"series": known.id, **asdict(to), **limits, "before": before, "after": after, "by": by}
    )


_UNITS_NOW = statement("sensor_platform.pipeline", "units_now")
_HAS_READINGS = sa.text("SELECT EXISTS (SELECT FROM sensor_platform.metric WHERE series = :series)")
_ANY_SOURCE = statement("sensor_platform.pipeline", "any_source")
_NOTE_UNIT = statement("sensor_platform.pipeline", "note_unit")
_ADOPT_UNIT = statement("sensor_platform.pipeline", "adopt_unit")
_TEMPORARY_RESTATED = statement("sensor_platform.pipeline", "temporary_restated")
_READINGS_OF_SOURCES = statement("sensor_platform.pipeline", "readings_of_sources")
_RESTATE = statement("sensor_platform.pipeline", "restate")
_TEMPORARY_TABLES = statement("sensor_platform.pipeline", "temporary_tables")
_SETTLE_SERIES = statement("sensor_platform.pipeline", "settle_series")
_ADJUST_LEDGER = statement("sensor_platform.pipeline", "adjust_ledger")
_SET_UNITS = statement("sensor_platform.pipeline", "set_units")
