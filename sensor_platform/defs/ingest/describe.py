"""What a materialization tells people: the counts of the second promise, rates, lag, and what was refused and why."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dagster import MetadataValue

if TYPE_CHECKING:
    from sensor_platform.pipeline.changes import Differences, RouteChanges
    from sensor_platform.pipeline.report import MessageCounts, ReadingCounts, Report

Metadata = dict[str, Any]
MOST_SAMPLES = 10
MOST_ROUTES = 20
LONGEST_CELL = 80


def describe_readings(report: "Report", *, mode: str) -> Metadata:
    return {
        "mode": str(mode),
        "micro_batches": report.micro_batches,
        **_messages(report.messages),
        **_readings(report.readings),
        "conflicts": report.conflicts,
        **({"micro_batches_deleted_by_retention": report.bytes_deleted} if report.bytes_deleted else {}),
        **({"sparkplug_gaps": report.sparkplug_gaps} if report.sparkplug_gaps else {}),
        **rates(report),
        **{f"seconds_{stage}": round(seconds, 4) for stage, seconds in report.seconds.items()},
        **_span(report.least_time, report.greatest_time),
        **({"lag_s": round(report.lag_s, 3)} if report.lag_s is not None else {}),
        **(describe_differences(report.differences) if report.differences is not None else {}),
        **({"samples": MetadataValue.md(markdown_table(report.samples))} if report.samples else {}),
    }


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
    by_code = [{"code": code, "refused": count} for code, count in sorted(report.refused_by_code.items())]
    return {
        "messages_dead_lettered": report.messages.dead_lettered,
        "messages_partial": report.messages.partial,
        "readings_refused": report.readings.refused,
        **({"refused_by_code": MetadataValue.md(markdown_table(by_code))} if by_code else {}),
    }


def describe_hour(messages: "MessageCounts", readings: "ReadingCounts") -> tuple[Metadata, Metadata]:
    """An hour's totals for `readings` and `dead_letters`, from the ledger: a run's own numbers are only its share."""
    return (
        {"dagster/partition_row_count": readings.inserted, "hour_messages_staged": messages.staged},
        {"dagster/partition_row_count": messages.dead_lettered + messages.partial},
    )


def rates(report: "Report") -> Metadata:
    took_s = sum(report.seconds.values())
    if not took_s:
        return {}
    return {
        "messages_per_s": round(report.messages.staged / took_s, 1),
        "readings_per_s": round(report.readings.decoded / took_s, 1),
    }


def markdown_table(rows: Sequence[Mapping[str, object]]) -> str:
    """A small table; cells are shortened, and cannot break out of their row."""
    if not rows:
        return ""
    header = list(rows[0])
    lines = [header, ["---"] * len(header), *([_cell(row.get(name)) for name in header] for row in rows[:MOST_SAMPLES])]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    text = text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("`", "'").replace("<", "&lt;").replace("\n", " ")


def _messages(counts: "MessageCounts") -> Metadata:
    names = ("staged", "accepted", "partial", "dead_lettered", "duplicate", "ignored")
    return {f"messages_{name}": getattr(counts, name) for name in names}


def _readings(counts: "ReadingCounts") -> Metadata:
    names = ("decoded", "inserted", "duplicate", "refused", "thinned", "expired")
    return {f"readings_{name}": getattr(counts, name) for name in names}


def _span(least: datetime | None, greatest: datetime | None) -> Metadata:
    span = {"least_time": least, "greatest_time": greatest}
    return {name: MetadataValue.timestamp(moment) for name, moment in span.items() if moment is not None}
