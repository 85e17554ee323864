"""Readings come out as they stand, in parts or whole, for Arrow and for pandas."""

import math

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.pipeline import read_out
from sensor_platform.pipeline.read_out import READINGS, frame_of, read_arrow, stream_readings
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, routes, stage

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
