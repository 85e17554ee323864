"""`storage`: once a day what is old is made small or deleted, and how much room everything takes is written down."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from sensor_platform.defs import names
from sensor_platform.defs.resources import Platform
from sensor_platform.defs.unavailable import skip_while_unavailable

if TYPE_CHECKING:
    from sensor_platform.dead_letters.retention import PrunedLetters
    from sensor_platform.pipeline.compaction import Compaction
    from sensor_platform.pipeline.expiry import Expired
    from sensor_platform.pipeline.room import LevelRoom, StagingRoom, TableRoom

#: Years that were staged before there was compaction take some nights.
LONGEST_COMPACTION_S = 2 * 3600


@dg.asset(
    key=names.STORAGE,
    deps=[names.STAGED_MESSAGES, names.READINGS],
    group_name="storage",
    kinds={"postgres", "parquet"},
    owners=names.OWNERS,
    tags={"sensor_platform/stage": "keep"},
    description="What retention and compaction did, and the bytes of each table, of its indexes, and of the staging "
    "area. `storage_schedule` makes it once a day.",
)
def storage(platform: dg.ResourceParam[Platform]) -> Iterator[dg.MaterializeResult[None]]:
    """Delete what is older than it is kept, compact staged hours that are long over, then measure."""
    from sensor_platform.dead_letters.retention import prune_letters
    from sensor_platform.pipeline.compaction import compact
    from sensor_platform.pipeline.expiry import expire
    from sensor_platform.pipeline.room import levels_room, staging_room, tables_room

    settings, kept, now = platform.settings, platform.settings.retention, datetime.now(UTC)
    expired = expire(platform.database, kept.by_level, now=now)
    states = kept.dead_letter_states.split(",")
    letters = prune_letters(platform.database, days=kept.dead_letter_days, states=states, now=now)
    until_s = time.monotonic() + LONGEST_COMPACTION_S
    compaction = compact(
        platform.staging,
        platform.database,
        after_hours=settings.staging_compaction_hours,
        now=now,
        should_stop=lambda: time.monotonic() > until_s,
    )
    tables = tables_room(platform.database)
    yield dg.MaterializeResult(
        metadata={
            "levels": describe_levels(levels_room(platform.database, tables), expired, kept.by_level),
            **describe_expired(expired, letters),
            **describe_compaction(compaction),
            **describe_staging(staging_room(platform.staging)),
            **describe_tables(tables),
        }
    )
    if compaction.failed:  # what was done is shown first
        raise dg.Failure("not compacted, and left as it is: " + "; ".join(compaction.failed))


def describe_levels(levels: "list[LevelRoom]", expired: "Expired", days: Mapping[str, float]) -> dg.TableMetadataValue:
    """A line for each of readings, minutes, hours and days: what is kept, what is there, what this run deleted."""
    deleted = {"raw": expired.readings, **expired.rollups}
    records = [
        dg.TableRecord(
            {
                "level": level.level,
                "kept": f"{days[level.level]:g} days" if days.get(level.level) else "for ever",
                "kept from": _day(expired.kept_from.get(level.level)),
                "oldest": _day(level.oldest),
                "rows (estimated)": level.rows,
                "bytes": level.bytes,
                "deleted now": deleted.get(level.level, 0),
                "days gone": level.days_gone,
            }
        )
        for level in levels
    ]
    return dg.MetadataValue.table(records)


def _day(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"


def describe_expired(expired: "Expired", letters: "PrunedLetters") -> dict[str, Any]:
    return {
        "expired_readings": expired.readings,
        "expired_duplicates": expired.duplicates,
        **{f"expired_rollups_{level}": rows for level, rows in expired.rollups.items()},
        "dropped_partitions": len(expired.partitions),
        **({"partitions_dropped": ", ".join(expired.partitions)} if expired.partitions else {}),
        **({"partitions_in_use": ", ".join(expired.partitions_left)} if expired.partitions_left else {}),
        **{f"{level}_kept_from": dg.MetadataValue.timestamp(at) for level, at in expired.kept_from.items()},
        **({"days_brought_back": expired.brought_back} if expired.brought_back else {}),
        "dead_letter_messages_pruned": letters.messages,
    }


def describe_compaction(done: "Compaction") -> dict[str, Any]:
    compacted = done.compacted
    return {
        "compacted_hours": done.hours,
        "compacted_micro_batches": compacted.micro_batches,
        "compacted_messages": compacted.messages,
        "compacted_bytes_before": compacted.bytes_before,
        "compacted_bytes_after": compacted.bytes_after,
        **({"damaged_micro_batches_left": compacted.damaged} if compacted.damaged else {}),
        **({"hours_not_compacted": dg.MetadataValue.text("\n".join(done.failed))} if done.failed else {}),
    }


def describe_staging(room: "StagingRoom") -> dict[str, Any]:
    return {
        "staging_bytes": room.bytes + room.compacted_bytes,
        "staging_files": room.files,
        "staging_files_bytes": room.bytes,
        "staging_compacted_files": room.compacted_files,
        "staging_compacted_bytes": room.compacted_bytes,
    }


def describe_tables(tables: "list[TableRoom]") -> dict[str, Any]:
    """Numbers, so that Dagster plots them over time, and a table of all for today."""
    rows = [
        dg.TableRecord(
            {
                "table": table.name,
                "rows (estimated)": table.rows,
                "partitions": table.partitions,
                "table bytes": table.table_bytes,
                "index bytes": table.index_bytes,
            }
        )
        for table in tables
    ]
    return {
        "database_bytes": sum(table.table_bytes + table.index_bytes for table in tables),
        **{f"{table.name}_bytes": table.table_bytes + table.index_bytes for table in tables},
        "tables": dg.MetadataValue.table(rows),
    }


storage_job = dg.define_asset_job(
    names.STORAGE_JOB,
    selection=dg.AssetSelection.assets(names.STORAGE),
    description="Delete what is older than its level is kept, compact staged hours that are long over, and measure the "
    "room. `storage_schedule` starts it.",
)


@dg.schedule(
    job=storage_job,
    cron_schedule="23 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Once a day.",
)
@skip_while_unavailable
def storage_schedule(
    context: dg.ScheduleEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    from sensor_platform.pipeline.accounting import totals

    staged = totals(platform.database)[0].staged
    return dg.RunRequest() if staged else dg.SkipReason("nothing was loaded yet")
