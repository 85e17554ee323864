"""Which days retention has deleted rows of, so that what was made of them is not made anew of what is left."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

SCHEMA = "sensor_platform"
TIMESTAMP = sa.TIMESTAMP(timezone=True)
KEPT_FROM = "event times before it are deleted, are not loaded and are not rolled up"

#: What was deleted before: days of which rollups stand, and of which what they were made of is not there, or not kept.
FILL = """
INSERT INTO sensor_platform.gone_day (level, day)
SELECT '{level}', made.day
FROM (SELECT DISTINCT date_trunc('day', bucket, 'UTC') AS day FROM sensor_platform.{made}) AS made
WHERE {is_gone} OR made.day < (SELECT kept_from FROM sensor_platform.retention WHERE level = '{level}')
"""
NO_PARTITION = "to_regclass('sensor_platform.metric_' || to_char(made.day AT TIME ZONE 'UTC', 'YYYY_MM')) IS NULL"
NO_ROW = """NOT EXISTS (
    SELECT FROM sensor_platform.{source} AS source
    WHERE source.bucket >= made.day AND source.bucket < made.day + interval '24 hours'
)"""


def upgrade() -> None:
    """`gone_day`, and a horizon that stays when it has moved back."""
    op.create_table(
        "gone_day",
        sa.Column("level", sa.Text(), nullable=False, comment="as in `retention`"),
        sa.Column("day", TIMESTAMP, nullable=False, comment="its start, UTC, in event time"),
        sa.Column("gone_at", TIMESTAMP, server_default=sa.text("now()"), nullable=False, comment="when"),
        sa.PrimaryKeyConstraint("level", "day", name="gone_day_pkey"),
        sa.CheckConstraint("level in ('raw', 'minute', 'hour', 'day')", name=op.f("gone_day_level_check")),
        schema=SCHEMA,
        comment="Days of which retention deleted rows, until they are whole again: rollups of those are not made anew",
    )
    op.alter_column(
        "retention",
        "kept_from",
        nullable=True,
        comment=f"{KEPT_FROM}; null: all is kept",
        existing_comment=KEPT_FROM,
        schema=SCHEMA,
    )
    op.add_column(
        "retention",
        sa.Column("moved_back_at", TIMESTAMP, comment="when more was to be kept than before, the last time"),
        schema=SCHEMA,
    )
    minutes, hours = (NO_ROW.format(source=source) for source in ("metrics_minute", "metrics_hourly"))
    op.execute(FILL.format(level="raw", made="metrics_hourly", is_gone=NO_PARTITION))
    op.execute(FILL.format(level="minute", made="metrics_hourly", is_gone=minutes))
    op.execute(FILL.format(level="hour", made="metrics_daily", is_gone=hours))
