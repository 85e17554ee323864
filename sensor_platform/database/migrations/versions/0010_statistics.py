"""Rollups have deviation, first, last, quality and what a time-weighted mean is made of; views show them by name."""

from importlib.resources import files
from typing import Any, LiteralString

import sqlalchemy as sa
from alembic import op
from psycopg import sql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SCHEMA = "sensor_platform"
TIMESTAMP = sa.TIMESTAMP(timezone=True)
#: table -> its view, the length of its buckets, its comment and the one before
ROLLUPS: dict[str, tuple[str, LiteralString, str, str]] = {
    "metrics_minute": (
        "rollup_minute",
        "interval '1 minute'",
        "Figures of each series a minute; see the view `rollup_minute`",
        "Readings a minute, of good and uncertain quality",
    ),
    "metrics_hourly": (
        "rollup_hour",
        "interval '1 hour'",
        "The same an hour, from metrics_minute; see `rollup_hour`",
        "Readings an hour, from metrics_minute",
    ),
    "metrics_daily": (
        "rollup_day",
        "interval '24 hours'",
        "The same a day, from metrics_hourly; see `rollup_day`",
        "Readings a day, from metrics_hourly",
    ),
}


def upgrade() -> None:
    """New columns, null in rows that stand: no row is written anew. They fill when their bucket is made again."""
    # Waiting for a long query of these tables, everybody else would wait behind us.
    op.execute("SET LOCAL lock_timeout = '30s'")
    op.execute(_read("0010_summable"))
    for table, (view, length, comment, comment_before) in ROLLUPS.items():
        for column in _columns():
            op.add_column(table, column, schema=SCHEMA)
        for name in ("min", "max", "sum"):
            op.alter_column(table, name, nullable=True, schema=SCHEMA)
        op.alter_column(table, "count", comment="those that the next columns are of", schema=SCHEMA)
        op.create_table_comment(table, comment, existing_comment=comment_before, schema=SCHEMA)
        op.execute(_view(view, table, length))


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("readings", sa.BigInteger(), comment="numbers of any quality, NaN too"),
        sa.Column("good", sa.BigInteger(), comment="of these: of good quality, and not NaN"),
        sa.Column("m2", sa.Double(), comment="sum of squares about the mean; null where a value is beyond 1e140"),
        sa.Column("first", sa.Double(), comment="value at the least time; of several the one received first"),
        sa.Column("first_time", TIMESTAMP),
        sa.Column("last", sa.Double(), comment="value at the greatest time; of several the one received last"),
        sa.Column("last_time", TIMESTAMP),
        sa.Column(
            "area", sa.Double(), comment="value times seconds from first_time to last_time: each holds until the next"
        ),
    ]


def _view(view: str, table: str, length: LiteralString) -> str:
    names = {"view": sql.Identifier(SCHEMA, view), "table": sql.Identifier(SCHEMA, table)}
    return sql.SQL(_read("0010_rollup")).format(**names, length=sql.SQL(length)).as_string()


def _read(name: str) -> LiteralString:
    return files("sensor_platform.database.migrations").joinpath(f"sql/{name}.sql").read_text("utf-8")
