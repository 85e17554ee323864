"""`metrics` and `last`: what stands on stdout, to the key."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.rollups import roll_up
from sensor_platform_tests.cli.shell import Shell
from sensor_platform_tests.pipeline.staged import HOUR

#: The reading of `loaded`.
ROW: dict[str, Any] = {
    "work_unit": "press",
    "sensor": "p1",
    "metric": "value",
    "time": "2026-11-23T10:00:00Z",
    "value": 1.5,
    "text": None,
    "unit": "bar",
    "quality": "good",
}


def test_metrics_in_three_forms(loaded: Shell) -> None:
    assert loaded.json("metrics", "--sensor", "p1", "--json") == [ROW]
    assert loaded.json("metrics", "--sensor", "p1", "--format", "json", "--to", "2026-11-23T10:00:00Z") == []
    assert loaded("metrics", "--sensor", "press/p1", "--format", "csv").stdout == (
        "work_unit,sensor,metric,time,value,text,unit,quality\n"
        "press,p1,value,2026-11-23T10:00:00.000000Z,1.5,,bar,good\n"
    )
    table = loaded("metrics", "--sensor", "p1").stdout.splitlines()
    assert table[0].split() == list(ROW)
    assert table[1].split() == ["press", "p1", "value", "2026-11-23T10:00:00Z", "1.5", "bar", "good"]


def test_metrics_exports_whole_files(loaded: Shell, tmp_path: Path) -> None:
    parquet, csv = tmp_path / "p1.parquet", tmp_path / "p1.csv"
    assert loaded("metrics", "--sensor", "p1", "--format", "parquet", "--output", str(parquet)).exit_code == 0
    assert [(row["time"].isoformat(), row["value"]) for row in pq.read_table(parquet).to_pylist()] == [
        ("2026-11-23T10:00:00+00:00", 1.5)
    ]
    assert loaded("metrics", "--sensor", "p1", "--format", "csv", "--output", str(csv)).exit_code == 0
    assert csv.read_text() == loaded("metrics", "--sensor", "p1", "--format", "csv").stdout
    again = loaded("metrics", "--sensor", "p1", "--format", "csv", "--output", str(csv))
    assert again.exit_code == 1
    assert "is there already" in again.stderr
    assert sorted(path.name for path in tmp_path.glob("p1.*")) == ["p1.csv", "p1.parquet"]
    for arguments in (["--format", "parquet"], ["--output", str(tmp_path / "p1.txt")]):
        assert loaded("metrics", "--sensor", "p1", *arguments).exit_code == 2


def test_metrics_of_what_is_unknown_and_a_bad_time(loaded: Shell, tmp_path: Path) -> None:
    for kind in ("table", "csv"):
        unknown = loaded("metrics", "--sensor", "p9", "--format", kind)
        assert "no sensor 'p9'" in str(unknown.exception)
        assert unknown.stdout == ""
        unknown = loaded("metrics", "--sensor", "p1", "--metric", "valu", "--format", kind)
        assert (unknown.exit_code, unknown.stdout) == (1, "")
        assert str(unknown.exception) == 'press/p1 has no metric "valu". Did you mean "value"? Known: value.'
    export = ("--format", "parquet", "--output", str(tmp_path / "valu.parquet"))
    assert loaded("metrics", "--sensor", "p1", "--metric", "valu", *export).exit_code == 1
    assert list(tmp_path.glob("valu*")) == []
    empty = loaded("metrics", "--sensor", "p1", "--from", ROW["time"], "--to", ROW["time"])
    assert (empty.exit_code, empty.stdout) == (2, "")
    assert "--to must be later than --from" in empty.stderr
    result = loaded("metrics", "--sensor", "p1", "--from", "yesterday")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "not an ISO 8601 time" in result.stderr


def test_metrics_by_level(loaded: Shell, database: Database, tmp_path: Path) -> None:
    roll_up(database, first=HOUR.date(), last=HOUR.date())
    (found,) = loaded.json("metrics", "--sensor", "p1", "--level", "hour", "--json")
    assert (found["bucket"], found["count"], found["mean"], found["unit"]) == ("2026-11-23T10:00:00Z", 1, 1.5, "bar")
    header, row = loaded("metrics", "--sensor", "p1", "--level", "day", "--format", "csv").stdout.splitlines()
    assert header.startswith("work_unit,sensor,metric,unit,bucket,count,min,max,mean,")
    assert row.startswith("press,p1,value,bar,2026-11-23T00:00:00.000000Z,1,1.5,1.5,1.5,")
    parquet = tmp_path / "minutes.parquet"
    export = ("--format", "parquet", "--output", str(parquet))
    assert loaded("metrics", "--sensor", "p1", "--level", "minute", *export).exit_code == 0
    assert pq.read_table(parquet)["count"].to_pylist() == [1]


def test_metrics_of_a_work_unit(loaded: Shell, database: Database) -> None:
    roll_up(database, first=HOUR.date(), last=HOUR.date())
    (found,) = loaded.json("metrics", "--work-unit", "press", "--level", "hour", "--metric", "value", "--json")
    assert (found["work_unit"], found["sensors"], found["mean"]) == ("press", 1, 1.5)
    header, row = loaded("metrics", "--work-unit", "press", "--level", "day", "--format", "csv").stdout.splitlines()
    assert header.startswith("work_unit,metric,unit,bucket,sensors,count,")
    assert row.startswith("press,value,bar,2026-11-23T00:00:00.000000Z,1,1,1.5,")
    for wrong in ([], ["--work-unit", "press"], ["--work-unit", "press", "--sensor", "p1", "--level", "day"]):
        assert loaded("metrics", *wrong).exit_code == 2


def test_last_shows_one_row_a_series_with_its_age(loaded: Shell) -> None:
    (row,) = loaded.json("last", "--sensor", "p1", "--json")
    assert isinstance(row.pop("age_s"), float)
    assert row == ROW
    assert "age_s" in loaded("last").stdout
    assert loaded.json("last", "--metric", "other", "--json") == []
    assert loaded("last", "--sensor", "nobody").exit_code == 1
