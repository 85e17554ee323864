"""`readings` and `dead_letters`: one step, because a micro-batch's rows, letters and ledger row commit together."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from sensor_platform.database import tables
from sensor_platform.defs import names
from sensor_platform.defs.columns import table_metadata
from sensor_platform.defs.ingest.checks import (
    DEFINITIONS_IN_FORCE,
    FIGURES_WITHIN_LIMITS,
    accounted_for,
    definitions_in_force,
    figures_within_limits,
)
from sensor_platform.defs.ingest.describe import (
    describe_dead_letters,
    describe_hour,
    describe_micro_batches,
    describe_readings,
    run_figures,
)
from sensor_platform.defs.links import live_page
from sensor_platform.defs.mode import ModeConfig, mode_of
from sensor_platform.defs.newest import NEWEST, NEWEST_LETTERS, letters_entry, readings_entry
from sensor_platform.defs.partitions import hour_of, received_hours, window
from sensor_platform.defs.resources import Platform
from sensor_platform.defs.runs import is_awaited
from sensor_platform.defs.versions import code_version
from sensor_platform.pipeline.mode import Mode
from sensor_platform.settings import load_settings

if TYPE_CHECKING:
    from sensor_platform.pipeline.report import Report

POOL = "readings"
#: Hours that one run of a backfill makes again: what is lost of its history, not of the tables, where it is killed.
MOST_HOURS_AGAIN = 24
ACCOUNTED_FOR = "every_message_accounted_for"
READABLE = "every_micro_batch_readable"
#: Each stands in Dagster's history once a partition.
MOST_MICRO_BATCHES, SHORT_RANGE = 20, 24


class ReadingsConfig(ModeConfig):
    """How a run of `readings` goes about its hours."""

    stop_after_s: float = Field(
        default=300, gt=0, description="a run of what is new ends after this and leaves the rest to the next one"
    )


METRIC_COLUMNS = {
    "value": "in the unit of its series (the view `reading` shows it); null where the reading is text only",
    "series": "series.id: a metric of a sensor, and its unit; the view `reading` has the names",
}

_version = code_version(load_settings())

readings_spec = dg.AssetSpec(
    names.READINGS,
    deps=[names.STAGED_MESSAGES],
    description=(
        "Decoded, validated readings in the table `metric`, partitioned by the hour in which they were received. "
        "Materialize and Backfill process every message of the hours that they name again: the tables end up the same, "
        "or corrected where routes or transformers were mended. Runs of `micro_batch_sensor` take only what is new, "
        "also beside a backfill."
    ),
    group_name="ingest",
    kinds={"python", "pandera", "postgres"},
    owners=names.OWNERS,
    tags={"sensor_platform/stage": "load"},
    code_version=_version,
    metadata={**table_metadata(tables.metric, METRIC_COLUMNS), **live_page()},
)

dead_letters_spec = dg.AssetSpec(
    names.DEAD_LETTERS,
    deps=[names.STAGED_MESSAGES],
    description=(
        "Messages, or readings of them, that were refused: stage, code, a sentence for a person, and the raw bytes. "
        "They commit together with the readings of the same micro-batch. `dead_letter_retry_job` tries them again."
    ),
    group_name="dead_letters",
    kinds={"python", "postgres"},
    owners=names.OWNERS,
    tags={"sensor_platform/stage": "refuse"},
    code_version=_version,
    metadata={**table_metadata(tables.dead_letter), **live_page()},
)


@dg.multi_asset(
    name="readings_and_dead_letters",
    specs=[readings_spec, dead_letters_spec],
    # In the same step: one of its own costs more than the question.
    check_specs=[
        dg.AssetCheckSpec(
            ACCOUNTED_FOR,
            asset=names.READINGS,
            blocking=True,
            description="Each ledger row of the run agrees with the tables. A mismatch fails the run.",
        ),
        dg.AssetCheckSpec(
            READABLE,
            asset=names.READINGS,
            description="No micro-batch of the run's hours is damaged. Damaged ones stay pending; all others are in.",
        ),
        DEFINITIONS_IN_FORCE,
        *FIGURES_WITHIN_LIMITS,
    ],
    partitions_def=received_hours,
    backfill_policy=dg.BackfillPolicy.multi_run(MOST_HOURS_AGAIN),
    pool=POOL,
)
def readings_and_dead_letters(
    context: dg.AssetExecutionContext, config: ReadingsConfig, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.MaterializeResult[None]]:
    """Decode, validate and load the micro-batches of a range of received hours."""
    from sensor_platform.dead_letters.rebirths import try_to_ask
    from sensor_platform.pipeline.accounting import mismatches
    from sensor_platform.pipeline.outdated import outdated
    from sensor_platform.pipeline.process import DamagedMicroBatchesError

    mode = mode_of(context.run, config)
    readable = dg.AssetCheckResult(asset_key=names.READINGS, check_name=READABLE, passed=True)
    try:
        report = _process_new(context, config, platform) if mode is Mode.NEW else _process_again(context, platform)
    except DamagedMicroBatchesError as err:  # everything else is in: a red check, not a failed run without end
        report = err.report
        readable = dg.AssetCheckResult(
            asset_key=names.READINGS, check_name=READABLE, passed=False, description=str(err)
        )
    _tell_hours(context, platform, report)
    if mode is Mode.NEW:
        try_to_ask(platform.database, platform.settings, now=datetime.now(UTC))
    found = mismatches(platform.database, run_id=context.run.run_id)
    accounted = accounted_for(found, key=dg.AssetCheckKey(names.READINGS, ACCOUNTED_FOR))
    in_force = definitions_in_force(outdated(platform.database))
    yield dg.MaterializeResult(
        asset_key=names.READINGS,
        metadata=describe_readings(report, mode=mode),
        check_results=[accounted, readable, in_force, *figures_within_limits(platform, names.READINGS)],
    )
    yield dg.MaterializeResult(
        asset_key=names.DEAD_LETTERS,
        metadata=describe_dead_letters(report),
        check_results=figures_within_limits(platform, names.DEAD_LETTERS),
    )


def _process_new(context: dg.AssetExecutionContext, config: ReadingsConfig, platform: Platform) -> "Report":
    """Stays a little longer than it takes to seal the next micro-batch; others that wait for the pool end it."""
    from sensor_platform.pipeline.follow import Stay, process_and_follow

    quiet_s = 1.5 * platform.settings.mqtt.buffer_flush_interval_ms / 1000 + 1
    return process_and_follow(
        platform.staging,
        platform.database,
        platform.routes,
        Stay(platform.settings.run_stays_s, quiet_s, lambda: is_awaited(context.instance, but=names.ROLLUPS_JOB)),
        settings=platform.settings,
        hours=window(context.partition_keys),
        run_id=context.run.run_id,
        should_stop=_after(config.stop_after_s),
    )


def _process_again(context: dg.AssetExecutionContext, platform: Platform) -> "Report":
    """Never stops early: a run that tells hours again must tell all of them."""
    from sensor_platform.pipeline.process import process

    return process(
        platform.staging,
        platform.database,
        platform.routes,
        settings=platform.settings,
        hours=window(context.partition_keys),
        mode=Mode.AGAIN,
        run_id=context.run.run_id,
    )


def _after(seconds: float) -> Callable[[], bool]:
    """Whether time is up."""
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() > deadline


def _tell_hours(context: dg.AssetExecutionContext, platform: Platform, report: "Report") -> None:
    """What is of each partition: its hour's totals and the run's micro-batches; of the last one, the newest rows."""
    from sensor_platform.pipeline.hours import hour_figures, loaded_by
    from sensor_platform.pipeline.newest import newest_letters, newest_readings

    keys = {hour_of(key): key for key in context.partition_keys}
    most = MOST_MICRO_BATCHES if len(keys) <= SHORT_RANGE else 3
    loaded = loaded_by(platform.database, context.run.run_id, most_an_hour=most)
    for hour, figures in hour_figures(platform.database, list(keys)).items():
        of_readings, of_letters = describe_hour(figures)
        if hour == max(keys):
            of_readings |= readings_entry(newest_readings(platform.database, limit=NEWEST))
            of_letters |= letters_entry(newest_letters(platform.database, limit=NEWEST_LETTERS))
        of_readings |= describe_micro_batches(loaded.get(hour, []))
        of_readings |= run_figures(report) if hour == max(keys) else {}
        context.add_asset_metadata(of_readings, asset_key=names.READINGS, partition_key=keys[hour])
        context.add_asset_metadata(of_letters, asset_key=names.DEAD_LETTERS, partition_key=keys[hour])


process_readings_job = dg.define_asset_job(
    names.READINGS_JOB,
    # Only the checks of that step.
    selection=dg.AssetSelection.assets(names.READINGS, names.DEAD_LETTERS).without_checks()
    | dg.AssetSelection.checks(*readings_and_dead_letters.check_keys),
    description="Load what was staged, and hold it against the ledger. `micro_batch_sensor` starts it.",
)
