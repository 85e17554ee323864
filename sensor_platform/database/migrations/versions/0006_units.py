"""Units convert: a series has the unit of its values and those that were named; each reading knows its own."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCHEMA = "sensor_platform"
COMMENT = "the unit that was sent: its place in series.units; 0: none, -1: not noted"


class OneByte(sa.types.UserDefinedType[int]):
    """PostgreSQL's "char"."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return '"char"'


def upgrade() -> None:
    """New columns of `series` and of the readings, and `unit_change`."""
    op.alter_column(
        "series",
        "unit",
        comment="of the values: that of the route, or the first one seen; others are converted",
        existing_comment="the first one seen; readings that name another are refused",
        schema=SCHEMA,
    )
    columns: list[sa.Column[Any]] = [
        sa.Column(
            "unit_by", sa.Text(), comment="the route or person who said so; null: the first reading that named one"
        ),
        sa.Column(
            "units",
            sa.ARRAY(sa.Text()),
            nullable=False,
            server_default="{}",
            comment="units that its readings named, in order of appearance; `source_unit` of a reading counts from 1",
        ),
    ]
    for column in columns:
        op.add_column("series", column, schema=SCHEMA)
    for table in ("metric", "metric_duplicate"):
        # Of what stands, it was not noted which unit was named: the fast default writes no row anew.
        noted = sa.Column(
            "source_unit", OneByte(), nullable=False, server_default=sa.text('(-1)::"char"'), comment=COMMENT
        )
        op.add_column(table, noted, schema=SCHEMA)
        op.alter_column(table, "source_unit", server_default=sa.text("'\\000'::\"char\""), schema=SCHEMA)
    op.create_table(
        "unit_change",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("series", sa.Integer(), nullable=False),
        sa.Column("at", sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False, comment="when"),
        sa.Column("unit_before", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False, comment="the route or person"),
        sa.PrimaryKeyConstraint("id", name="unit_change_pkey"),
        schema=SCHEMA,
        comment="When the unit of a series changed and its stored values were converted. A load looks for news here",
    )
