"""What stands in a collector's way as a word, what its broker would lose, and when its connection came and went."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "sensor_platform"


def upgrade() -> None:
    """New columns of the heartbeat, and `collector_connection`."""
    columns = (
        sa.Column("error_kind", sa.Text(), comment="the same as a stable word"),
        sa.Column("broker", JSONB(), comment="what it granted at the last CONNACK, and what $SYS shows"),
        sa.Column(
            "warnings",
            JSONB(),
            server_default="[]",
            nullable=False,
            comment="kind and detail of what would lose messages: at the broker, or by a setting",
        ),
    )
    for column in columns:
        op.add_column("collector_heartbeat", column, schema=SCHEMA)
    op.create_table(
        "collector_connection",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False, comment="in the order of events"),
        sa.Column("collector", sa.Text(), nullable=False),
        sa.Column("at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "event", sa.Text(), nullable=False, comment="connected, failed (no connection was made), lost, closed"
        ),
        sa.Column("kind", sa.Text(), comment="why, as a stable word"),
        sa.Column("reason", sa.Text(), comment="why, in one line"),
        sa.Column("broker", sa.Text(), nullable=False, comment="host and port"),
        sa.Column("protocol", sa.Text(), nullable=False, comment="MQTT version"),
        sa.Column("session_present", sa.Boolean(), comment="when connected: whether the broker had kept the session"),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "event in ('connected', 'failed', 'lost', 'closed')", name=op.f("collector_connection_event_check")
        ),
        sa.PrimaryKeyConstraint("id", name="collector_connection_pkey"),
        sa.UniqueConstraint("collector", "pid", "at", name="collector_connection_collector_pid_at_key"),
        schema=SCHEMA,
        comment="When each collector's connection came and went, and why; the newest thousand of each",
    )
