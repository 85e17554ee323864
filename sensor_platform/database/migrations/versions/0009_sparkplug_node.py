"""Where the sequence of each Sparkplug node stands; which hours are outdated is found by an index."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SCHEMA = "sensor_platform"


def upgrade() -> None:
    """`sparkplug_node`, an index of the ledger, and what `dead_letter.ordinal` says."""
    op.create_table(
        "sparkplug_node",
        sa.Column("topic", sa.Text(collation="C"), nullable=False, comment="where the node listens for commands"),
        sa.Column("seq", sa.SmallInteger(), nullable=False, comment="of the newest message, 0 to 255"),
        sa.Column("received_at", sa.TIMESTAMP(timezone=True), nullable=False, comment="of the newest message"),
        sa.Column("gaps", sa.BigInteger(), server_default="0", nullable=False, comment="seen so far"),
        sa.Column(
            "gap_at",
            sa.TIMESTAMP(timezone=True),
            comment="receipt of the message before which others are missing; null: none since a birth",
        ),
        sa.PrimaryKeyConstraint("topic", name="sparkplug_node_pkey"),
        schema=SCHEMA,
        comment="Where the sequence of each Sparkplug node stands, in the order in which its messages were loaded",
    )
    op.create_index(
        "ledger_outdated_idx",
        "ledger",
        ["hour"],
        schema=SCHEMA,
        postgresql_where=sa.text("definitions_changed_at IS NOT NULL"),
    )
    op.alter_column(
        "dead_letter",
        "ordinal",
        comment="the refused reading's place; -1: the whole message; -2 and below: a metric that the contract requires "
        "and the message lacks",
        existing_comment="the refused reading's place; -1: the whole message",
        schema=SCHEMA,
    )
