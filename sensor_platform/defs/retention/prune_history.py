"""What of Dagster's own history may go: its open edition deletes no run, no event and no evaluation by itself.

What the UI shows as materialized it finds in events, so the newest materialization of each partition of each asset
stays, and with it the run that made it, of which little else is kept: its start, its end, what it materialized. The
newest evaluation of each check stays too. Of everything else, what succeeded is kept for so many days, and what failed
ten times as long.

Dagster has a way to delete a run, and none for events without a run and for evaluations: there its tables are named.
Its modules of SQL are slow to import, so a code location that loads leaves this one out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.runs.schema import RunsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage

FAILED_LONGER = 10
#: Runs that one run of the job deletes at most: the next hour goes on.
MOST_RUNS = 5_000
SUCCEEDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED)
WITHOUT_RUN = ""
#: Events of a run that stays for its partitions: a tenth of what it had.
LASTING = (
    dg.DagsterEventType.RUN_START,
    dg.DagsterEventType.RUN_SUCCESS,
    dg.DagsterEventType.RUN_CANCELED,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
)

_events, _evaluations = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c


@dataclass(frozen=True, slots=True)
class PrunedHistory:
    """What was deleted. `events`: those without a run, and those of runs that stay."""

    runs: int
    events: int
    evaluations: int


def prune_history(instance: dg.DagsterInstance, *, days: float, now: datetime) -> PrunedHistory:
    """Deletes what is older than `days` before `now`, except what the UI's state of today rests on."""
    before, failed_before = now - timedelta(days=days), now - timedelta(days=days * FAILED_LONGER)
    succeeded = _ended(instance, SUCCEEDED, before)
    runs = [*succeeded, *_ended(instance, (dg.DagsterRunStatus.FAILURE,), failed_before)]
    in_use = _in_use(instance)
    doomed = [run_id for run_id in runs if run_id not in in_use][:MOST_RUNS]
    for run_id in doomed:
        instance.delete_run(run_id)
        instance.compute_log_manager.delete_logs(prefix=[run_id])
    events = _thin(instance, [run_id for run_id in succeeded if run_id in in_use]) + _prune_events(instance, before)
    return PrunedHistory(len(doomed), events, _prune_evaluations(instance, before))


def _ended(instance: dg.DagsterInstance, statuses: Sequence[dg.DagsterRunStatus], before: datetime) -> list[str]:
    runs = RunsTable.c
    query = (
        sa.select(runs.run_id)
        .where(runs.status.in_([status.value for status in statuses]), runs.update_timestamp < _naive(before))
        .order_by(runs.id)
    )
    storage = instance.run_storage
    assert isinstance(storage, SqlRunStorage)
    with storage.connect() as connection:
        return list(connection.execute(query).scalars())


def _in_use(instance: dg.DagsterInstance) -> set[str]:
    """Runs with the newest materialization of a partition, or of an asset without partitions."""
    query = sa.select(_events.run_id).where(_events.id.in_(_newest(dg.DagsterEventType.ASSET_MATERIALIZATION)))
    with _storage(instance).index_connection() as connection:
        return set(connection.execute(query).scalars())


def _newest(*kinds: dg.DagsterEventType) -> sa.Select[tuple[int]]:
    return (
        sa.select(sa.func.max(_events.id))
        .where(_events.dagster_event_type.in_([kind.value for kind in kinds]), _events.asset_key.is_not(None))
        .group_by(_events.asset_key, _events.dagster_event_type, _events.partition)
    )


def _thin(instance: dg.DagsterInstance, runs: Sequence[str]) -> int:
    """Their logs and steps go."""
    lasting = [event.value for event in LASTING]
    kind = _events.dagster_event_type
    statement = sa.delete(SqlEventLogStorageTable).where(
        # One parameter for all of them: a statement takes 65,535, and two years have more.
        _events.run_id == sa.any_(sa.bindparam(None, [*runs], sa.ARRAY(sa.Text))),
        sa.or_(kind.is_(None), kind.not_in(lasting)),
    )
    with _storage(instance).index_connection() as connection:
        return int(connection.execute(statement).rowcount)


def _prune_events(instance: dg.DagsterInstance, before: datetime) -> int:
    """Reports without a run: what sensors say of external assets, each minute and at each change."""
    kinds = (dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION)
    statement = sa.delete(SqlEventLogStorageTable).where(
        _events.run_id == WITHOUT_RUN,
        _events.timestamp < _naive(before),
        _events.id.not_in(_newest(*kinds)),
    )
    with _storage(instance).index_connection() as connection:
        return int(connection.execute(statement).rowcount)


def _prune_evaluations(instance: dg.DagsterInstance, before: datetime) -> int:
    newest = sa.select(sa.func.max(_evaluations.id)).group_by(
        _evaluations.asset_key, _evaluations.check_name, _evaluations.partition
    )
    statement = sa.delete(AssetCheckExecutionsTable).where(
        _evaluations.create_timestamp < _naive(before), _evaluations.id.not_in(newest)
    )
    with _storage(instance).index_connection() as connection:
        return int(connection.execute(statement).rowcount)


def _storage(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    return storage


def _naive(time: datetime) -> datetime:
    """As Dagster keeps times: UTC, without saying so."""
    return time.astimezone(UTC).replace(tzinfo=None)
