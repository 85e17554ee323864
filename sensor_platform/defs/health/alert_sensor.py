"""Health figures and alerts, every ten seconds. Dagster's open edition has no alerting: the states are ours."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from sensor_platform.defs.ingest.checks import judge
from sensor_platform.defs.resources import Platform
from sensor_platform.defs.unavailable import skip_while_unavailable

if TYPE_CHECKING:
    from sensor_platform.defs.ingest.checks import Within

REPORT_EVERY_S = 60


@dg.sensor(
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Measures health, evaluates the alert rules, tells the channels what changed, and reports the checks of the "
        "figures each minute and at once on a change. Starts no run."
    ),
)
@skip_while_unavailable
def alert_sensor(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SensorResult | dg.SkipReason:
    from sensor_platform.health.alerts import evaluate
    from sensor_platform.health.channels import deliver
    from sensor_platform.health.figures import measure, record

    now = datetime.now(UTC)
    figures = measure(platform.database, platform.staging, now=now)
    record(platform.database, figures, now=now)
    transitions = evaluate(platform.database, platform.settings, now=now)
    deliver(platform.database)
    for transition in transitions:
        context.log.info("%s %s: %s", transition.rule, transition.state.value, transition.detail)
    said = f"{len(transitions)} alerts changed" if transitions else "no alert changed"
    judged = judge(figures, platform.settings.health)
    cursor = report_due(context.cursor, judged, now=now)
    if cursor is None:
        return dg.SkipReason(said)
    return dg.SensorResult(skip_reason=said, cursor=cursor, asset_events=[one.evaluation() for one in judged])


def report_due(cursor: str | None, judged: "list[Within]", *, now: datetime) -> str | None:
    """The next cursor when the checks are to be reported: each minute, and at once when a verdict changes."""
    before: dict[str, Any] = json.loads(cursor) if cursor else {}
    verdicts = [one.passed for one in judged]
    if verdicts == before.get("verdicts") and now.timestamp() - before["at"] < REPORT_EVERY_S:
        return None
    return json.dumps({"at": now.timestamp(), "verdicts": verdicts})
