"""Checks of what arrives and of what is loaded. Unpartitioned: others lose evaluations in runs over a range."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from sensor_platform.defs import names
from sensor_platform.defs.ingest.collector import losses, read_collectors, verdict
from sensor_platform.defs.partitions import key_of
from sensor_platform.defs.resources import Platform

if TYPE_CHECKING:
    from sensor_platform.health.figures import Figure
    from sensor_platform.pipeline.made_otherwise import MadeOtherwise
    from sensor_platform.settings import HealthSettings

COLLECTOR_ALIVE = "collector_alive"
BROKER_KEEPS = "broker_keeps_what_it_confirms"
FRESH_WITHIN_S = 60.0
AUDITED_ALONE = timedelta(hours=1)
#: More hours than these are a sentence that nobody reads; the metadata has their number.
MOST_HOURS = 24


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
    asset=names.MQTT_MESSAGES,
    name=BROKER_KEEPS,
    description=(
        "As far as the protocol and $SYS show it, the broker keeps what it has confirmed, and no safeguard is switched "
        "off. mqtt_sensor reports it without a run."
    ),
)
def broker_keeps_what_it_confirms(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
    told = losses(read_collectors(platform.database)[0])
    return dg.AssetCheckResult(passed=told.passed, severity=dg.AssetCheckSeverity.WARN, description=told.description)


@dg.asset_check(
    asset=names.READINGS,
    name="last_hour_accounted_for",
    description=(
        "As every_message_accounted_for, of all that was committed in the last hour: by runs, retries and commands."
    ),
)
def last_hour_accounted_for(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
    from sensor_platform.pipeline.accounting import mismatches

    return accounted_for(mismatches(platform.database, committed_since=datetime.now(UTC) - AUDITED_ALONE))


@dg.asset_check(
    asset=names.READINGS,
    name="made_with_routes_of_today",
    description=(
        "Every hour was made with the routes and transformers of now. Executed by hand, after these were edited: it "
        "names the hours that a backfill may change, by the ledger, where Dagster can only call every partition stale."
    ),
)
def made_with_routes_of_today(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
    from sensor_platform.pipeline.made_otherwise import made_otherwise

    return as_of_today(made_otherwise(platform.database, platform.routes))


def as_of_today(others: "Sequence[MadeOtherwise]") -> dg.AssetCheckResult:
    """The verdict on hours that other routes or transformers made than those of today."""
    hours = [f"{key_of(one.hour)} ({', '.join(one.by)})" for one in others]
    more = f" and {len(hours) - MOST_HOURS} more" if len(hours) > MOST_HOURS else ""
    return dg.AssetCheckResult(
        passed=not hours,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"{len(hours)} hours were made with other routes or transformers than those of today; "
            f"`{_reprocess(others[0].hour, others[-1].hour)} --dry-run` says what that changes: "
            f"{', '.join(hours[:MOST_HOURS])}{more}"
            if hours
            else "every hour was made with the routes and transformers of today"
        ),
        metadata={"hours": len(hours), "micro_batches": sum(one.micro_batches for one in others)},
    )


def accounted_for(mismatches: list[str], *, key: dg.AssetCheckKey | None = None) -> dg.AssetCheckResult:
    """The verdict on ledger rows that were held against the tables; `key` where a step tells several checks."""
    return dg.AssetCheckResult(
        asset_key=key and key.asset_key,
        check_name=key and key.name,
        passed=not mismatches,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(mismatches[:5]) or "every message and reading is accounted for",
        metadata={"mismatches": len(mismatches)},
    )


DEFINITIONS_IN_FORCE = dg.AssetCheckSpec(
    "decoded_with_definitions_in_force",
    asset=names.READINGS,
    description=(
        "No micro-batch was decoded before a definition (a Sparkplug birth, OPC UA metadata) that stands before it was "
        "loaded, or with a calibration that is another by now. Backfill the hours that it names."
    ),
)


def definitions_in_force(outdated: Mapping[datetime, int]) -> dg.AssetCheckResult:
    """The verdict on micro-batches, by received hour, that an older definition decoded."""
    hours, micro_batches = [key_of(hour) for hour in sorted(outdated)], sum(outdated.values())
    more = f" and {len(hours) - MOST_HOURS} more" if len(hours) > MOST_HOURS else ""
    return dg.AssetCheckResult(
        asset_key=names.READINGS,
        check_name=DEFINITIONS_IN_FORCE.name,
        passed=not hours,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"{micro_batches} micro-batches were decoded before a definition that stands before them was loaded, or "
            f"with a calibration that is another by now; "
            f"`{_reprocess(min(outdated), max(outdated))}` mends them (--dry-run says what changes), or backfill "
            f"these received hours of readings: {', '.join(hours[:MOST_HOURS])}{more}"
            if hours
            else "every micro-batch was decoded with the definitions in force at its place, and today's calibrations"
        ),
        metadata={"micro_batches": micro_batches, "hours": len(hours)},
    )


def _reprocess(first: datetime, last: datetime) -> str:
    """The command for the hours from the first to the last."""
    return f"sensor-platform reprocess --from {first:%Y-%m-%dT%H:%MZ} --to {last + timedelta(hours=1):%Y-%m-%dT%H:%MZ}"


#: Warnings: the tables are right, and alerts tell people. Runs of `readings` report them, `alert_sensor` between runs.
FIGURES_WITHIN_LIMITS = (
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
        "sparkplug_gaps",
        asset=names.READINGS,
        description=(
            "In an hour, messages of Sparkplug nodes were missing no more often than SPARKPLUG_THRESHOLD_GAPS. The "
            "table sparkplug_node has the nodes."
        ),
    ),
    dg.AssetCheckSpec(
        "clock_skew",
        asset=names.READINGS,
        description=(
            "The clock of no sensor is ahead or behind by more than SENSOR_THRESHOLD_CLOCK_SKEW. The view sensor_skew, "
            "and `sensor-platform sensors clocks`, have the sensors."
        ),
    ),
    dg.AssetCheckSpec(
        "dead_letter_backlog",
        asset=names.DEAD_LETTERS,
        description="No more dead letters are pending than DEAD_LETTER_THRESHOLD_BACKLOG.",
    ),
)


def figures_within_limits(platform: Platform, asset: dg.AssetKey) -> list[dg.AssetCheckResult]:
    """The figures as they are now, as results of the checks of one asset."""
    from sensor_platform.health.figures import measure

    measured = measure(platform.database, platform.staging, now=datetime.now(UTC))
    return [one.result() for one in judge(measured, platform.settings.health) if one.key.asset_key == asset]


NAMES_OF_UNITS = {"s": "seconds", "%": "percent", "times in an hour": "times_in_an_hour"}


@dataclass(frozen=True, slots=True)
class Within:
    """A figure against its limit; a limit of 0 is switched off, as for the alert rules."""

    key: dg.AssetCheckKey
    value: float
    limit: float
    unit: str

    @property
    def passed(self) -> bool:
        return not self.limit or self.value <= self.limit

    @property
    def description(self) -> str:
        return f"{self.value:.1f} {self.unit}; the limit is {self._limit}"

    @property
    def metadata(self) -> dict[str, float | str]:
        """The value under the name of its unit, to be plotted; the limit, which never moves, as a text."""
        return {NAMES_OF_UNITS.get(self.unit, self.unit): round(self.value, 3), "limit": self._limit}

    @property
    def _limit(self) -> str:
        return f"{self.limit:g} {self.unit}" if self.limit else "0 (off)"

    def result(self) -> dg.AssetCheckResult:
        """For a step that materializes the asset."""
        return dg.AssetCheckResult(
            asset_key=self.key.asset_key,
            check_name=self.key.name,
            passed=self.passed,
            severity=dg.AssetCheckSeverity.WARN,
            description=self.description,
            metadata=self.metadata,
        )

    def evaluation(self) -> dg.AssetCheckEvaluation:
        """For a report without a run."""
        return dg.AssetCheckEvaluation(
            asset_key=self.key.asset_key,
            check_name=self.key.name,
            passed=self.passed,
            severity=dg.AssetCheckSeverity.WARN,
            description=self.description,
            metadata=self.metadata,
        )


def judge(figures: "Iterable[Figure]", limits: "HealthSettings") -> list[Within]:
    """What the checks of FIGURES_WITHIN_LIMITS make of measured figures; one that is not known counts as 0."""
    from sensor_platform.health.figures import CLOCK_SKEW, DEAD_LETTERS_PENDING, ERROR_RATE, SPARKPLUG_GAPS, STAGING_LAG

    measured = {figure.figure: figure.value or 0.0 for figure in figures}
    figures_of_checks = (ERROR_RATE, STAGING_LAG, SPARKPLUG_GAPS, CLOCK_SKEW, DEAD_LETTERS_PENDING)
    rate, lag, gaps, skew, backlog = (measured[name] for name in figures_of_checks)
    return [
        Within(dg.AssetCheckKey(names.READINGS, "error_rate"), rate, limits.error_rate_percent, "%"),
        Within(dg.AssetCheckKey(names.READINGS, "freshness"), lag, FRESH_WITHIN_S, "s"),
        Within(dg.AssetCheckKey(names.READINGS, "sparkplug_gaps"), gaps, limits.sparkplug_gaps, "times in an hour"),
        Within(dg.AssetCheckKey(names.READINGS, "clock_skew"), skew, limits.clock_skew_s, "s"),
        Within(
            dg.AssetCheckKey(names.DEAD_LETTERS, "dead_letter_backlog"), backlog, limits.dead_letter_backlog, "pending"
        ),
    ]
