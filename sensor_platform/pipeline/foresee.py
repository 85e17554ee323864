"""What making hours again would change: decoded with today's routes, held against what is committed. Writes nothing.

No lock is taken, and every question is asked in a read-only transaction. A group of micro-batches at a time, as the
load takes them; what a group would register or define is known to the next. What PostgreSQL itself would refuse of a
row, and what other processes load meanwhile, only the run itself can know.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.tables import ledger
from sensor_platform.errors import DamagedMicroBatchError
from sensor_platform.pipeline.changes import Differences
from sensor_platform.pipeline.committed import Committed, committed
from sensor_platform.pipeline.differences import described_changes, differences
from sensor_platform.pipeline.imagined import ImaginedCatalogue
from sensor_platform.pipeline.prepare import prepare
from sensor_platform.pipeline.process import Group, groups_of, in_received_order
from sensor_platform.pipeline.retention import bytes_deleted
from sensor_platform.pipeline.series import UnitChange
from sensor_platform.pipeline.unit_change import told_again
from sensor_platform.routes.model import Routes
from sensor_platform.settings import Settings
from sensor_platform.staging.format import MicroBatch
from sensor_platform.staging.store import Staging

HOUR = timedelta(hours=1)
#: Hears how far a look is: the hour that is next, its number and how many there are.
OnHour = Callable[[datetime, int, int], None]


def silent(_hour: datetime, _number: int, _of: int) -> None:
    """Hears nothing."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What would change, and the micro-batches that could not be looked at: their bytes are deleted, or damaged."""

    differences: Differences
    bytes_deleted: int = 0
    damaged: dict[str, str] = field(default_factory=dict)


def foresee(
    staging: Staging,
    database: Database,
    routes: Routes,
    *,
    settings: Settings,
    hours: Collection[datetime],
    on_hour: OnHour = silent,
) -> Foreseen:
    """What `process` would change that makes these received hours again.

    Raises:
        StagingError: the object store does not answer.
    """
    in_turn = sorted(hours)
    found = [one for hour in in_turn for one in staging.micro_batches(hour, hour + HOUR)]
    gone = {name for hour in hours for name in bytes_deleted(database, (hour, hour + HOUR))}
    damaged: dict[str, str] = {}
    catalogue = ImaginedCatalogue(database)
    total = Differences()
    for group in groups_of(staging, found, damaged, lambda one: one.name in gone):
        hour = group.read[-1][0].hour
        on_hour(hour, in_turn.index(hour) + 1, len(in_turn))
        total += _of_group(group, database, routes, settings, catalogue)
    units = Differences(units=described_changes(catalogue))
    return Foreseen(total + units, len(gone - {one.name for one in found}), damaged)


def _of_group(
    group: Group, database: Database, routes: Routes, settings: Settings, catalogue: ImaginedCatalogue
) -> Differences:
    sources, messages, source_of = in_received_order(group.read)
    outcome = prepare(
        sources,
        messages,
        source_of,
        routes,
        database.read_only,
        max_payload_bytes=settings.mqtt.max_payload_bytes,
        seconds={},
        catalogue=catalogue,
        again=True,
    )
    with database.read_only() as connection:
        before = committed(connection, [source.name for source in sources])
    catalogue.define(outcome)
    return differences(_in_new_units(before, catalogue.changes), outcome, routes, names=catalogue.names)


def _in_new_units(before: Committed, changes: Iterable[UnitChange]) -> Committed:
    """What stands, as it will when the units of its series are changed: before anything is loaded, all is converted."""
    rows = before.readings
    for change in changes:
        rows = told_again(rows, change)
    return replace(before, readings=rows)


def hours_of(
    staging: Staging,
    database: Database,
    *,
    start: datetime,
    end: datetime,
    routes: Routes,
    route: str | None = None,
    on_hour: OnHour = silent,
) -> list[datetime]:
    """The received hours in [start, end) that hold micro-batches. With `route`, those that hold messages of it: by its
    filter of today, or since it made some of what stands."""
    of_hour: dict[datetime, list[MicroBatch]] = {}
    for micro_batch in staging.micro_batches(start, end):
        of_hour.setdefault(micro_batch.hour, []).append(micro_batch)
    if route is None:
        return sorted(of_hour)
    made = _hours_made_by(database, route, start, end)
    holding: list[datetime] = []
    for number, (hour, found) in enumerate(sorted(of_hour.items()), 1):
        on_hour(hour, number, len(of_hour))
        if hour in made or _holds(staging, found, routes, route):
            holding.append(hour)
    return holding


def taken_with(staging: Staging, hours: Collection[datetime], *, first: datetime, last: datetime) -> list[datetime]:
    """The received hours that hold micro-batches and are made again with `hours`, whoever named only those: partitions
    stand for hours, the `first` one for all before it, too, and the `last` one for all after."""
    before = staging.micro_batches(None, first + HOUR) if min(hours) <= first else []
    after = staging.micro_batches(last, None) if max(hours) >= last else []
    return sorted({one.hour for one in (*before, *after)} - set(hours))


def _hours_made_by(database: Database, route: str, start: datetime, end: datetime) -> set[datetime]:
    query = sa.select(ledger.c.hour).distinct().where(ledger.c.hour >= start, ledger.c.hour < end)
    with database.read_only() as connection:
        return set(connection.execute(query.where(ledger.c.route_versions.has_key(route))).scalars())


def _holds(staging: Staging, found: list[MicroBatch], routes: Routes, route: str) -> bool:
    for micro_batch in found:
        try:
            topics = pc.unique(staging.read(micro_batch)["topic"])
        except DamagedMicroBatchError:
            continue  # the check of readings says it
        if _matches(topics, routes, route):
            return True
    return False


def _matches(topics: pa.Array, routes: Routes, route: str) -> bool:
    texts = (topic.decode("utf-8", "replace") for topic in topics.to_pylist())
    return any(found is not None and found[0].name == route for found in map(routes.match, texts))
