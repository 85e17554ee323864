"""The registry: levels of work units, what people declare of sensors, and every change of it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

SCHEMA = "sensor_platform"


def upgrade() -> None:
    """New columns of `work_unit`, `sensor` and `ledger`, and `registry_change`."""
    op.execute("SET LOCAL lock_timeout = '30s'")
    level = "enterprise, site, area, line or cell, or a word of the plant's own"
    op.add_column("work_unit", sa.Column("level", sa.Text(), comment=level), schema=SCHEMA)
    op.add_column("work_unit", sa.Column("description", sa.Text(), comment="for people; editable"), schema=SCHEMA)
    op.alter_column(
        "sensor",
        "first_seen_at",
        nullable=True,
        comment="when the first reading of it was registered; null: declared, and never seen",
        existing_comment="when the first reading of it was registered",
        schema=SCHEMA,
    )
    interval = "seconds between two readings; null: nobody said; editable"
    op.add_column("sensor", sa.Column("expected_interval_s", sa.Double(), comment=interval), schema=SCHEMA)
    declared = "when a person first said something of it; null: only seen"
    op.add_column("sensor", sa.Column("declared_at", sa.TIMESTAMP(timezone=True), comment=declared), schema=SCHEMA)
    op.execute(_DECLARED)
    as_of = sa.Column(
        "registry_as_of",
        sa.BigInteger(),
        server_default="0",
        nullable=False,
        comment="registry_change.version with which it was made",
    )
    op.add_column("ledger", as_of, schema=SCHEMA)
    op.create_table(
        "registry_change",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column(
            "version", sa.BigInteger(), nullable=False, comment="of the registry; what changes at once shares one"
        ),
        sa.Column("at", sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False, comment="when"),
        sa.Column("by", sa.Text(), nullable=False, comment="the person"),
        sa.Column("source", sa.Text(), comment="the file that was imported; null: a command"),
        sa.Column("kind", sa.Text(), nullable=False, comment="work_unit, sensor or series"),
        sa.Column("work_unit", sa.Text(), nullable=False),
        sa.Column("sensor", sa.Text()),
        sa.Column("metric", sa.Text()),
        sa.Column("before", JSONB(), nullable=False, comment="the fields that changed; empty: it was not there"),
        sa.Column("after", JSONB(), nullable=False, comment="the same fields"),
        sa.CheckConstraint("kind in ('work_unit', 'sensor', 'series')", name=op.f("registry_change_kind_check")),
        sa.PrimaryKeyConstraint("id", name="registry_change_pkey"),
        schema=SCHEMA,
        comment="What people changed in the registry, row by row. A load looks for news here",
    )
    op.create_index("registry_change_version_idx", "registry_change", ["version"], schema=SCHEMA)


# Whoever described a sensor, or set a limit or a unit, has declared it.
_DECLARED = """
UPDATE sensor_platform.sensor SET declared_at = now()
WHERE description IS NOT NULL OR EXISTS (
    SELECT FROM sensor_platform.series
    WHERE series.sensor_id = sensor.id
      AND (series.minimum IS NOT NULL OR series.maximum IS NOT NULL OR series.unit_by = 'a person')
)"""
