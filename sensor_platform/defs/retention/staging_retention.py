"""Old micro-batches are deleted once a day, where STAGING_RETENTION_DAYS says so. Never what was not processed."""

from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from sensor_platform.defs import names
from sensor_platform.defs.ingest.readings import POOL
from sensor_platform.defs.resources import Platform
from sensor_platform.defs.unavailable import skip_while_unavailable


class RetentionConfig(dg.Config):
    """Whether to delete, or only to say what would be deleted."""

    dry_run: bool = Field(default=False, description="say what would be deleted, and delete nothing")


# In the pool of the readings: nothing is deleted while a run reads it.
@dg.op(pool=POOL, description="Delete micro-batches that were processed and are older than STAGING_RETENTION_DAYS.")
def prune_staging(
    context: dg.OpExecutionContext, config: RetentionConfig, platform: dg.ResourceParam[Platform]
) -> None:
    from sensor_platform.pipeline.retention import prune

    days = platform.settings.staging_retention_days
    pruned = prune(platform.staging, platform.database, days=days, now=datetime.now(UTC), dry_run=config.dry_run)
    outcome = {
        "dry_run": pruned.dry_run,
        "retention_days": days,
        "micro_batches": pruned.micro_batches,
        "messages": pruned.messages,
        "kept_unprocessed": pruned.unprocessed,
    }
    context.add_output_metadata(outcome)
    if pruned.micro_batches and not config.dry_run:
        context.log_event(dg.AssetObservation(names.STAGED_MESSAGES, metadata=outcome))


@dg.job(
    name=names.RETENTION_JOB,
    description="Delete staged micro-batches that are old enough and processed; the ledger says when. 0 days: nothing.",
)
def staging_retention_job() -> None:
    prune_staging()


@dg.schedule(
    job=staging_retention_job,
    cron_schedule="23 2 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Once a day, where STAGING_RETENTION_DAYS is set.",
)
@skip_while_unavailable
def staging_retention_schedule(
    context: dg.ScheduleEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    days = platform.settings.staging_retention_days
    if not days:
        return dg.SkipReason("STAGING_RETENTION_DAYS is 0: every micro-batch is kept")
    return dg.RunRequest(tags={"sensor_platform/retention_days": f"{days:g}"})
