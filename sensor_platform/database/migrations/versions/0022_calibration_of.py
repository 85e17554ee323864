"""Which calibration a reading was made with; and how often definitions changed."""

from importlib.resources import files

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`calibration_of()` and `installation.definition_changes`."""
    sql = files("sensor_platform.database.migrations").joinpath("sql", "0022_calibration_of.sql")
    op.execute(sql.read_text("utf-8"))
    op.add_column(
        "installation",
        sa.Column(
            "definition_changes",
            sa.BigInteger(),
            nullable=False,
            server_default="0",
            comment="transactions that changed the table `definition`; a load looks for news here",
        ),
        schema="sensor_platform",
    )
