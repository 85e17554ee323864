"""Readings that name no unit are in a unit of their own, which a change of that of their series does not touch."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

SCHEMA = "sensor_platform"


def upgrade() -> None:
    """`series.unnamed_unit` and who said so. Until now such readings were in whatever unit their series had."""
    unit = sa.Column(
        "unnamed_unit", sa.Text(), comment="what readings are taken to be in that name no unit; they are converted"
    )
    by = sa.Column("unnamed_by", sa.Text(), comment="the route that said so; null: the first reading, or a person")
    for column in (unit, by):
        op.add_column("series", column, schema=SCHEMA)
    # What a person said of the unit says nothing of a route.
    op.execute(
        "UPDATE sensor_platform.series SET unnamed_unit = unit, unnamed_by = nullif(unit_by, 'a person')"
        " WHERE unit IS NOT NULL"
    )
