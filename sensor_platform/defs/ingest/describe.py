"""What a materialization tells people: of a run what it did, of an hour what became of its messages.

Numbers of their own are of the hour, from the ledger: Dagster plots each over the partitions. What a run did is only
its share, and stands in a sentence and in tables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dagster import MetadataValue

from sensor_platform.defs.markdown import figures_table, markdown_table, table_entry

if TYPE_CHECKING:
    from sensor_platform.pipeline.changes import Differences, RouteChanges
    from sensor_platform.pipeline.hours import HourFigures, LoadedMicroBatch
    from sensor_platform.pipeline.report import MessageCounts, ReadingCounts, Report

Metadata = dict[str, Any]
MOST_ROUTES = 20


def describe_readings(report: "Report", *, mode: str) -> Metadata:
    """The run's share."""
    return {
        "mode": str(mode),
        "run": summary(report),
        **({"micro_batches_deleted_by_retention": report.bytes_deleted} if report.bytes_deleted else {}),
        **({"sparkplug_gaps": report.sparkplug_gaps} if report.sparkplug_gaps else {}),
        **_span(report.least_time, report.greatest_time),
        **(describe_differences(report.differences) if report.differences is not None else {}),
    }


def summary(report: "Report") -> str:
    """What a run did, in a sentence."""
    took_s = sum(report.seconds.values())
    refused = report.messages.dead_lettered + report.messages.partial
    return (
        f"{report.micro_batches:,} micro-batches, {report.messages.staged:,} messages ({refused:,} refused, wholly or "
        f"in part), {report.readings.inserted:,} readings inserted, in {took_s:.1f} s"
    )


def run_figures(report: "Report") -> Metadata:
    """What a run did, in numbers with their units, as one table."""
    figures = {
        "micro-batches": report.micro_batches,
        **_named("messages", report.messages),
        **_named("readings", report.readings),
        "conflicts (another value stood at that time)": report.conflicts,
        **rates(report),
        **{f"{stage}, s": round(seconds, 4) for stage, seconds in report.seconds.items()},
        **({"receipt to commit, s": round(report.lag_s, 3)} if report.lag_s is not None else {}),
    }
    return {"run_figures": MetadataValue.md(figures_table(figures))}


def describe_differences(changes: "Differences") -> Metadata:
    """What a run changed that made hours again, as `sensor-platform reprocess --dry-run` says it beforehand."""
    total = changes.total
    # Bounded: in Dagster's history it stands once a partition of the run.
    routes = dict(sorted(changes.routes.items(), key=lambda item: _size(item[1]), reverse=True)[:MOST_ROUTES])
    rows = [_changes_row(name, one) for name, one in routes.items()]
    samples = [row for one in routes.values() for row in _sample_rows(one)]
    bounded = replace(
        changes,
        routes={name: replace(one, samples={}) for name, one in routes.items()},
        units=changes.units[:MOST_ROUTES],
    )
    return {
        "changed_readings_added": total.added,
        "changed_readings_removed": total.removed,
        "changed_readings_value": total.changed,
        "changed_newly_accepted": sum(total.newly_accepted.values()),
        "changed_newly_refused": sum(total.newly_refused.values()),
        "changed_message_classes": sum(total.classes.values()),
        **({"changed_units": MetadataValue.md(markdown_table(changes.units))} if changes.units else {}),
        **({"changes": MetadataValue.md(markdown_table(rows))} if rows else {}),
        **({"changes_samples": MetadataValue.md(markdown_table(samples))} if samples else {}),
        "differences": MetadataValue.json(asdict(bounded)),
    }


def _size(one: "RouteChanges") -> int:
    """How much changes, to begin with what changes most."""
    codes = (one.newly_accepted, one.newly_refused, one.refused_otherwise, one.classes)
    return one.added + one.removed + one.changed + sum(sum(counts.values()) for counts in codes)


def _changes_row(name: str, one: "RouteChanges") -> dict[str, object]:
    by_name = ("newly_accepted", "newly_refused", "refused_otherwise", "classes")
    counted = {kind: ", ".join(f"{n} {what}" for what, n in getattr(one, kind).items()) for kind in by_name}
    return {"route": name, "added": one.added, "removed": one.removed, "changed": one.changed, **counted}


def _sample_rows(one: "RouteChanges") -> list[dict[str, object]]:
    """Two examples of each kind of reading."""
    rows = [row for kind in ("changed", "removed", "added") for row in one.samples.get(kind, ())[:2]]
    return [
        {
            "reading": f"{row['work_unit']}/{row['sensor']} {row['metric']}",
            "time": row["time"].isoformat(),
            "before": _said(row["before"]),
            "after": _said(row["after"]),
            "message": row["message"],
        }
        for row in rows
    ]


def _said(reading: Mapping[str, Any] | None) -> object:
    if reading is None:
        return None
    return reading["value"] if reading["text"] is None else reading["text"]


def describe_dead_letters(report: "Report") -> Metadata:
    """The run's share."""
    by_code = [{"code": code, "refused": count} for code, count in sorted(report.refused_by_code.items())]
    counts = report.messages
    return {
        "run": (
            f"{counts.dead_lettered:,} messages refused, {counts.partial:,} in part; "
            f"{report.readings.refused:,} of their readings"
        ),
        **table_entry("run_refused_by_code", by_code),
    }


def describe_hour(hour: "HourFigures") -> tuple[Metadata, Metadata]:
    """An hour's totals for `readings` and `dead_letters`."""
    messages = {f"messages_{field.name}": getattr(hour.messages, field.name) for field in fields(hour.messages)}
    lag = {"lag_mean_s": hour.lag_mean_s, "lag_max_s": hour.lag_max_s}
    refused = {"refused_percent": hour.refused_percent}
    return (
        {
            "dagster/partition_row_count": hour.readings.inserted,
            "micro_batches": hour.micro_batches,
            **messages,
            **refused,
            "readings_duplicate": hour.readings.duplicate,
            "readings_refused": hour.readings.refused,
            "conflicts": hour.conflicts,
            **{name: value for name, value in lag.items() if value is not None},
        },
        {
            "dagster/partition_row_count": hour.dead_letters,
            **{name: messages[name] for name in ("messages_dead_lettered", "messages_partial")},
            **refused,
        },
    )


def describe_micro_batches(loaded: "Sequence[LoadedMicroBatch]") -> Metadata:
    """Those of an hour that the run loaded: a way from the run to the ledger, and on to `trace`."""
    rows = [{name: value for name, value in asdict(one).items() if name not in ("hour", "in_all")} for one in loaded]
    if not rows:
        return {}
    more = f"\n\nThe newest {len(loaded):,} of {loaded[0].in_all:,}." if loaded[0].in_all > len(loaded) else ""
    how = "\n\n`sensor-platform trace --message MICRO_BATCH:SEQUENCE` says what became of a message."
    return {"run_micro_batches": MetadataValue.md(markdown_table(rows, most=len(rows)) + more + how)}


def rates(report: "Report") -> Metadata:
    took_s = sum(report.seconds.values())
    if not took_s:
        return {}
    return {
        "messages a second": round(report.messages.staged / took_s, 1),
        "readings a second": round(report.readings.decoded / took_s, 1),
    }


def _named(what: str, counts: "MessageCounts | ReadingCounts") -> Metadata:
    return {f"{what} {field.name}".replace("_", "-"): getattr(counts, field.name) for field in fields(counts)}


def _span(least: datetime | None, greatest: datetime | None) -> Metadata:
    span = {"event_times_from": least, "event_times_to": greatest}
    return {name: MetadataValue.timestamp(moment) for name, moment in span.items() if moment is not None}
