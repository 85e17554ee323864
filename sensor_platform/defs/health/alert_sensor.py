"""Health figures and alerts, every ten seconds. Dagster's open edition has no alerting: the states are ours."""

from datetime import UTC, datetime

import dagster as dg

from sensor_platform.defs.resources import Platform
from sensor_platform.defs.unavailable import skip_without_database


@dg.sensor(
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Measures health, evaluates the alert rules, and tells the channels what changed. Starts no run.",
)
@skip_without_database
def alert_sensor(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SkipReason:
    from sensor_platform.health.alerts import evaluate
    from sensor_platform.health.channels import deliver
    from sensor_platform.health.figures import measure, record

    now = datetime.now(UTC)
    record(platform.database, measure(platform.database, platform.staging, now=now), now=now)
    transitions = evaluate(platform.database, platform.settings, now=now)
    deliver(platform.database)
    for transition in transitions:
        context.log.info("%s %s: %s", transition.rule, transition.state.value, transition.detail)
    return dg.SkipReason(f"{len(transitions)} alerts changed" if transitions else "no alert changed")
