"""Readings by name, and the way back to their bytes."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.retry import retry
from sensor_platform.errors import SensorPlatformError
from sensor_platform.pipeline.known import UnknownMetricError
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.read_out import read_metrics
from sensor_platform.pipeline.readings import UnknownSensorError, trace
from sensor_platform.pipeline.registry import (
    UnknownSeriesError,
    list_series,
    set_sensor,
    set_work_unit,
)
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, routes, stage, value

TEXT = routes(", text: true")
MINUTE = timedelta(minutes=1)
DATA = routes()["data"]


def test_metrics_are_half_open_and_name_their_sensor(database: Database, staging: LocalStaging) -> None:
    content = [value(n, HOUR - n * MINUTE, unit="C", quality="uncertain") for n in (1, 2, 3)]
    stage(staging, "a", [*content, value("warm", HOUR - 9 * MINUTE)])
    load(staging, database, using=TEXT)
    found = read_metrics(database, sensor="p1", start=HOUR - 3 * MINUTE, end=HOUR - MINUTE)
    assert found.to_dict("records") == [
        {
            "work_unit": "press",
            "sensor": "p1",
            "metric": "value",
            "time": HOUR - n * MINUTE,
            "value": float(n),
            "text": None,
            "unit": "C",
            "quality": "uncertain",
        }
        for n in (3, 2)
    ]
    assert read_metrics(database, sensor="press/p1")["text"].tolist() == ["warm", None, None, None]
    with pytest.raises(UnknownMetricError):
        read_metrics(database, sensor="p1", metric="other")


def test_a_bare_name_that_two_places_have_lists_them(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1), Message({"value": 2}, "factory/oven/sensors/p1/data")])
    load(staging, database)
    with pytest.raises(UnknownSensorError, match="oven/p1, press/p1"):
        read_metrics(database, sensor="p1")
    assert read_metrics(database, sensor="oven/p1")["value"].tolist() == [2.0]
    with pytest.raises(UnknownSensorError, match="no sensor 'p9'"):
        read_metrics(database, sensor="p9")


def test_trace_shows_the_bytes_of_both_values_at_one_time(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1), value(0)])
    stage(staging, "b", [value(2)], first_sequence=3)
    load(staging, database, run_id="run 1")
    first, _, third = trace(database, staging, "press/p1", "value", HOUR)
    assert (first["micro_batch"], first["sequence"], third["micro_batch"], third["sequence"]) == ("a", 1, "b", 3)
    assert base64.b64decode(first["payload_base64"]) == value(1).bytes
    assert first["received_at"] == HOUR
    assert first["topic"] == "factory/press/sensors/p1/data"
    assert (first["route"], first["route_version"], first["transformer_version"]) == ("data", DATA.version, "1")
    assert first["run_id"] == "run 1"
    assert first["reading"]["value"] == 1.0
    assert trace(database, staging, "p1", "value", HOUR + MINUTE) == []


def test_trace_names_the_route_that_made_it_not_the_one_of_today(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1)])
    load(staging, database, using=routes(", conflicts: last"))
    was = routes(", conflicts: last")["data"].version
    assert trace(database, staging, "p1", "value", HOUR)[0]["route_version"] == was != DATA.version
    load(staging, database, mode=Mode.AGAIN)
    assert trace(database, staging, "p1", "value", HOUR)[0]["route_version"] == DATA.version


def test_trace_of_what_a_retry_made(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value("warm")])
    load(staging, database, run_id="run 1")
    retry(database, TEXT, settings=Settings(), now=datetime.now(UTC) + timedelta(hours=1), by="run 2")
    (found,) = trace(database, staging, "p1", "value", HOUR)
    assert (found["run_id"], found["route_version"]) == ("run 2", TEXT["data"].version)
    assert base64.b64decode(found["payload_base64"]) == value("warm").bytes
    assert found["received_at"] == HOUR


def test_a_micro_batch_that_is_gone_is_said(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1)])
    load(staging, database)
    staging.path(staging.micro_batches()[0]).unlink()
    with pytest.raises(SensorPlatformError, match=r"a\.arrow: no such micro-batch"):
        trace(database, staging, "p1", "value", HOUR)


def test_sensors_and_places_are_edited(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1)])
    load(staging, database)
    set_sensor(database, "p1", description="the left one", metric="value", minimum=0.5, maximum=9, unit="bar")
    set_work_unit(database, "press", parent="hall 1")
    assert list_series(database) == [
        {
            "work_unit": "press",
            "sensor": "p1",
            "metric": "value",
            "unit": "bar",
            "minimum": 0.5,
            "maximum": 9.0,
            "conflicts": "all",
            "description": "the left one",
            "parent": "hall 1",
            "expected_interval_s": None,
            "declared": True,
            "seen": True,
            "calibrations": [],
        }
    ]
    set_sensor(database, "p1", metric="value", minimum=float("nan"))
    assert list_series(database)[0]["minimum"] is None
    with pytest.raises(UnknownSeriesError, match="press/p1 has no metric 'speed'"):
        set_sensor(database, "p1", metric="speed", unit="rpm")
    set_work_unit(database, "press", parent="")
    assert list_series(database)[0]["parent"] is None
