"""Checks of what arrives and of what is loaded. Unpartitioned: others lose evaluations in runs over a range."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from sensor_platform.defs import names
from sensor_platform.defs.ingest.collector import read_collectors, verdict
from sensor_platform.defs.resources import Platform

COLLECTOR_ALIVE = "collector_alive"
FRESH_WITHIN_S = 60.0
AUDITED_ALONE = timedelta(hours=1)


@dg.asset_check(
    asset=names.MQTT_MESSAGES,
    name=COLLECTOR_ALIVE,
    description="Every collector is heard of, and collects when it should. mqtt_sensor reports it without a run.",
)
def collector_alive(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
    beats, wished = read_collectors(platform.database)
    down_after_s = platform.settings.health.collector_down_s
    told = verdict(beats, wished=wished, now=datetime.now(UTC), down_after_s=down_after_s)
    return dg.AssetCheckResult(passed=told.passed, severity=dg.AssetCheckSeverity.ERROR, description=told.description)


@dg.asset_check(
    asset=names.READINGS,
    blocking=True,
    description="Each micro-batch's ledger row agrees with the tables. A mismatch fails the run.",
)
def every_message_accounted_for(
    context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]
) -> dg.AssetCheckResult:
    """Of the run's own micro-batches, where it loaded any; otherwise of those of the last hour."""
    from sensor_platform.pipeline.accounting import mismatches

    if _loads(context.run):
        found = mismatches(platform.database, run_id=context.run.run_id)
    else:
        found = mismatches(platform.database, committed_since=datetime.now(UTC) - AUDITED_ALONE)
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(found[:5]) or "every message and reading is accounted for",
        metadata={"mismatches": len(found)},
    )


def _loads(run: dg.DagsterRun) -> bool:
    """Whether `readings` is made in this run, and not only checked."""
    return run.job_name == names.READINGS_JOB or names.READINGS in (run.asset_selection or ())


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            "error_rate",
            asset=names.READINGS,
            description="Of five minutes' messages, no more were refused than MQTT_THRESHOLD_ERROR_RATE.",
        ),
        dg.AssetCheckSpec(
            "freshness",
            asset=names.READINGS,
            description=f"No sealed micro-batch has been waiting to be loaded for longer than {FRESH_WITHIN_S:.0f} s.",
        ),
        dg.AssetCheckSpec(
            "dead_letter_backlog",
            asset=names.DEAD_LETTERS,
            description="No more dead letters are pending than DEAD_LETTER_THRESHOLD_BACKLOG.",
        ),
    ],
    can_subset=True,
)
def figures_within_limits(
    context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.AssetCheckResult]:
    """Health figures against their limits. Warnings: the tables are right, and alerts tell people."""
    from sensor_platform.health.figures import DEAD_LETTERS_PENDING, ERROR_RATE, STAGING_LAG, measure

    measured = {f.figure: f.value for f in measure(platform.database, platform.staging, now=datetime.now(UTC))}
    limits = platform.settings.health
    judged = {
        ("error_rate", names.READINGS): (measured[ERROR_RATE], limits.error_rate_percent, "%"),
        ("freshness", names.READINGS): (measured[STAGING_LAG], FRESH_WITHIN_S, "s"),
        ("dead_letter_backlog", names.DEAD_LETTERS): (
            measured[DEAD_LETTERS_PENDING],
            limits.dead_letter_backlog,
            "pending",
        ),
    }
    for key in context.selected_asset_check_keys:
        yield _within(key, *judged[key.name, key.asset_key])


def _within(key: dg.AssetCheckKey, value: float | None, limit: float, unit: str) -> dg.AssetCheckResult:
    """A limit of 0 is switched off, as for the alert rules."""
    value = value or 0.0
    return dg.AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=not limit or value <= limit,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{value:.1f} {unit}; the limit is {limit:g}" + ("" if limit else " (off)"),
        metadata={"value": value, "limit": float(limit)},
    )
