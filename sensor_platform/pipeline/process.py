"""Sealed micro-batches in, committed rows out: decode → validate → load, a transaction a group of micro-batches."""

import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.tables import Timestamp, ledger
from sensor_platform.errors import DamagedMicroBatchError, MissingMicroBatchError
from sensor_platform.log import get_logger
from sensor_platform.pipeline.accounted import accounted
from sensor_platform.pipeline.catalogue import Catalogue
from sensor_platform.pipeline.changes import Differences
from sensor_platform.pipeline.clocks import note
from sensor_platform.pipeline.differences import described_changes, differences
from sensor_platform.pipeline.guilty import load_prepared
from sensor_platform.pipeline.letters import letters_by_code
from sensor_platform.pipeline.load import Loaded, Scope, load
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.outcome import Outcome, Source
from sensor_platform.pipeline.prepare import prepare
from sensor_platform.pipeline.report import MessageCounts, ReadingCounts, Report
from sensor_platform.pipeline.retention import bytes_deleted
from sensor_platform.pipeline.sequences import is_split, watch
from sensor_platform.pipeline.standing import as_time
from sensor_platform.routes.model import Routes
from sensor_platform.settings import Settings
from sensor_platform.staging.format import MicroBatch
from sensor_platform.staging.store import Staging

LATELY = timedelta(hours=3)
#: A group is loaded in one transaction: enough that it costs little a message, few enough that memory stays bounded.
GROUP_MESSAGES = 50_000
GROUP_MICRO_BATCHES = 50
GROUP_BYTES = 64 * 1024 * 1024

Read = tuple[MicroBatch, pa.Table]
#: Received hours [start, end); None: without end.
Window = tuple[datetime | None, datetime | None]


@dataclass(frozen=True, slots=True)
class Group:
    """Micro-batches that are loaded in one transaction, and the seconds that each step with them took."""

    read: list[Read]
    seconds: dict[str, float]


class DamagedMicroBatchesError(DamagedMicroBatchError):
    """Some micro-batches could not be read. Everything else is in; these are as pending as before."""

    def __init__(self, errors: dict[str, str], report: Report) -> None:
        self.errors = errors
        self.names = list(errors)
        self.report = report
        reasons = "\n".join(f"  {name}: {reason}" for name, reason in errors.items())
        super().__init__(f"{len(errors)} micro-batches are damaged and stay pending:\n{reasons}")


def pending(staging: Staging, database: Database, *, hours: Window = (None, None)) -> list[MicroBatch]:
    """Sealed micro-batches of `hours` that are not in the ledger, oldest hour first."""
    # Asked before the files are listed: what is compacted in between is opened.
    return not_in_ledger(database, staging.micro_batches(*hours, but=accounted(database, hours)))


def pending_lately(staging: Staging, database: Database, *, now: datetime) -> list[MicroBatch]:
    """The same for who asks often: those of the last hours, and all that came after the newest hour in the ledger.

    An older hour is left out: a damaged file in it, a late upload. A staging area of years has millions of files.
    """
    with database.connect() as connection:
        newest: datetime | None = connection.execute(sa.select(sa.func.max(ledger.c.hour))).scalar()
    recent = (now - LATELY).replace(minute=0, second=0, microsecond=0)
    return pending(staging, database, hours=(None if newest is None else min(newest, recent), None))


def process(
    staging: Staging,
    database: Database,
    routes: Routes,
    *,
    settings: Settings,
    hours: Window = (None, None),
    mode: Mode = Mode.NEW,
    run_id: str | None = None,
    should_stop: Callable[[], bool] | None = None,
    found: list[MicroBatch] | None = None,
) -> Report:
    """Loads the sealed micro-batches received in `hours` (half open): the new ones, or all of them again.

    `found`: those that are pending, from who has just asked. What was made of micro-batches whose bytes retention has
    deleted is left alone, and counted in the report.

    A group that is committed stays, whatever happens to the next; calling again goes on where this one ended.

    Raises:
        DamagedMicroBatchesError: at the end, when some could not be read; it has the names and the report.
    """
    if found is None:
        found = pending(staging, database, hours=hours) if mode is Mode.NEW else staging.micro_batches(*hours)
    damaged: dict[str, str] = {}
    report = Report()
    if mode is Mode.AGAIN:
        # What stands of those stays as it is: it could not be made again.
        gone = bytes_deleted(database, hours).keys() - {micro_batch.name for micro_batch in found}
        report = Report(bytes_deleted=len(gone))
        if gone:
            get_logger().warning("bytes_deleted_by_retention", micro_batches=len(gone), their_readings="stay")
    steps = _Steps(database, routes, settings, mode, run_id, Catalogue(database.begin))
    deleted: list[MicroBatch] = []

    def is_deleted(micro_batch: MicroBatch) -> bool:
        """Whether retention has deleted it since we listed it."""
        if micro_batch.name not in bytes_deleted(database, (micro_batch.hour, micro_batch.hour + timedelta(hours=1))):
            return False
        deleted.append(micro_batch)
        return True

    for loaded in _loaded(groups_of(staging, found, damaged, is_deleted), steps):
        report += loaded
        if should_stop is not None and should_stop():
            break
    report += Report(bytes_deleted=len(deleted), differences=steps.unit_differences())
    if damaged:
        raise DamagedMicroBatchesError(damaged, report)
    return report


def not_in_ledger(database: Database, found: list[MicroBatch]) -> list[MicroBatch]:
    """Those of `found` that are pending, in the same order."""
    known = loaded_messages(database, {micro_batch.hour for micro_batch in found})
    return [micro_batch for micro_batch in found if micro_batch.name not in known]


def loaded_messages(database: Database, hours: Collection[datetime]) -> dict[str, int]:
    """Messages of each micro-batch of `hours` that is in the ledger."""
    if not hours:
        return {}
    # One parameter for all of them: a statement takes 65,535, and eight years have more hours.
    any_of_them = sa.any_(sa.bindparam(None, [*hours], sa.ARRAY(Timestamp)))
    statement = sa.select(ledger.c.name, ledger.c.staged).where(ledger.c.hour == any_of_them)
    with database.connect() as connection:
        return dict(connection.execute(statement).tuples().all())


def groups_of(
    staging: Staging, found: list[MicroBatch], damaged: dict[str, str], is_deleted: Callable[[MicroBatch], bool]
) -> Iterator[Group]:
    """The micro-batches read, a bounded group at a time. Those that cannot be read are noted in `damaged`."""
    read: list[Read] = []
    seconds = {"read": 0.0}
    for micro_batch in found:
        started = time.perf_counter()
        try:
            table = staging.read(micro_batch)
        except MissingMicroBatchError:
            if not is_deleted(micro_batch):
                raise
            continue
        except DamagedMicroBatchError as err:
            damaged[micro_batch.name] = str(err)
            get_logger().error("micro_batch_damaged", micro_batch=micro_batch.name, error=str(err))
            continue
        finally:
            seconds["read"] += time.perf_counter() - started
        if read and _is_full([*read, (micro_batch, table)]):
            yield Group(read, seconds)
            read, seconds = [], {"read": 0.0}
        read.append((micro_batch, table))
    if read:
        yield Group(read, seconds)


def _is_full(group: list[Read]) -> bool:
    return (
        len(group) > GROUP_MICRO_BATCHES
        or sum(table.num_rows for _, table in group) > GROUP_MESSAGES
        or sum(table.nbytes for _, table in group) > GROUP_BYTES
    )


def _loaded(groups: Iterator[Group], steps: "_Steps") -> Iterator[Report]:
    """Each group's report once it is committed. The next group is decoded meanwhile, outside the load's lock.

    Not where a group says what later messages mean: those are decoded with what is committed. One that no longer says
    what it said before is seen by the next load, under its lock, and the messages after it are prepared again.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="load") as loader:
        loading: Future[Report] | None = None
        for group in groups:
            outcome = steps.prepare(group)
            if loading is not None:
                yield loading.result()
            loading = loader.submit(steps.load, group, outcome)
            if outcome.definitions:
                yield loading.result()
                loading = None
        if loading is not None:
            yield loading.result()


@dataclass(frozen=True, slots=True)
class _Steps:
    """What is done with each group."""

    database: Database
    routes: Routes
    settings: Settings
    mode: Mode
    run_id: str | None
    catalogue: Catalogue

    def prepare(self, group: Group) -> Outcome:
        sources, messages, source_of = in_received_order(group.read)
        return prepare(
            sources,
            messages,
            source_of,
            self.routes,
            self.database.begin,
            max_payload_bytes=self.settings.mqtt.max_payload_bytes,
            seconds=group.seconds,
            catalogue=self.catalogue,
            again=self.mode is Mode.AGAIN,
        )

    def load(self, group: Group, outcome: Outcome) -> Report:
        seconds, started = group.seconds, time.perf_counter()
        loaded = load_prepared(
            outcome, self._attempt, again=lambda: self.prepare(group), begin_trial=self.database.connect
        )
        loaded_at = time.perf_counter()
        seconds["load"] = loaded_at - started
        changed = None
        if loaded.before is not None:
            changed = differences(loaded.before, loaded.outcome, self.routes, names=self.catalogue.names)
            seconds["compare"] = time.perf_counter() - loaded_at
        report = replace(_report(loaded, seconds), sparkplug_gaps=self._gaps(loaded.outcome), differences=changed)
        if self.mode is Mode.NEW and loaded.made:
            note(self.database, loaded.outcome)
        get_logger().info(
            "micro_batches_loaded",
            micro_batches=report.micro_batches,
            messages=report.messages.staged,
            inserted=report.readings.inserted,
            took_s={name: round(value, 3) for name, value in seconds.items()},
        )
        return report

    def _gaps(self, outcome: Outcome) -> int:
        if is_split(self.settings.mqtt):
            return 0
        return len(watch(self.database, outcome, self.routes, is_new=self.mode is Mode.NEW))

    def unit_differences(self) -> Differences | None:
        """The series that have another unit since this call began, where it makes hours again."""
        return Differences(units=described_changes(self.catalogue)) if self.mode is Mode.AGAIN else None

    def _attempt(self, outcome: Outcome) -> Loaded:
        first_backoff = timedelta(seconds=self.settings.dead_letters.first_backoff_s)
        with self.database.begin() as connection:
            return load(
                connection,
                outcome,
                scope=Scope.NEW if self.mode is Mode.NEW else Scope.AGAIN,
                next_attempt_at=datetime.now(UTC) + first_backoff,
                run_id=self.run_id,
                by=self.run_id or "load",
            )


def in_received_order(group: list[Read]) -> tuple[list[Source], pa.Table, np.ndarray]:
    read = sorted(((_source(*entry), entry[1]) for entry in group), key=lambda one: _order(one[0]))
    sizes = [table.num_rows for _, table in read]
    messages = pa.concat_tables([table for _, table in read]).combine_chunks()
    return [source for source, _ in read], messages, np.repeat(np.arange(len(read)), sizes)


def _source(micro_batch: MicroBatch, table: pa.Table) -> Source:
    received_at = table["received_at"]
    # The collector seals no file without messages; one made by hand is accounted for all the same.
    first, last = (
        (received_at[0].as_py(), received_at[-1].as_py()) if table.num_rows else (micro_batch.hour, micro_batch.hour)
    )
    return Source(micro_batch.name, micro_batch.hour, first, last)


def _order(source: Source) -> tuple[datetime, bytes]:
    return source.first_received_at, source.name.encode()


def _report(loaded: Loaded, seconds: dict[str, float]) -> Report:
    made = loaded.made
    if not made:
        return Report(seconds=seconds)
    least = [one.least_time for one in made if one.least_time is not None]
    greatest = [one.greatest_time for one in made if one.greatest_time is not None]
    newest = max(source.last_received_at for source in loaded.outcome.sources)
    return Report(
        micro_batches=len(made),
        messages=sum((one.messages for one in made), MessageCounts()),
        readings=sum((one.readings for one in made), ReadingCounts()),
        conflicts=sum(one.conflicts for one in made),
        refused_by_code=letters_by_code(loaded.outcome),
        seconds=seconds,
        samples=loaded.outcome.samples,
        least_time=as_time(min(least, default=None)),
        greatest_time=as_time(max(greatest, default=None)),
        lag_s=(datetime.now(UTC) - newest).total_seconds(),
    )
