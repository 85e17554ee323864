"""Once an hour Dagster's own history is kept within `DAGSTER_HISTORY_DAYS`."""

from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from sensor_platform.defs import names
from sensor_platform.defs.resources import Platform


class HistoryConfig(dg.Config):
    """How much to keep, this time."""

    days: float | None = Field(default=None, gt=0, description="instead of DAGSTER_HISTORY_DAYS")


@dg.op(description="Delete runs, events and check evaluations that are older than DAGSTER_HISTORY_DAYS.")
def prune_dagster_history(
    context: dg.OpExecutionContext, config: HistoryConfig, platform: dg.ResourceParam[Platform]
) -> None:
    from sensor_platform.defs.retention.prune_history import prune_history

    days = config.days or platform.settings.dagster_history_days
    pruned = prune_history(context.instance, days=days, now=datetime.now(UTC))
    context.add_output_metadata(
        {"days": days, "runs": pruned.runs, "events": pruned.events, "check_evaluations": pruned.evaluations}
    )


@dg.job(
    name=names.HISTORY_JOB,
    description="Keep Dagster's history small: runs, events and check evaluations older than DAGSTER_HISTORY_DAYS go, "
    "ten times that for runs that failed. What partitions and checks show today stays.",
)
def history_job() -> None:
    prune_dagster_history()


@dg.schedule(
    job=history_job,
    cron_schedule="37 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Once an hour, unless DAGSTER_HISTORY_DAYS is 0.",
)
def history_schedule(
    context: dg.ScheduleEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    if not platform.settings.dagster_history_days:
        return dg.SkipReason("DAGSTER_HISTORY_DAYS is 0: all of Dagster's history is kept")
    return dg.RunRequest()
