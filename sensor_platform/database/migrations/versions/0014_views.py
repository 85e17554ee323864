"""Views for people and BI tools: the last reading of each series, and where readings are missing."""

from importlib.resources import files

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`last_reading` and `gap`."""
    for name in ("0014_last_reading", "0014_gap"):
        op.execute(files("sensor_platform.database.migrations").joinpath(f"sql/{name}.sql").read_text("utf-8"))
