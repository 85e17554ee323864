"""Which compacted files need not be opened to know that nothing in them is pending."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

TIMESTAMP = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """`compacted_file`, empty: files that are compacted already are opened until the next compaction of their hour."""
    op.create_table(
        "compacted_file",
        sa.Column("hour", TIMESTAMP, nullable=False, comment="received hour"),
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("noted_at", TIMESTAMP, server_default=sa.text("now()"), nullable=False, comment="when"),
        sa.PrimaryKeyConstraint("hour", "name", name="compacted_file_pkey"),
        schema="sensor_platform",
        comment="Compacted files of which the ledger has every micro-batch: who looks for pending ones need not open "
        "them",
    )
