"""`metrics_minute`, `metrics_hourly`, `metrics_daily`: one step, partitioned by the day in which things happened."""

import random
import warnings
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import sqlalchemy as sa

from sensor_platform.database import tables
from sensor_platform.defs import names
from sensor_platform.defs.columns import table_metadata
from sensor_platform.defs.mode import ModeConfig, mode_of
from sensor_platform.defs.newest import NEWEST, rollups_entry
from sensor_platform.defs.partitions import event_days
from sensor_platform.defs.resources import Platform
from sensor_platform.defs.versions import rollups_version

if TYPE_CHECKING:
    from sensor_platform.pipeline.days import DayFigures
    from sensor_platform.pipeline.newest import RollupLevel
    from sensor_platform.pipeline.reconciliation import Reconciliation
    from sensor_platform.pipeline.rollups import RollupReport

POOL = "rollups"
#: Event days that one run of a backfill makes again, each committed on its own.
MOST_DAYS_AGAIN = 31
#: Asset -> level of the pipeline, in the order in which they are made.
LEVEL_OF: "Mapping[dg.AssetKey, RollupLevel]" = {
    names.METRICS_MINUTE: "minute",
    names.METRICS_HOURLY: "hour",
    names.METRICS_DAILY: "day",
}

with warnings.catch_warnings():
    # A reading of any day may arrive in any hour: strict mapping would refuse backfills of days before the first hour.
    warnings.simplefilter("ignore", category=dg.BetaWarning)
    any_received_hour = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)

MADE_ANEW = (
    "Loading marks what changed; runs of `rollup_sensor` make only that anew, Materialize and Backfill make whole days "
    "anew. Days begin in 2001: most have nothing, and are not missing."
)

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
        "Figures of each series (a metric of a sensor) a minute of event time: count, least, greatest, mean, "
        "deviation, first, last, quality, and what a mean over time is made of. The view `rollup_minute` has names "
        f"and units. {MADE_ANEW}",
    ),
    _spec(
        names.METRICS_HOURLY,
        names.METRICS_MINUTE,
        tables.metrics_hourly,
        "Figures of each series (a metric of a sensor) an hour of event time, made of its minutes. The view "
        f"`rollup_hour` has names and units. {MADE_ANEW}",
    ),
    _spec(
        names.METRICS_DAILY,
        names.METRICS_HOURLY,
        tables.metrics_daily,
        "Figures of each series (a metric of a sensor) a day of event time (UTC), made of its hours. The view "
        f"`rollup_day` has names and units. {MADE_ANEW}",
    ),
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
    backfill_policy=dg.BackfillPolicy.multi_run(MOST_DAYS_AGAIN),
    can_subset=True,
    pool=POOL,
)
def rollups(
    context: dg.AssetExecutionContext, config: ModeConfig, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Make the rollups of a range of event days."""
    from sensor_platform.pipeline.reconciliation import reconcile
    from sensor_platform.pipeline.rollups import RollupReport, roll_up

    mode = mode_of(context.run, config)
    wanted = {key: level for key, level in LEVEL_OF.items() if key in context.selected_asset_keys}
    report = RollupReport()
    # Each day is committed on its own: a run that is killed leaves days made, and others wait for a day at most.
    for day in map(day_of, sorted(context.partition_keys)):
        report += roll_up(platform.database, first=day, last=day, levels=tuple(wanted.values()), mode=mode)
    _tell_days(context, platform, wanted)
    for key, level in wanted.items():
        yield dg.MaterializeResult(asset_key=key, metadata={"mode": str(mode), "run": summary(report, level)})
    if MATCHES_READINGS.key in context.selected_asset_check_keys:
        yield matches_readings(reconcile(platform.database, made=random.sample(report.days, len(report.days))))


def summary(report: "RollupReport", level: str) -> str:
    """What a run did at one level, in a sentence."""
    left = (
        f"; {report.left:,} buckets stay as they are: retention deleted what they were made of" if report.left else ""
    )
    return f"{report.rows[level]:,} rows made; {report.buckets:,} changed buckets of all levels looked at{left}"


def _tell_days(
    context: dg.AssetExecutionContext, platform: Platform, wanted: "Mapping[dg.AssetKey, RollupLevel]"
) -> None:
    """What is of each partition: its day's totals; of the last one, the newest rows."""
    from sensor_platform.pipeline.days import day_figures
    from sensor_platform.pipeline.newest import newest_rollups

    keys = {day_of(key): key for key in context.partition_keys}
    figures = day_figures(platform.database, first=min(keys), last=max(keys))
    for asset, level in wanted.items():
        newest = rollups_entry(newest_rollups(platform.database, level, limit=NEWEST))
        for day, key in keys.items():
            told = describe_day(figures[day], level) | (newest if day == max(keys) else {})
            context.add_asset_metadata(told, asset_key=asset, partition_key=key)


def describe_day(day: "DayFigures", level: "RollupLevel") -> dict[str, Any]:
    """A day's totals. Rows of minutes are not counted: a day of a big plant has millions."""
    rows = {"hour": day.hours, "day": day.series}
    return {
        **({"dagster/partition_row_count": rows[level]} if level in rows else {}),
        "series": day.series,
        "readings": day.readings,
        **({"good_percent": day.good_percent} if day.good_percent is not None else {}),
    }


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
