"""Partitions are made and dropped by functions, so that whoever loads need not own the tables."""

from importlib.resources import files

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`make_partition` and `drop_partition`."""
    sql = files("sensor_platform.database.migrations").joinpath("sql/0015_partitions.sql")
    op.execute(sql.read_text("utf-8"))
