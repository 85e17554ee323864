"""Dead letters are tried again: by a schedule as they come due, or by a person with the filters of `RetryConfig`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from sensor_platform.defs import names
from sensor_platform.defs.dead_letters.due import count_due
from sensor_platform.defs.markdown import markdown_table
from sensor_platform.defs.resources import Platform
from sensor_platform.defs.unavailable import skip_while_unavailable

if TYPE_CHECKING:
    from sensor_platform.dead_letters.retry import RetryReport


class RetryConfig(dg.Config):
    """Which dead letters to try again. Without ids: those that are due, narrowed by the filters."""

    ids: list[int] = Field(default=[], description="these letters, due or not")
    codes: list[str] = Field(default=[], description="only letters with one of these codes; empty: all")
    routes: list[str] = Field(default=[], description="only letters of one of these routes; empty: all")
    limit: int = Field(default=1000, gt=0, description="at most this many")
    dry_run: bool = Field(default=False, description="say what a retry would do, and do nothing")


@dg.op(
    pool="dead_letters",
    description="Decode again with today's routes and transformers; successes become readings.",
)
def retry_dead_letters(
    context: dg.OpExecutionContext, config: RetryConfig, platform: dg.ResourceParam[Platform]
) -> None:
    from sensor_platform.dead_letters.retry import retry

    report = retry(
        platform.database,
        platform.routes,
        settings=platform.settings,
        ids=config.ids or None,
        codes=config.codes or None,
        routes_only=config.routes or None,
        limit=config.limit,
        dry_run=config.dry_run,
        by=f"run {context.run_id}",
    )
    outcome = describe(report)
    context.add_output_metadata(outcome)
    if not config.dry_run:
        context.log_event(dg.AssetObservation(names.DEAD_LETTERS, metadata=outcome))


def describe(report: "RetryReport") -> dict[str, Any]:
    return {
        "dry_run": report.dry_run,
        "letters": report.letters,
        "messages": report.messages,
        **{f"letters_{state}": count for state, count in sorted(report.states.items())},
        "readings_inserted": report.inserted,
        "readings_duplicate": report.duplicate,
        **({"left_for_later": dg.MetadataValue.json(report.left)} if report.left else {}),
        **({"outcomes": dg.MetadataValue.md(markdown_table(report.outcomes))} if report.outcomes else {}),
    }


@dg.job(
    name=names.RETRY_JOB,
    description="Try dead letters again, with today's routes and transformers. A failed retry counts an attempt.",
)
def dead_letter_retry_job() -> None:
    retry_dead_letters()


@dg.schedule(
    job=dead_letter_retry_job,
    cron_schedule="*/10 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every ten minutes, when letters are due.",
)
@skip_while_unavailable
def dead_letter_retry_schedule(
    context: dg.ScheduleEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    due = count_due(platform.database, now=datetime.now(UTC))
    if not due:
        return dg.SkipReason("no dead letter is due")
    return dg.RunRequest(tags={"sensor_platform/due": str(due)})
