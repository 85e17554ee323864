"""A reading takes eight bytes less: no NULL in the row of a number, and a quality of one letter.

Every partition is written anew, in one transaction: readers and loads wait for it, and until it commits the disk holds
the rows twice.
"""

from importlib.resources import files

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

#: As they are, without the table: what others made of them, and who may read them, stays.
UNTIED = (
    """
    CREATE OR REPLACE VIEW sensor_platform.reading AS
    SELECT text AS work_unit, text AS sensor, text AS metric, time, value, text, text AS unit, text AS quality,
           text AS conflicts, id AS series, id AS micro_batch, sequence, id AS ordinal
    FROM (SELECT NULL::text AS text, NULL::timestamptz AS time, NULL::double precision AS value, NULL::integer AS id,
                 NULL::bigint AS sequence) AS nothing""",
    """
    CREATE OR REPLACE VIEW sensor_platform.last_reading AS
    SELECT text AS work_unit, text AS sensor, text AS metric, time, value, text, text AS unit, text AS quality
    FROM (SELECT NULL::text AS text, NULL::timestamptz AS time, NULL::double precision AS value) AS nothing""",
)
NARROW = """
ALTER TABLE sensor_platform.{table}
    ALTER quality TYPE "char" USING CASE quality WHEN 0 THEN 'g' WHEN 1 THEN 'u' ELSE 'b' END::"char",
    ALTER text TYPE text USING coalesce(text, ''),
    ALTER text SET DEFAULT '',
    ALTER text SET NOT NULL"""


def upgrade() -> None:
    """`metric` and `metric_duplicate`, the views of readings, and an index whose pages are fuller."""
    for view in UNTIED:
        op.execute(view)
    op.execute("DROP INDEX sensor_platform.metric_series_time_idx")
    for table in ("metric", "metric_duplicate"):
        op.execute(NARROW.format(table=table))
        op.execute(f"COMMENT ON COLUMN sensor_platform.{table}.quality IS 'g good, u uncertain, b bad'")
        op.execute(
            f"COMMENT ON COLUMN sensor_platform.{table}.text IS"
            " 'text readings, and the exact digits of integers past 2^53; '''' beside a value: none'"
        )
    op.execute("CREATE INDEX metric_series_time_idx ON sensor_platform.metric (series, time) WITH (fillfactor = 95)")
    for name in ("0024_reading", "0024_last_reading"):
        op.execute(files("sensor_platform.database.migrations").joinpath(f"sql/{name}.sql").read_text("utf-8"))
