"""How late the readings of each sensor come: how wrong its clock is."""

from importlib.resources import files

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

SCHEMA = "sensor_platform"
TIMESTAMP = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """`sensor_clock`, and the view `sensor_skew`."""
    op.create_table(
        "sensor_clock",
        sa.Column("sensor", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column(
            "hour", TIMESTAMP, nullable=False, comment="received hour that the next columns are of: the newest one"
        ),
        sa.Column("readings", sa.BigInteger(), nullable=False, comment="looked at: with a time of their own"),
        sa.Column(
            "least_delay_s", sa.Double(), nullable=False, comment="receipt less event time; below 0: its clock is ahead"
        ),
        sa.Column("mean_delay_s", sa.Double(), nullable=False),
        sa.Column("noted_at", TIMESTAMP, nullable=False, comment="receipt of the newest message looked at"),
        sa.ForeignKeyConstraint(["sensor"], ["sensor_platform.sensor.id"], name="sensor_clock_sensor_fkey"),
        sa.PrimaryKeyConstraint("sensor", name="sensor_clock_pkey"),
        schema=SCHEMA,
        comment="How late the readings of each sensor come, of the newest hour: how wrong its clock is",
    )
    op.execute(files("sensor_platform.database.migrations").joinpath("sql/0018_sensor_skew.sql").read_text("utf-8"))
