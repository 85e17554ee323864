"""Reports `staged_messages` hour by hour, without runs: what lies in the staging area, and idle hours.

No run ever makes `readings` of an hour without a message. Such hours are reported as materialized with no rows, or the
UI would call them missing, like one that still waits to be loaded.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

import dagster as dg

from sensor_platform.defs import names
from sensor_platform.defs.partitions import HOUR, clamped, hour_of, key_of, received_hours, window
from sensor_platform.defs.resources import Platform
from sensor_platform.defs.unavailable import skip_while_unavailable
from sensor_platform.staging.format import MicroBatch

EVERY_S = 60
#: A file may be sealed or uploaded a little after its hour.
CLOSES_AFTER = timedelta(minutes=5)
MOST_HOURS = 200


@dataclass(frozen=True, slots=True)
class Reported:
    """The cursor: the first hour that was not reported as closed, and what was said of those from it on."""

    next_hour: datetime
    micro_batches: dict[str, int]

    @classmethod
    def read(cls, cursor: str | None) -> Self:
        if cursor is None:
            first = received_hours.get_first_partition_key()
            assert first is not None
            return cls(hour_of(first), {})
        kept = json.loads(cursor)
        return cls(clamped(hour_of(kept["next_hour"])), kept["micro_batches"])

    def write(self) -> str:
        return json.dumps({"next_hour": key_of(self.next_hour), "micro_batches": self.micro_batches})


@dg.sensor(
    minimum_interval_seconds=EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports the hours of staged_messages, also those without a message, without starting runs.",
)
@skip_while_unavailable
def staged_messages_sensor(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SensorResult | dg.SkipReason:
    events, reported = report_hours(platform, Reported.read(context.cursor), now=datetime.now(UTC))
    skip = None if events else "no hour changed"
    return dg.SensorResult(asset_events=events, cursor=reported.write(), skip_reason=skip)


def report_hours(
    platform: Platform, reported: Reported, *, now: datetime
) -> tuple[list[dg.AssetMaterialization], Reported]:
    """Events for the hours that closed or changed since, and the cursor after them."""
    events: list[dg.AssetMaterialization] = []
    still_open: dict[str, int] = {}
    hour = next_hour = reported.next_hour
    while hour <= now + HOUR and len(events) < MOST_HOURS:
        key = key_of(hour)
        start, end = window([key])
        micro_batches = platform.staging.micro_batches(start, end)
        closed = now >= hour + HOUR + CLOSES_AFTER
        if closed or len(micro_batches) != reported.micro_batches.get(key, 0):
            events.append(_materialization(platform, key, micro_batches, closed=closed))
            events += _idle(platform, key) if closed and not micro_batches else []
        if closed:
            next_hour = hour + HOUR
        else:
            still_open[key] = len(micro_batches)
        hour += HOUR
    return events, Reported(next_hour, still_open)


def _idle(platform: Platform, key: str) -> list[dg.AssetMaterialization]:
    """Of an hour that is over, and of which neither the staging area nor the ledger knows anything."""
    from sensor_platform.pipeline.hours import HourFigures, hour_figures

    hour = hour_of(key)
    if hour_figures(platform.database, [hour]) != {hour: HourFigures()}:
        return []  # loaded, and deleted by retention since
    return [
        dg.AssetMaterialization(asset, partition=key, metadata={"dagster/partition_row_count": 0})
        for asset in (names.READINGS, names.DEAD_LETTERS)
    ]


def _materialization(
    platform: Platform, key: str, micro_batches: list[MicroBatch], *, closed: bool
) -> dg.AssetMaterialization:
    messages, damaged = platform.messages_of(micro_batches)
    metadata = {"dagster/partition_row_count": messages, "micro_batches": len(micro_batches), "hour_is_over": closed}
    return dg.AssetMaterialization(
        names.STAGED_MESSAGES, partition=key, metadata={**metadata, **({"damaged": damaged} if damaged else {})}
    )
