"""Turns sealed micro-batches into runs: one for all that is pending in one contiguous stretch of hours, oldest first.

Dagster looks at sensors every 5 s; most of a reading's way would be spent waiting for that. So a tick that finds
nothing to ask for stays and looks again, for as long as shutting down can wait.
"""

import time
from datetime import UTC, datetime

import dagster as dg

from sensor_platform.defs import names
from sensor_platform.defs.ingest.readings import process_readings_job
from sensor_platform.defs.partitions import clamped, hour_stretches, key_of
from sensor_platform.defs.resources import Platform
from sensor_platform.defs.runs import backoff_left_s, end_dead_runs, in_flight, last_run
from sensor_platform.defs.unavailable import skip_without_database
from sensor_platform.pipeline.process import Mode

MOST_HOURS = 48
LOOK_AGAIN_S = 0.25
NEW = {names.MODE_TAG: str(Mode.NEW)}


@dg.sensor(
    job=process_readings_job,
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="One run for all pending micro-batches of a stretch of hours; none while one is in flight.",
)
@skip_without_database
def micro_batch_sensor(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    for run_id in end_dead_runs(context.instance):
        context.log.warning("run %s was marked as ended: its process is gone", run_id)
    deadline = time.monotonic() + platform.tick_wait_s
    while True:
        answer = next_run(context.instance, platform, now=datetime.now(UTC))
        if isinstance(answer, dg.RunRequest) or time.monotonic() + LOOK_AGAIN_S > deadline:
            return answer
        time.sleep(LOOK_AGAIN_S)


def next_run(instance: dg.DagsterInstance, platform: Platform, *, now: datetime) -> dg.RunRequest | dg.SkipReason:
    """The run that is due now, or why there is none."""
    busy = in_flight(instance, job=names.READINGS_JOB, assets=[names.READINGS, names.DEAD_LETTERS])
    if busy:
        return dg.SkipReason(f"run {busy[0].run_id} is {busy[0].status.value.lower()}")
    pending = platform.pending()
    if not pending:
        return dg.SkipReason("nothing is pending")
    wait_s = backoff_left_s(instance, job=names.READINGS_JOB, tags=NEW, now=now)
    if wait_s > 0:
        return dg.SkipReason(
            f"{len(pending)} micro-batches are pending; runs fail, the next attempt is in {wait_s:.0f} s"
        )
    first, last = hour_stretches((clamped(micro_batch.hour) for micro_batch in pending), at_most=MOST_HOURS)[0]
    before = last_run(instance, job=names.READINGS_JOB, tags=NEW)
    return dg.RunRequest(
        # One attempt a key: a tick that is evaluated twice asks once, and a run that failed does not block the next.
        run_key=f"{pending[0].name} after {before.run_id if before else 'none'}",
        tags={**NEW, names.RANGE_START_TAG: key_of(first), names.RANGE_END_TAG: key_of(last)},
    )
