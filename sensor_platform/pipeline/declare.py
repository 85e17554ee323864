"""Declarations into the tables: all of them or none, each change a row of history.

Under the load's lock: a load that was prepared by what stood before finds another version of the registry when its turn
comes, and is prepared again. Loads register what they see without that lock; rows are made and locked in their order.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.each_row import update_each
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import calibration, registry_change, sensor, series, work_unit
from sensor_platform.pipeline.calibration import Calibration, differing, overlap
from sensor_platform.pipeline.declarations import (
    KINDS,
    LEVELS,
    Declaration,
    RegistryError,
    Subject,
    spelled,
)
from sensor_platform.pipeline.recalibrated import Found, Outdated, SeriesSpan, find, outdate
from sensor_platform.pipeline.series import Units, calibrations_of, look_up, registry_version
from sensor_platform.pipeline.unit_change import UnitChangeRefusedError
from sensor_platform.pipeline.wished_units import convert_to, set_first_units, set_units

#: `series.unit_by` of a unit that was set by hand.
PERSON = "a person"
TABLES = (work_unit, sensor, series)

#: A problem, and the line that it is in.
_Problem = tuple[int | None, str]
#: Subject -> id and fields
_Standing = dict[Subject, tuple[int, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Change:
    """The fields of a subject that are others than before; `before` is empty where it was not there."""

    subject: Subject
    before: dict[str, Any]
    after: dict[str, Any]

    @property
    def kind(self) -> str:
        return KINDS[len(self.subject) - 1]


@dataclass(frozen=True, slots=True)
class Declared:
    """What changed, and which received hours were made with another calibration and are marked in the ledger."""

    changes: list[Change]
    outdated: list[Outdated]


def declare(
    connection: sa.Connection,
    declarations: Sequence[Declaration],
    *,
    by: str,
    source: str | None = None,
    relabel: bool = False,
    found: Found | None = None,
) -> Declared:
    """Makes the registry say what `declarations` say, and returns what changed. The caller commits, or not.

    found: by `find_concerned`, in the same transaction, so that loads do not wait for that.

    A unit converts the stored values and the limits that stand; new limits are in the new unit. `relabel`: they were
    in it all the time.

    Raises:
        RegistryError: it cannot be so, with a sentence for each problem. The caller must not commit.
    """
    locks.take(connection, locks.LOAD)
    version = registry_version(connection) + 1
    subjects = _with_places(declarations)
    before = _standing(connection, subjects)
    _register(connection, subjects)
    _declare_sensors(connection, subjects)
    unconverted = list(_set_units(connection, declarations, relabel=relabel))
    standing = _standing(connection, subjects)
    _set_fields(connection, declarations, standing)
    spans = _set_calibrations(connection, declarations, standing, version)
    outdated = outdate(connection, spans, found)
    after = _standing(connection, subjects)
    problems = [*unconverted, *_misplaced(connection, declarations), *_contradictory(declarations, after)]
    if problems:
        raise RegistryError(_told(line, sentence, source) for line, sentence in problems)
    changes = list(_changes(before, after))
    if changes:
        rows = [_row(change, version=version, by=by, source=source) for change in changes]
        # RETURNING: then a thousand rows are one statement.
        connection.execute(sa.insert(registry_change).returning(registry_change.c.id), rows)
    return Declared(changes, outdated)


def find_concerned(connection: sa.Connection, declarations: Iterable[Declaration]) -> Found:
    """The micro-batches that were made with other calibrations than these say, looked for before `declare`, beside
    loads. Backfills and retries wait from now on, until the transaction ends."""
    locks.take(connection, locks.CORRECTION)
    said = {one.subject: one.says["calibrations"] for one in declarations if "calibrations" in one.says}
    known = look_up(connection, [(work_unit, sensor, metric) for work_unit, sensor, metric in said])
    return find(
        connection,
        [(one.id, span) for key, one in known.items() for span in differing(one.calibrations, said[key])],
    )


def _with_places(declarations: Sequence[Declaration]) -> set[Subject]:
    """All that is named: the sensor of a series too, its place, and the places that hold places."""
    named = {one.subject[:size] for one in declarations for size in range(1, len(one.subject) + 1)}
    return named | {(one.says["parent"],) for one in declarations if one.says.get("parent") is not None}


def _columns(subjects: Collection[Subject], size: int) -> dict[str, Any]:
    rows = sorted(subject for subject in subjects if len(subject) == size)
    names = ("work_units", "sensors", "metrics")[:size]
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _standing(connection: sa.Connection, subjects: Collection[Subject]) -> _Standing:
    found: _Standing = {}
    for size, query in enumerate(_STANDING, start=1):
        for row in connection.execute(query, _columns(subjects, size)).mappings():
            subject = tuple(row[name] for name in ("work_unit", "sensor", "metric")[:size])
            found[subject] = (row["id"], {name: row[name] for name in row if name not in _IDENTITY})
    series_of = {id_: fields for subject, (id_, fields) in found.items() if len(subject) == len(KINDS)}
    calibrations = calibrations_of(connection, list(series_of))
    for id_, fields in series_of.items():
        fields["calibrations"] = tuple(calibrations.get(id_, ()))
    return found


def _register(connection: sa.Connection, subjects: Collection[Subject]) -> None:
    """Makes what is not there, in the order in which loads do, and locks what is."""
    sensors, named = _columns(subjects, 2), _columns(subjects, 3)
    nothing = [None] * len(named["metrics"])
    connection.execute(_REGISTER_WORK_UNITS, _columns(subjects, 1))
    connection.execute(_REGISTER_SENSORS, {**sensors, "is_seen": False})
    connection.execute(_LOCK_SENSORS, sensors)
    policy = ["all"] * len(nothing)
    connection.execute(_REGISTER_SERIES, {**named, "units": nothing, "units_by": nothing, "conflicts": policy})
    connection.execute(_LOCK_SERIES, named)


def _declare_sensors(connection: sa.Connection, subjects: Collection[Subject]) -> None:
    sensors = _standing(connection, {one for one in subjects if len(one) == 2}).values()
    seen_only = sensor.c.id == sa.any_(sa.literal([id_ for id_, _ in sensors], sa.ARRAY(sa.Integer)))
    seen_only &= sensor.c.declared_at.is_(None)
    connection.execute(sa.update(sensor).where(seen_only).values(declared_at=sa.func.now()))


def _set_units(connection: sa.Connection, declarations: Sequence[Declaration], *, relabel: bool) -> Iterator[_Problem]:
    """A problem for each unit to which what stands does not convert; that series stays as it is."""
    wanted = {(w, s, m): one for one in declarations if "unit" in one.says for w, s, m in [one.subject]}
    found = look_up(connection, list(wanted))
    set_first_units(
        connection, {one.id: wanted[key].says["unit"] for key, one in found.items() if not one.unit}, PERSON
    )
    set_to: dict[int, Units] = {}
    for key, known in sorted(found.items()):
        unit = wanted[key].says["unit"]
        if known.unit is None:
            continue
        try:
            if (known.unit, known.unit_by) != (unit, PERSON) or relabel:
                set_to[known.id] = convert_to(connection, key, known, unit, relabel=relabel, by=PERSON)
        except UnitChangeRefusedError as refused:
            yield wanted[key].line, str(refused)
    set_units(connection, set_to)


def _set_fields(connection: sa.Connection, declarations: Sequence[Declaration], standing: _Standing) -> None:
    rows: dict[tuple[int, tuple[str, ...]], list[dict[str, Any]]] = {}
    for one in declarations:
        id_, fields = standing[one.subject]
        apart = ("unit", "calibrations")
        said = {name: value for name, value in one.says.items() if name not in apart and fields[name] != value}
        if "parent" in said:
            parent = said.pop("parent")
            said["parent_id"] = None if parent is None else standing[(parent,)][0]
        if said:
            rows.setdefault((len(one.subject) - 1, tuple(said)), []).append({"id": id_, **said})
    for (place, _), same in rows.items():  # thousands at once: loads wait for us
        update_each(connection, TABLES[place], same)


def _set_calibrations(
    connection: sa.Connection, declarations: Sequence[Declaration], standing: _Standing, version: int
) -> list[SeriesSpan]:
    """The times at which a value becomes another. Those that stand stay for `trace`, which asks what a reading was made
    with."""
    spans: list[SeriesSpan] = []
    changed: list[int] = []
    rows: list[dict[str, Any]] = []
    for one in declarations:
        id_, fields = standing[one.subject]
        were, are = fields.get("calibrations", ()), one.says.get("calibrations")
        if are is None or are == were:
            continue
        changed.append(id_)
        rows += [{"series": id_, "from_version": version, **_fields(each)} for each in are]
        spans += [(id_, span) for span in differing(were, are)]
    if changed:
        own = calibration.c.series == sa.any_(sa.literal(changed, sa.ARRAY(sa.Integer)))
        ended = sa.update(calibration).where(own, calibration.c.to_version.is_(None))
        connection.execute(ended.values(to_version=version))
    if rows:
        connection.execute(sa.insert(calibration).returning(calibration.c.id), rows)
    return spans


def _fields(one: Calibration) -> dict[str, Any]:
    return {"valid_from": one.valid_from, "valid_to": one.valid_to, "scale": one.scale, "offset": one.offset}


def _misplaced(connection: sa.Connection, declarations: Sequence[Declaration]) -> Iterator[_Problem]:
    """Work units that would lie in themselves, or in a part of their kind."""
    lines = {one.subject[0]: one.line for one in declarations if one.kind == "work_unit"}
    if not lines:
        return
    parent = work_unit.alias("parent")
    query = sa.select(work_unit.c.name, work_unit.c.level, parent.c.name.label("parent"))
    query = query.select_from(work_unit.outerjoin(parent, parent.c.id == work_unit.c.parent_id))
    places = {row.name: row for row in connection.execute(query)}
    parents = {place: row.parent for place, row in places.items()}
    told: set[str] = set()
    for name, line in lines.items():
        above = _above(name, parents)
        if name in above and not told & {name, *above}:
            told |= {name, *above}
            where = above[0]
            yield line, f"work unit {name!r} cannot lie in {where!r}: that lies in {name!r}, or is it"
    for name, row in places.items():
        if row.parent is None or not {name, row.parent} & lines.keys():
            continue
        level, holder = row.level, places[row.parent].level
        if level in LEVELS and holder in LEVELS and LEVELS.index(level) < LEVELS.index(holder):
            line = lines.get(name, lines.get(row.parent))
            yield line, f"work unit {name!r} is of level {level}, and cannot lie in {row.parent!r} of level {holder}"


def _above(name: str, parents: dict[str, str | None]) -> list[str]:
    """The places that hold `name`, up to the first that comes twice."""
    found: list[str] = []
    parent = parents.get(name)
    while parent is not None and parent not in found:
        found.append(parent)
        parent = parents.get(parent)
    return found


def _contradictory(declarations: Sequence[Declaration], after: _Standing) -> Iterator[_Problem]:
    for one in declarations:
        _, fields = after[one.subject]
        least, greatest = fields.get("minimum"), fields.get("maximum")
        if least is not None and greatest is not None and least > greatest:
            yield one.line, f"{spelled(one.subject)}: the minimum {least} is above the maximum {greatest}"
        calibrations = fields.get("calibrations", ())
        if calibrations and fields["unit"] is None:
            yield one.line, f"{spelled(one.subject)}: a calibration is in the unit of its series: say its unit too"
        if (twice := overlap(calibrations)) is not None:
            yield one.line, f"{spelled(one.subject)}: {twice}"


def _told(line: int | None, sentence: str, source: str | None) -> str:
    return sentence if line is None or source is None else f"{source}:{line}: {sentence}"


def _changes(before: _Standing, after: _Standing) -> Iterator[Change]:
    for subject, (_, fields) in sorted(after.items()):
        if subject not in before:
            yield Change(subject, {}, {name: value for name, value in fields.items() if value not in (None, ())})
            continue
        _, were = before[subject]
        changed = [name for name, value in fields.items() if were[name] != value]
        if changed:
            yield Change(subject, {name: were[name] for name in changed}, {name: fields[name] for name in changed})


def _row(change: Change, *, version: int, by: str, source: str | None) -> dict[str, Any]:
    names = dict(zip(_NAMES, (*change.subject, None, None), strict=False))
    what = {"kind": change.kind, "before": plain(change.before), "after": plain(change.after)}
    return {"version": version, "by": by, "source": source, **names, **what}


def plain(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a change as JSON has them."""
    calibrations = [one.described() for one in fields.get("calibrations", ())]
    return {**fields, "calibrations": calibrations} if "calibrations" in fields else fields


_NAMES = ("work_unit", "sensor", "metric")
_IDENTITY = (*_NAMES, "id")
_STANDING = [statement("sensor_platform.pipeline", f"standing_{name}") for name in ("work_units", "sensors", "series")]
_REGISTER_WORK_UNITS = statement("sensor_platform.pipeline", "register_work_units")
_REGISTER_SENSORS = statement("sensor_platform.pipeline", "register_sensors")
_REGISTER_SERIES = statement("sensor_platform.pipeline", "register_series")
_LOCK_SENSORS = statement("sensor_platform.pipeline", "lock_sensors")
_LOCK_SERIES = statement("sensor_platform.pipeline", "lock_series")
