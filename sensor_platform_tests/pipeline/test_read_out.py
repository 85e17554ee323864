"""Readings come out as they stand, in parts or whole, for Arrow and for pandas."""

import math
from datetime import timedelta

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.pipeline import read_out
from sensor_platform.pipeline.read_out import READINGS, ROLLUPS, frame_of, read_arrow, stream_readings
from sensor_platform.pipeline.rollups import roll_up
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, routes, stage, value

ROUTE = routes(", text: true, allow_nan: true")
#: What a value column, a text column and CSV could confuse.
ODD = [1.5, "", "NULL", 'a "word", and\na line', math.inf, math.nan, 2**60 + 1, "é\t\\N"]


def load_odd(staging: LocalStaging, database: Database) -> None:
    stage(staging, "a", [Message({"value": v, "timestamp": HOUR.timestamp() + n}) for n, v in enumerate(ODD)])
    load(staging, database, using=ROUTE)


def test_every_value_comes_out_as_it_stands(database: Database, staging: LocalStaging) -> None:
    load_odd(staging, database)
    found = read_arrow(database, sensor="press/p1")
    assert found.schema == READINGS
    texts = found["text"].to_pylist()
    assert texts == [None, "", "NULL", 'a "word", and\na line', None, None, str(2**60 + 1), "é\t\\N"]
    values = found["value"].to_pylist()
    assert values[:5] == [1.5, None, None, None, math.inf]
    assert math.isnan(values[5])
    assert values[6:] == [float(2**60 + 1), None]
    frame = frame_of(found)
    assert frame["text"].tolist() == texts
    assert frame["unit"].tolist() == [None] * len(ODD)
    assert str(frame["time"].dtype) == "datetime64[us, UTC]"


def test_parts_are_the_whole_however_small(
    database: Database, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_odd(staging, database)
    whole = read_arrow(database, sensor="p1")
    monkeypatch.setattr(read_out, "CHUNK_BYTES", 1)
    parts = list(stream_readings(database, sensor="p1"))
    assert [part.num_rows for part in parts] == [1] * len(ODD)
    assert [str(row) for part in parts for row in part.to_pylist()] == [str(row) for row in whole.to_pylist()]


def test_a_name_is_a_value_and_never_sql(database: Database, staging: LocalStaging) -> None:
    load_odd(staging, database)
    metric = "value' OR 'a' = 'a"
    assert read_arrow(database, sensor="p1", metric=metric).num_rows == 0
    assert read_arrow(database, sensor="p1", metric="value").num_rows == len(ODD)


def test_a_text_of_megabytes_comes_out_whole(database: Database, staging: LocalStaging) -> None:
    text = "a,b\n" * 750_000
    stage(staging, "a", [Message({"value": text})])
    load(staging, database, using=ROUTE)
    assert read_arrow(database, sensor="p1")["text"].to_pylist() == [text]


@pytest.mark.parametrize(("level", "buckets"), [("minute", 2), ("hour", 1), ("day", 1)])
def test_rollups_come_out_by_level(database: Database, staging: LocalStaging, level: str, buckets: int) -> None:
    early = HOUR - timedelta(minutes=30)
    stage(staging, "a", [value(2, early, unit="K"), value(4, early + timedelta(seconds=90)), value(9, metric="b")])
    load(staging, database)
    roll_up(database, first=HOUR.date(), last=HOUR.date())
    found = read_arrow(database, sensor="p1", metric="value", level=level)
    assert (found.schema, found.num_rows) == (ROLLUPS, buckets)
    first, last = found.to_pylist()[0], found.to_pylist()[-1]
    assert (first["unit"], first["first"], first["first_time"], last["last"]) == ("K", 2.0, early, 4.0)
    assert (last["last_time"], last["good_share"]) == (early + timedelta(seconds=90), 1.0)
    if level == "minute":
        assert (first["count"], first["mean"], first["stddev"]) == (1, 2.0, None)
    # A bucket is of the time when it begins.
    after = read_arrow(database, sensor="p1", metric="value", level=level, start=early + timedelta(seconds=1))
    assert after.num_rows == buckets - 1
