"""`sensors` and `work-units`: the registry from the command line."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.cli.shell import Shell
from sensor_platform_tests.pipeline.staged import stage, value


def test_sensors(loaded: Shell) -> None:
    assert loaded("sensors", "set", "p1", "--metric", "value", "--maximum", "9").exit_code == 0
    assert loaded("work-units", "set", "press", "--parent", "hall").exit_code == 0
    (row,) = loaded.json("sensors", "list", "--json")
    assert (row["maximum"], row["parent"], row["unit"]) == (9.0, "hall", "bar")
    assert loaded("work-units", "list").stdout.split("\n")[2].split() == ["hall", "/", "press", "1"]
    assert [row["parent"] for row in loaded.json("work-units", "list", "--json")] == [None, "hall"]
    assert loaded("work-units", "set", "press").exit_code == 2
    assert [row["after"] for row in loaded.json("sensors", "history", "p1", "--json")] == [
        {"maximum": 9.0},
        {"declared": True},
    ]
    assert loaded("sensors", "set", "p1", "--maximum", "9").exit_code == 2
    assert loaded("sensors", "set", "p1").exit_code == 2
    assert loaded.json("sensors", "list", "--silent", "--json") == []
    assert loaded("sensors", "set", "p1", "--expected-interval", "0.001").exit_code == 0
    assert [row["sensor"] for row in loaded.json("sensors", "list", "--silent", "--json")] == ["p1"]
    assert loaded("sensors", "set", "p1", "--metric", "value", "--relabel", "--maximum", "1").exit_code == 2


def test_a_unit_that_does_not_convert_is_refused_in_one_line(loaded: Shell) -> None:
    refused = loaded("sensors", "set", "p1", "--metric", "value", "--unit", "degC")
    assert refused.exit_code == 1
    assert "press/p1, metric 'value': its unit 'bar' does not convert to 'degC'." in str(refused.exception)
    assert loaded("sensors", "set", "p1", "--metric", "value", "--unit", "mbar").exit_code == 0
    assert loaded.json("sensors", "list", "--json")[0]["unit"] == "mbar"


def test_a_unit_that_nobody_knows_is_warned_of(loaded: Shell, tmp_path: Path) -> None:
    table = tmp_path / "plant.csv"
    table.write_text("work_unit,sensor,metric,unit\npress,p2,value,frobs\npress,p3,value,frobs\npress,p4,value,bar\n")
    warning = "press/p2 value and 1 more: the unit 'frobs' is not known: it converts to no other"
    assert warning in loaded("sensors", "import", str(table), "--dry-run").stderr
    done = loaded("sensors", "import", str(table), "--json")
    assert warning in done.stderr
    assert "is not known" not in loaded("sensors", "import", str(table)).stderr
    assert "is not known" in loaded("sensors", "set", "p4", "--metric", "value", "--unit", "brobs", "--relabel").stderr


def test_names_with_a_slash_can_be_told_apart(loaded: Shell, tmp_path: Path) -> None:
    table = tmp_path / "plant.csv"
    table.write_text("work_unit,sensor\nw/x,s\nw,x/s\n")
    assert loaded("sensors", "import", str(table)).exit_code == 0
    both = loaded("sensors", "set", "w/x/s", "--description", "which?")
    assert "the name of 2 sensors: w/x%2Fs, w%2Fx/s." in str(both.exception)
    for name in ("w/x%2Fs", "w%2Fx/s"):
        assert loaded("sensors", "set", name, "--description", name).exit_code == 0
    found = {(row["work_unit"], row["sensor"]): row["description"] for row in loaded.json("sensors", "list", "--json")}
    assert (found["w", "x/s"], found["w/x", "s"]) == ("w/x%2Fs", "w%2Fx/s")


def test_a_limit_that_is_no_number_is_refused(loaded: Shell) -> None:
    for wrong, says in (
        (("--minimum", "inf"), "--minimum inf: it is not a finite number"),
        (("--scale", "inf"), "--scale inf: it is not a finite number"),
        (("--scale", "1e99"), "--scale 1e+99: it is above 1e+50"),
        (("--expected-interval", "inf"), "--expected-interval inf: it is a number of seconds above 0"),
    ):
        refused = loaded("sensors", "set", "p1", "--metric", "value", *wrong)
        assert refused.exit_code == 2
        assert says in refused.stderr


def test_a_registry_is_imported_and_exported(loaded: Shell, tmp_path: Path) -> None:
    assert "p1" in loaded("sensors", "list", "--undeclared").stdout
    table = tmp_path / "plant.csv"
    table.write_text("work_unit,level,sensor,metric,minimum\npress,cell,p1,value,0.5\npress,,p2,,\n")
    would = loaded("sensors", "import", str(table), "--dry-run")
    assert would.stdout.splitlines() == [
        "changed: work unit press: level - -> cell",
        "changed: sensor press/p1: declared False -> True",
        "changed: series press/p1 value: minimum - -> 0.5",
        "new: sensor press/p2: declared True",
    ]
    assert would.stderr == "4 changes would be made.\n"
    done = loaded.json("sensors", "import", str(table), "--json")
    assert (done["dry_run"], len(done["changes"])) == (False, 4)
    assert done["changes"][0] == {
        "kind": "work_unit",
        "work_unit": "press",
        "before": {"level": None},
        "after": {"level": "cell"},
    }
    assert loaded.json("sensors", "list", "--undeclared", "--json") == []
    assert [row["sensor"] for row in loaded.json("sensors", "list", "--never-seen", "--json")] == ["p2"]
    for form in ("yaml", "csv"):
        export = tmp_path / f"out.{form}"
        export.write_text(loaded("sensors", "export", "--format", form).stdout)
        assert loaded.json("sensors", "import", str(export), "--json")["changes"] == []
    table.write_text("work_unit,sensor\n,p1\n")
    failed = loaded("sensors", "import", str(table))
    assert str(failed.exception) == f"{table}:2: a sensor without a work_unit"


def test_a_calibration_names_the_hours_that_it_outdates(loaded: Shell) -> None:
    times = ("--valid-from", "2026-11-23T10:00", "--valid-to", "2026-11-24")
    done = loaded("sensors", "set", "p1", "--metric", "value", "--scale", "2", *times)
    line = "calibrations - -> * 2.0 + 0.0 from 2026-11-23T10:00:00Z to 2026-11-24T00:00:00Z"
    assert done.stdout.splitlines()[1] == f"changed: series press/p1 value: {line}"
    until = "1 micro-batches keep values of another calibration until these received hours are loaded again"
    assert done.stderr.splitlines() == ["2 changes made.", f"{until}: 2026-11-23T10Z."]
    (row,) = loaded.json("sensors", "list", "--json")
    assert row["calibrations"][0]["scale"] == 2.0
    assert "* 2.0 + 0.0 from" in loaded("sensors", "list").stdout
    backwards = ("--offset", "1", "--valid-from", "2027-01-01", *times[2:])
    for wrong in (("--valid-from", "2026-01-01"), ("--scale", "0"), backwards):
        assert loaded("sensors", "set", "p1", "--metric", "value", *wrong).exit_code == 2


def test_sensors_clocks_lists_how_wrong_they_are(shell: Shell, staging: LocalStaging) -> None:
    now = datetime.now(UTC)
    stage(staging, "a", [value(n, now + timedelta(seconds=n + 90)) for n in range(3)], received_at=now)
    shell.json("process", "--json")
    (found,) = shell.json("sensors", "clocks", "--json")
    assert (found["work_unit"], found["sensor"], found["readings"]) == ("press", "p1", 3)
    assert (found["skew_s"], found["least_delay_s"]) == (90.0, -90.0)
    assert shell("sensors", "clocks").stdout.splitlines()[0].split()[:3] == ["work_unit", "sensor", "skew_s"]
