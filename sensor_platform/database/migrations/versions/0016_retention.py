"""How far back each level is kept; the ledger counts readings that retention deleted; bytes of dead letters may go."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

SCHEMA = "sensor_platform"


def upgrade() -> None:
    """A table, and three columns. Until now nothing was deleted: the fast defaults write no row anew."""
    op.execute("SET LOCAL lock_timeout = '10s'")
    op.create_table(
        "retention",
        sa.Column("level", sa.Text(), nullable=False, comment="raw (readings and their duplicates), minute, hour, day"),
        sa.Column(
            "kept_from",
            sa.TIMESTAMP(timezone=True),
            nullable=False,
            comment="event times before it are deleted, are not loaded and are not rolled up",
        ),
        sa.Column(
            "changed_at", sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False, comment="when"
        ),
        sa.PrimaryKeyConstraint("level", name="retention_pkey"),
        sa.CheckConstraint("level in ('raw', 'minute', 'hour', 'day')", name=op.f("retention_level_check")),
        schema=SCHEMA,
        comment="From when on each level is kept; no row: from the beginning",
    )
    of_ledger = "of the readings inserted: those that retention has deleted, or that were too old to be kept"
    op.add_column(
        "ledger",
        sa.Column("expired", sa.BigInteger(), nullable=False, server_default="0", comment=of_ledger),
        schema=SCHEMA,
    )
    op.add_column(
        "dead_letter_message",
        sa.Column(
            "expired",
            sa.Integer(),
            nullable=False,
            server_default="0",
            comment="of its readings, while a letter of it is open: those that retention has deleted",
        ),
        schema=SCHEMA,
    )
    op.add_column(
        "dead_letter_message",
        sa.Column(
            "bytes_deleted_at",
            sa.TIMESTAMP(timezone=True),
            comment="when retention emptied the payload; null: the bytes are kept",
        ),
        schema=SCHEMA,
    )
