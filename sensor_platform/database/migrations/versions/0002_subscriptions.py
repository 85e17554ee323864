"""Topic filters that are added while running, and what the broker answered to each collector."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "sensor_platform"
TIMESTAMP = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Makes both tables."""
    op.create_table(
        "subscription",
        sa.Column("filter", sa.Text(collation="C"), nullable=False, comment="an MQTT topic filter"),
        sa.Column("added_at", TIMESTAMP, server_default=sa.text("now()"), nullable=False, comment="when it was added"),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("filter", name="subscription_pkey"),
        schema=SCHEMA,
        comment="Topic filters added while running; those of the routes stand in the route file",
    )
    op.create_table(
        "collector_subscription",
        sa.Column("collector", sa.Text(), nullable=False),
        sa.Column(
            "filter", sa.Text(collation="C"), nullable=False, comment="as told to the broker, $share/GROUP/ included"
        ),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), comment="what the broker said"),
        sa.CheckConstraint(
            "state in ('pending', 'granted', 'refused')", name=op.f("collector_subscription_state_check")
        ),
        sa.PrimaryKeyConstraint("collector", "filter", name="collector_subscription_pkey"),
        schema=SCHEMA,
        comment="What each collector asked its broker for, and the answer",
    )
