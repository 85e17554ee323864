"""Calibrations of series, by event time and by version of the registry."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

SCHEMA = "sensor_platform"


def upgrade() -> None:
    """`calibration`, and what `ledger.definitions_changed_at` says."""
    op.execute("SET LOCAL lock_timeout = '30s'")
    timestamp = sa.TIMESTAMP(timezone=True)
    op.create_table(
        "calibration",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("series", sa.Integer(), nullable=False),
        sa.Column("valid_from", timestamp, comment="event time; null: always before valid_to"),
        sa.Column("valid_to", timestamp, comment="event time, exclusive; null: ever after valid_from"),
        sa.Column("scale", sa.Double(), nullable=False, comment="value * scale + offset, in the unit of the series"),
        sa.Column("offset", sa.Double(), nullable=False),
        sa.Column("from_version", sa.BigInteger(), nullable=False, comment="of the registry, the first that has it"),
        sa.Column("to_version", sa.BigInteger(), comment="the first that has it no more; null: in force"),
        sa.PrimaryKeyConstraint("id", name="calibration_pkey"),
        schema=SCHEMA,
        comment="What becomes of values by their event time, now and in versions of the registry before",
    )
    op.create_index("calibration_series_idx", "calibration", ["series"], schema=SCHEMA)
    op.alter_column(
        "ledger",
        "definitions_changed_at",
        comment="when it became known that a definition stands before it with which it was not decoded, or that a "
        "calibration of its readings is another by now",
        existing_comment="when it became known that a definition stands before it with which it was not decoded",
        schema=SCHEMA,
    )
