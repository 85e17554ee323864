"""Readings by time alone, of all series: an index of a line for 128 pages, which tables beyond memory need."""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`metric_time_idx`, on every partition. One pass over the table, during which nothing is loaded."""
    op.create_index(
        "metric_time_idx",
        "metric",
        ["time"],
        schema="sensor_platform",
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    )
