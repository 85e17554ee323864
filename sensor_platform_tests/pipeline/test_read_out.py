"""Readings come out as they stand, in parts or whole, for Arrow and for pandas."""

import math
from datetime import timedelta

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.pipeline import read_out
from sensor_platform.pipeline.known import UnknownMetricError, UnknownWorkUnitError
from sensor_platform.pipeline.read_out import frame_of, read_arrow, read_metrics, stream_csv, stream_readings
from sensor_platform.pipeline.rollups import roll_up
from sensor_platform.pipeline.views import READINGS, ROLLUPS, WORK_UNIT_ROLLUPS
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


def test_csv_tells_an_empty_text_from_none_and_nan_from_nothing(database: Database, staging: LocalStaging) -> None:
    load_odd(staging, database)
    text = b"".join(stream_csv(database, sensor="p1")).decode()
    rows = text.removeprefix("work_unit,sensor,metric,time,value,text,unit,quality\n")
    start = "press,p1,value,2026-11-23T10:00:0"
    assert rows == (
        f"{start}0.000000Z,1.5,,,good\n"
        f'{start}1.000000Z,,"",,good\n'
        f"{start}2.000000Z,,NULL,,good\n"
        f'{start}3.000000Z,,"a ""word"", and\na line",,good\n'
        f"{start}4.000000Z,Infinity,,,good\n"
        f"{start}5.000000Z,NaN,,,good\n"
        f"{start}6.000000Z,1.152921504606847e+18,1152921504606846977,,good\n"
        f"{start}7.000000Z,,é\t\\N,,good\n"
    )


def test_a_work_unit_comes_out_by_level(database: Database, staging: LocalStaging) -> None:
    other = Message({"value": 4, "timestamp": HOUR.timestamp()}, "factory/press/sensors/p2/data")
    stage(staging, "a", [value(2, HOUR), other, value(9, HOUR, metric="b")])
    load(staging, database)
    roll_up(database, first=HOUR.date(), last=HOUR.date())
    found = read_arrow(database, work_unit="press", metric="value", level="hour", start=HOUR)
    assert found.schema == WORK_UNIT_ROLLUPS
    (row,) = found.to_pylist()
    assert (row["sensors"], row["count"], row["mean"], row["sum"], row["good"]) == (2, 2, 3.0, 6.0, 2)
    assert read_metrics(database, work_unit="press", level="day")["metric"].tolist() == ["b", "value"]
    assert read_metrics(database, work_unit="press", level="day", end=HOUR.replace(hour=0)).empty
    with pytest.raises(UnknownWorkUnitError, match='Did you mean "press"'):
        read_arrow(database, work_unit="pres", level="hour")
    with pytest.raises(UnknownMetricError, match="Known: b, value"):
        read_arrow(database, work_unit="press", metric="c", level="hour")
    for wanted in ({}, {"sensor": "p1", "work_unit": "press"}, {"work_unit": "press"}):
        with pytest.raises(ValueError, match="work unit"):
            read_arrow(database, **wanted)


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
    with pytest.raises(UnknownMetricError, match=r"press/p1 has no metric .* Known: value"):
        read_arrow(database, sensor="p1", metric=metric)
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
    assert (first["readings"], first["good"], first["sum"]) == ((1, 1, 2.0) if level == "minute" else (2, 2, 6.0))
    # A bucket is of the time when it begins.
    after = read_arrow(database, sensor="p1", metric="value", level=level, start=early + timedelta(seconds=1))
    assert after.num_rows == buckets - 1
