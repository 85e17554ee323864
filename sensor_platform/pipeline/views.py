"""The views that are read out: readings and rollups, of a sensor or of a work unit, with their columns and order."""

from dataclasses import dataclass

import pyarrow as pa

_TIME = pa.timestamp("us", "UTC")

#: A null `value`: the reading is text alone; NaN is a value.
READINGS = pa.schema(
    [
        pa.field("work_unit", pa.string(), nullable=False),
        pa.field("sensor", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("time", _TIME, nullable=False),
        pa.field("value", pa.float64()),
        pa.field("text", pa.string()),
        pa.field("unit", pa.string()),
        pa.field("quality", pa.string(), nullable=False),
    ]
)
#: What they mean: docs/rollups.md. A null figure: there is none.
ROLLUPS = pa.schema(
    [
        pa.field("work_unit", pa.string(), nullable=False),
        pa.field("sensor", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("unit", pa.string()),
        pa.field("bucket", _TIME, nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        *(pa.field(name, pa.float64()) for name in ("min", "max", "mean", "stddev", "time_weighted_mean", "known_s")),
        pa.field("first", pa.float64()),
        pa.field("first_time", _TIME),
        pa.field("last", pa.float64()),
        pa.field("last_time", _TIME),
        pa.field("good_share", pa.float64()),
        pa.field("readings", pa.int64()),
        pa.field("good", pa.int64()),
        *(pa.field(name, pa.float64()) for name in ("sum", "m2")),
    ]
)
#: The same of a work unit, with all that lies in it.
WORK_UNIT_ROLLUPS = pa.schema(
    [
        pa.field("work_unit", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("unit", pa.string()),
        pa.field("bucket", _TIME, nullable=False),
        pa.field("sensors", pa.int64(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        *(pa.field(name, pa.float64()) for name in ("min", "max", "mean", "stddev", "time_weighted_mean")),
        pa.field("good_share", pa.float64()),
        pa.field("readings", pa.int64()),
        pa.field("good", pa.int64()),
        pa.field("sum", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class View:
    """A view that is read out: its columns, the one of its times, and the order of its rows."""

    name: str
    schema: pa.Schema
    time: str
    order: tuple[str, ...]


_OF_READINGS = ("time", "metric", "micro_batch", "sequence", "ordinal")
OF_SENSOR = {
    "readings": View("reading", READINGS, "time", _OF_READINGS),
    **{level: View(f"rollup_{level}", ROLLUPS, "bucket", ("bucket", "metric")) for level in ("minute", "hour", "day")},
}
OF_WORK_UNIT = {
    level: View(f"work_unit_{level}", WORK_UNIT_ROLLUPS, "bucket", ("bucket", "metric", "unit"))
    for level in ("minute", "hour", "day")
}
LEVELS = tuple(OF_SENSOR)
