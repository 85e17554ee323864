"""Runs in any state, with the events that Dagster would have written."""

from collections.abc import Mapping, Sequence

import dagster as dg

# Not public; nothing public makes an event of a run that somebody else executes.
from dagster._core.events import EngineEventData
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_run_for_test

ENDS = {
    dg.DagsterRunStatus.SUCCESS: dg.DagsterEventType.RUN_SUCCESS,
    dg.DagsterRunStatus.FAILURE: dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterRunStatus.CANCELED: dg.DagsterEventType.RUN_CANCELED,
}


def job_run(
    instance: dg.DagsterInstance, job: str, status: dg.DagsterRunStatus, *, tags: Mapping[str, str] | None = None
) -> dg.DagsterRun:
    """A run of a job; one that ended did so just now."""
    before = dg.DagsterRunStatus.STARTED if status in ENDS else status
    run: dg.DagsterRun = create_run_for_test(
        instance, job_name=job, status=before, tags=dict(tags or {}), remote_job_origin=_origin(job)
    )
    if status in ENDS:
        end = dg.DagsterEvent(event_type_value=ENDS[status].value, job_name=job)
        instance.report_dagster_event(end, run_id=run.run_id)
    return run


def _origin(job: str) -> RemoteJobOrigin:
    """Dagster asks for it of a run that is queued."""
    return RemoteJobOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("sensor_platform"), "__repository__"), job
    )


def asset_run(
    instance: dg.DagsterInstance, assets: Sequence[dg.AssetKey], status: dg.DagsterRunStatus
) -> dg.DagsterRun:
    """A run as the UI's backfills start it: its job is Dagster's own, its selection says what it is about."""
    run: dg.DagsterRun = create_run_for_test(
        instance, job_name="__ASSET_JOB", status=status, asset_selection=frozenset(assets)
    )
    return run


def say_process(instance: dg.DagsterInstance, run: dg.DagsterRun, pid: int, *, at: float | None = None) -> None:
    """What the process of a run reports first."""
    event = dg.DagsterEvent(
        event_type_value=dg.DagsterEventType.ENGINE_EVENT.value,
        job_name=run.job_name,
        message=f"Started process for run (pid: {pid}).",
        event_specific_data=EngineEventData.in_process(pid),
    )
    instance.report_dagster_event(event, run_id=run.run_id, timestamp=at)
