"""Asks for the rollups of days whose readings changed. Readings go first: one that waits outweighs a mean.

Before each request the micro-batches committed since the last one are audited. While one is not accounted for, the
cursor stays where it is, so that the mismatch is found again until it is mended.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from sensor_platform.defs import names
from sensor_platform.defs.metrics.rollups import rollups_job
from sensor_platform.defs.partitions import day_stretches
from sensor_platform.defs.resources import Platform
from sensor_platform.defs.runs import backoff_left_s, in_flight, last_run
from sensor_platform.defs.unavailable import skip_while_unavailable
from sensor_platform.pipeline.mode import Mode

EVERY_S = 20
MOST_DAYS = 31
MOST_RUNS = 4
READINGS_MAY_WAIT_S = 10.0
NEW = {names.MODE_TAG: str(Mode.NEW)}
#: A row says when its transaction began; it is seen when that commits.
COMMITS_WITHIN = timedelta(minutes=2)
FIRST_AUDIT = timedelta(hours=1)


@dg.sensor(
    job=rollups_job,
    minimum_interval_seconds=EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="One run a stretch of changed days, while no readings wait and all messages are accounted for.",
)
@skip_while_unavailable
def rollup_sensor(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SkipReason | dg.SensorResult:
    from sensor_platform.pipeline.accounting import mismatches
    from sensor_platform.pipeline.rollups import changed_days

    now = datetime.now(UTC)
    # Just before midnight a device's clock may be in tomorrow already, a partition that is not there yet.
    days = [day for day in changed_days(platform.database) if day <= now.date()]
    if not days:
        return dg.SkipReason("no day changed")
    reason = why_not_now(context.instance, platform, now=now)
    if reason is not None:
        return dg.SkipReason(f"{len(days)} days changed, but {reason}")
    audited_until = datetime.fromisoformat(context.cursor) if context.cursor else now - FIRST_AUDIT
    found = mismatches(platform.database, committed_since=audited_until)
    if found:
        return dg.SkipReason(f"{len(days)} days changed, but {len(found)} mismatches stand: {found[0]}")
    before = last_run(context.instance, job=names.ROLLUPS_JOB, tags=NEW)
    requests = [
        dg.RunRequest(
            run_key=f"{first} to {last} after {before.run_id if before else 'none'}",
            tags={**NEW, names.RANGE_START_TAG: first.isoformat(), names.RANGE_END_TAG: last.isoformat()},
        )
        for first, last in day_stretches(days, at_most=MOST_DAYS)[:MOST_RUNS]
    ]
    return dg.SensorResult(run_requests=requests, cursor=(now - COMMITS_WITHIN).isoformat())


def why_not_now(instance: dg.DagsterInstance, platform: Platform, *, now: datetime) -> str | None:
    """What a rollup run has to wait for; None: nothing."""
    busy = in_flight(instance, job=names.ROLLUPS_JOB, tags=NEW)
    if busy:
        return f"run {busy[0].run_id} is {busy[0].status.value.lower()}"
    waiting_s = platform.waiting_s(now=now)
    if waiting_s > READINGS_MAY_WAIT_S:
        return f"readings have waited for {waiting_s:.0f} s and go first"
    wait_s = backoff_left_s(instance, job=names.ROLLUPS_JOB, tags=NEW, now=now)
    return f"runs fail, the next attempt is in {wait_s:.0f} s" if wait_s > 0 else None
