"""Columns of the rollups and of the dead letters say what they are, and in which unit."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

ROLLUPS = {
    "series": "series.id: a metric of a sensor, and its unit",
    "min": "least value, in the unit of the series",
    "max": "greatest value, in the unit of the series",
    "sum": "of the values, in the unit of the series",
    "mean": "of the values, each weighed the same, in the unit of the series",
    "first_time": "event time of `first`, UTC",
    "last_time": "event time of `last`, UTC",
}
DEAD_LETTERS = {
    "id": "for `sensor-platform dead-letters`",
    "micro_batch": "ledger.id",
    "sequence": "of the message, in its micro-batch",
    "state": "pending, retrying, resolved (it became readings), exhausted (waits for a person) or discarded",
    "code": "why it was refused, as a stable word",
    "closed_why": "the reason that was given",
}


def upgrade() -> None:
    """Comments only: readers and writers go on meanwhile."""
    for table in ("metrics_minute", "metrics_hourly", "metrics_daily"):
        _say(table, ROLLUPS)
    _say("dead_letter", DEAD_LETTERS)


def _say(table: str, comments: dict[str, str]) -> None:
    columns = [sa.Column(column, sa.Text, comment=comment) for column, comment in comments.items()]
    for column in sa.Table(table, sa.MetaData(), *columns, schema="sensor_platform").columns:
        op.execute(sa.schema.SetColumnComment(column))
