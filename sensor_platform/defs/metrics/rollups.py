"""`metrics_minute`, `metrics_hourly`, `metrics_daily`: one step, partitioned by the day in which things happened."""

import warnings
from collections.abc import Iterator
from datetime import date, datetime
from typing import TYPE_CHECKING

import dagster as dg
import sqlalchemy as sa

from sensor_platform.database import tables
from sensor_platform.defs import names
from sensor_platform.defs.columns import table_metadata
from sensor_platform.defs.mode import ModeConfig, mode_of
from sensor_platform.defs.partitions import event_days
from sensor_platform.defs.resources import Platform
from sensor_platform.defs.versions import rollups_version

if TYPE_CHECKING:
    from sensor_platform.pipeline.reconciliation import Reconciliation
    from sensor_platform.pipeline.rollups import RollupReport

POOL = "rollups"
#: Asset -> level of the pipeline, in the order in which they are made.
LEVEL_OF = {names.METRICS_MINUTE: "minute", names.METRICS_HOURLY: "hour", names.METRICS_DAILY: "day"}

with warnings.catch_warnings():
    # A reading of any day may arrive in any hour: strict mapping would refuse backfills of days before the first hour.
    warnings.simplefilter("ignore", category=dg.BetaWarning)
    any_received_hour = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)

_version = rollups_version()


def _spec(key: dg.AssetKey, upstream: dg.AssetDep | dg.AssetKey, table: sa.Table, description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        key,
        deps=[upstream],
        description=description,
        group_name="metrics",
        kinds={"postgres"},
        owners=names.OWNERS,
        tags={"sensor_platform/stage": "roll_up"},
        skippable=True,
        code_version=_version,
        metadata=table_metadata(table),
    )


specs = [
    _spec(
        names.METRICS_MINUTE,
        dg.AssetDep(names.READINGS, partition_mapping=any_received_hour),
        tables.metrics_minute,
        "Each series a minute: count, least, greatest, mean, deviation, first, last, quality, and what a mean over "
        "time is made of; the view `rollup_minute` has names. Loading marks what changed; runs of `rollup_sensor` make "
        "only that anew, Materialize and Backfill make whole days anew.",
    ),
    _spec(names.METRICS_HOURLY, names.METRICS_MINUTE, tables.metrics_hourly, "The same an hour, from the minutes."),
    _spec(names.METRICS_DAILY, names.METRICS_HOURLY, tables.metrics_daily, "The same a day (UTC), from the hours."),
]


MATCHES_READINGS = dg.AssetCheckSpec(
    "rollups_match_readings",
    asset=names.METRICS_DAILY,
    description="Of some of the days just made, and of some older ones, by chance: count, sum, least and greatest are "
    "those of the readings. Days that are to be made anew are left out.",
)


@dg.multi_asset(
    name="rollups",
    specs=specs,
    check_specs=[MATCHES_READINGS],
    partitions_def=event_days,
    backfill_policy=dg.BackfillPolicy.single_run(),
    can_subset=True,
    pool=POOL,
)
def rollups(
    context: dg.AssetExecutionContext, config: ModeConfig, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Make the rollups of a range of event days."""
    from sensor_platform.pipeline.reconciliation import reconcile
    from sensor_platform.pipeline.rollups import roll_up

    mode = mode_of(context.run, config)
    wanted = {key: level for key, level in LEVEL_OF.items() if key in context.selected_asset_keys}
    report = roll_up(
        platform.database,
        first=day_of(min(context.partition_keys)),
        last=day_of(max(context.partition_keys)),
        levels=tuple(wanted.values()),
        mode=mode,
    )
    for key, level in wanted.items():
        yield dg.MaterializeResult(asset_key=key, metadata={"mode": str(mode), **describe(report, level)})
    if MATCHES_READINGS.key in context.selected_asset_check_keys:
        yield matches_readings(reconcile(platform.database, made=report.days))


def describe(report: "RollupReport", level: str) -> dict[str, int]:
    left = {"buckets_left": report.left} if report.left else {}  # retention deleted what they were made of
    return {"rows": report.rows[level], "buckets": report.buckets, **left}


def matches_readings(found: "Reconciliation") -> dg.AssetCheckResult:
    """The verdict on days that were held against their readings."""
    return dg.AssetCheckResult(
        asset_key=names.METRICS_DAILY,
        check_name=MATCHES_READINGS.name,
        passed=not found.differences,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(found.differences[:5]) or _all_right(found),
        metadata={"days": found.days, "days_in_part": found.in_part, "differences": len(found.differences)},
    )


def _all_right(found: "Reconciliation") -> str:
    in_part = f"; of {found.in_part}, which have too many, a stretch was looked at" if found.in_part else ""
    return f"{found.days} days of series are what their readings say{in_part}"


def day_of(key: str) -> date:
    return datetime.strptime(key, "%Y-%m-%d").date()  # noqa: DTZ007 - a day has no time zone


rollups_job = dg.define_asset_job(
    names.ROLLUPS_JOB,
    selection=dg.AssetSelection.assets(*LEVEL_OF),
    description="Make the rollups of days whose readings changed. `rollup_sensor` starts it.",
)
