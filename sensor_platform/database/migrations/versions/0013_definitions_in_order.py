"""Definitions in received order: the one in force at a place is found by an index, whatever the history of its key."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

SCHEMA = "sensor_platform"


def upgrade() -> None:
    """`definition` carries the place of its micro-batch, and its key is the order of messages."""
    op.execute("SET LOCAL lock_timeout = '10s'")
    op.execute("LOCK TABLE sensor_platform.definition IN ACCESS EXCLUSIVE MODE")
    op.add_column("definition", sa.Column("first_received_at", sa.TIMESTAMP(timezone=True)), schema=SCHEMA)
    op.add_column("definition", sa.Column("name", sa.Text(collation="C")), schema=SCHEMA)
    op.execute(
        "UPDATE sensor_platform.definition SET first_received_at = ledger.first_received_at, name = ledger.name"
        " FROM sensor_platform.ledger WHERE ledger.id = definition.micro_batch"
    )
    for name, comment in (
        ("first_received_at", "of its micro-batch: with name and sequence the place in received order"),
        ("name", "of its micro-batch"),
    ):
        op.alter_column("definition", name, nullable=False, comment=comment, schema=SCHEMA)
    op.drop_constraint("definition_pkey", "definition", schema=SCHEMA)
    op.create_primary_key(
        "definition_pkey", "definition", ["format", "key", "first_received_at", "name", "sequence"], schema=SCHEMA
    )
