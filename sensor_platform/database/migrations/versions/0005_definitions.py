"""What messages say of later ones (Sparkplug births, OPC UA metadata), by their place in received order."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "sensor_platform"


def upgrade() -> None:
    """`definition`, `definition_content`, and a mark in the ledger."""
    op.add_column(
        "ledger",
        sa.Column(
            "definitions_changed_at",
            sa.TIMESTAMP(timezone=True),
            comment="when it became known that a definition stands before it with which it was not decoded",
        ),
        schema=SCHEMA,
    )
    op.create_table(
        "definition_content",
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="SHA-256 of the content in canonical form"),
        sa.Column("content", JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="definition_content_pkey"),
        schema=SCHEMA,
        comment="What messages say of later ones, each content once",
    )
    op.create_table(
        "definition",
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column(
            "key", sa.Text(collation="C"), nullable=False, comment="whom it concerns, in the words of the format"
        ),
        sa.Column("micro_batch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "sequence", sa.BigInteger(), autoincrement=False, nullable=False, comment="of the message that says it"
        ),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["micro_batch"], [f"{SCHEMA}.ledger.id"], name="definition_micro_batch_fkey"),
        sa.ForeignKeyConstraint(["content"], [f"{SCHEMA}.definition_content.digest"], name="definition_content_fkey"),
        sa.PrimaryKeyConstraint("format", "key", "micro_batch", "sequence", name="definition_pkey"),
        schema=SCHEMA,
        comment="Who says what of later messages: Sparkplug births, OPC UA metadata. Commits with the ledger row",
    )
    op.create_index("definition_micro_batch_idx", "definition", ["micro_batch"], schema=SCHEMA)
