"""Minutes and hours have partitions by month, as readings have; the view `gap` asks each series for its own minutes.

The rows are copied in one transaction: rollups cannot be read meanwhile, and until it commits the disk holds them
twice.
"""

from importlib.resources import files

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`metrics_minute` and `metrics_hourly`, the functions that make and drop partitions, and `gap`."""
    for name in ("0025_partitions", "0025_rollups", "0025_gap"):
        op.execute(files("sensor_platform.database.migrations").joinpath(f"sql/{name}.sql").read_text("utf-8"))
