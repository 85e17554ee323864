"""The collector's switch and witness. Switched off, the collector drains and waits; on, each tick says how it is.

It never runs the collector: the process that evaluates sensors may be replaced at any time.
"""

import json
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from sensor_platform.defs import names
from sensor_platform.defs.ingest.checks import BROKER_KEEPS, COLLECTOR_ALIVE
from sensor_platform.defs.ingest.collector import Verdict, figures, losses, mark, read_collectors, verdict
from sensor_platform.defs.resources import Platform
from sensor_platform.defs.unavailable import skip_while_unavailable

REPORT_EVERY_S = 60


@dg.sensor(
    name=names.MQTT_SENSOR,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Switch it off and the collector disconnects and waits; nothing is lost meanwhile. On, it reports.",
)
@skip_while_unavailable
def mqtt_sensor(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SensorResult | dg.SkipReason:
    now = datetime.now(UTC)
    before: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}
    beats, wished = read_collectors(platform.database)
    told = verdict(beats, wished=wished, now=now, down_after_s=platform.settings.health.collector_down_s)
    standing = [told.passed, [beat.news for beat in beats]]
    if standing == before.get("standing") and now.timestamp() - before["at"] < REPORT_EVERY_S:
        return dg.SkipReason(told.description)
    observed = figures(beats, before.get("marks", {}), now=now)
    after = {"at": now.timestamp(), "standing": standing, "marks": {beat.collector: mark(beat) for beat in beats}}
    return dg.SensorResult(
        skip_reason=told.description,
        cursor=json.dumps(after),
        asset_events=[dg.AssetObservation(names.MQTT_MESSAGES, metadata=observed), *evaluations(told, losses(beats))],
    )


def evaluations(told: Verdict, lost: Verdict) -> list[dg.AssetCheckEvaluation]:
    verdicts = (
        (COLLECTOR_ALIVE, told, dg.AssetCheckSeverity.ERROR),
        (BROKER_KEEPS, lost, dg.AssetCheckSeverity.WARN),
    )
    return [
        dg.AssetCheckEvaluation(
            asset_key=names.MQTT_MESSAGES,
            check_name=name,
            passed=verdict.passed,
            severity=severity,
            description=verdict.description,
        )
        for name, verdict, severity in verdicts
    ]
