"""When Sparkplug nodes were asked to be born again."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SCHEMA = "sensor_platform"


def upgrade() -> None:
    """`rebirth_request`."""
    op.create_table(
        "rebirth_request",
        sa.Column("topic", sa.Text(collation="C"), nullable=False, comment="where the node listens for commands"),
        sa.Column("asked_at", sa.TIMESTAMP(timezone=True), nullable=False, comment="the last time"),
        sa.Column("times", sa.BigInteger(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("topic", name="rebirth_request_pkey"),
        schema=SCHEMA,
        comment="Sparkplug nodes that were asked to be born again",
    )
