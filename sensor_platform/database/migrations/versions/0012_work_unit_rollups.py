"""Views of the rollups by work unit: a place with all that lies in it."""

from importlib.resources import files
from typing import LiteralString

from alembic import op
from psycopg import sql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

SCHEMA = "sensor_platform"


def upgrade() -> None:
    """`work_unit_minute`, `work_unit_hour`, `work_unit_day`."""
    path = files("sensor_platform.database.migrations").joinpath("sql/0012_work_unit.sql")
    text: LiteralString = path.read_text("utf-8")
    for level in ("minute", "hour", "day"):
        view, rollup = sql.Identifier(SCHEMA, f"work_unit_{level}"), sql.Identifier(SCHEMA, f"rollup_{level}")
        op.execute(sql.SQL(text).format(view=view, rollup=rollup).as_string())
