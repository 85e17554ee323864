"""Runs as the sensors see them: which are in flight, which only seem to be, and how the last ones ended.

A run whose process was killed together with its code server stays STARTED for ever: nobody is left to say that it
failed, and Dagster's default launcher cannot ask. It would hold its pool, and with it every later run. So the sensors
look: a run says its process id when it starts, and sensors are evaluated on the machine whose code server started it.
"""

from datetime import UTC, datetime

import psutil
from dagster import (
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DefaultRunLauncher,
    RunRecord,
    RunsFilter,
)

from sensor_platform.defs.names import BACKFILL_TAG, PARENT_RUN_TAG

#: Not NOT_STARTED: a run that was made and never queued would hold up the next one for ever.
IN_FLIGHT = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
HAS_PROCESS = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
FAILED = [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]

SAYS_ITS_PROCESS_WITHIN_S = 60.0
#: A process that began later than the run said its id has only the number in common with it.
CLOCK_SLACK_S = 5.0
FIRST_BACKOFF_S = 5.0
LONGEST_BACKOFF_S = 60.0


def in_flight(instance: DagsterInstance, *, job: str, tags: dict[str, str]) -> list[DagsterRun]:
    """Runs of `job` with these tags that are queued or under way. "Re-execute" copies tags: those do not count."""
    runs = instance.get_runs(RunsFilter(job_name=job, tags=tags, statuses=IN_FLIGHT))
    return [run for run in runs if PARENT_RUN_TAG not in run.tags]


def is_awaited(instance: DagsterInstance, *, but: str) -> bool:
    """Whether a run is queued that may wait for the end of this one: any but those of `but`, which has its own pool,
    and but a backfill's while one of a backfill is under way, since that is what they wait for."""
    queued = instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.QUEUED]))
    waiting = [run for run in queued if run.job_name != but]
    if not waiting or any(BACKFILL_TAG not in run.tags for run in waiting):
        return bool(waiting)
    under_way = instance.get_runs(RunsFilter(statuses=HAS_PROCESS))
    return not any(BACKFILL_TAG in run.tags for run in under_way)


def end_dead_runs(instance: DagsterInstance) -> list[str]:
    """Marks runs whose process is gone as failed (or canceled); their ids."""
    if not isinstance(instance.run_launcher, DefaultRunLauncher):
        return []  # its runs live elsewhere: run monitoring asks the launcher
    records = instance.get_run_records(RunsFilter(statuses=HAS_PROCESS))
    return [record.dagster_run.run_id for record in records if _is_dead(instance, record) and _end(instance, record)]


def _is_dead(instance: DagsterInstance, record: RunRecord) -> bool:
    for entry in instance.all_logs(record.dagster_run.run_id, of_type=DagsterEventType.ENGINE_EVENT):
        said = entry.dagster_event.engine_event_data.metadata.get("pid") if entry.dagster_event else None
        if said is not None:
            return not _lives(int(str(said.value)), said_at=entry.timestamp)
    launched = record.update_timestamp.replace(tzinfo=UTC)
    return (datetime.now(UTC) - launched).total_seconds() > SAYS_ITS_PROCESS_WITHIN_S


def _lives(pid: int, *, said_at: float) -> bool:
    try:
        process = psutil.Process(pid)
        return process.create_time() < said_at + CLOCK_SLACK_S and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _end(instance: DagsterInstance, record: RunRecord) -> bool:
    run = instance.get_run_by_id(record.dagster_run.run_id)
    if run is None or run.is_finished:
        return False  # its last words came while we looked
    if run.status == DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, "The process of this run is gone.")
    else:
        instance.report_run_failed(run, "The process of this run is gone: it was killed, or its machine restarted.")
    return True


def last_run(instance: DagsterInstance, *, job: str, tags: dict[str, str]) -> DagsterRun | None:
    runs = instance.get_runs(RunsFilter(job_name=job, tags=tags), limit=1)
    return runs[0] if runs else None


def backoff_left_s(instance: DagsterInstance, *, job: str, tags: dict[str, str], now: datetime) -> float:
    """Seconds to wait before the next attempt: none after one failure, then 5, 10, ... 60 while failures follow."""
    records = instance.get_run_records(RunsFilter(job_name=job, tags=tags), limit=8)
    failures = 0
    for record in records:
        if record.dagster_run.status not in FAILED:
            break
        failures += 1
    if failures < 2:
        return 0.0
    waits: float = min(FIRST_BACKOFF_S * 2 ** (failures - 2), LONGEST_BACKOFF_S)
    return waits - (now.timestamp() - (records[0].end_time or 0.0))
