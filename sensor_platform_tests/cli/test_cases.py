"""`routes test`: the route file of a user against golden payloads."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sensor_platform.cli import sensor_platform

ROUTES = """\
routes:
  - name: meter
    filter: plant/{work_unit}/{sensor}
    format: json
    options:
      readings: [{metric: power, value: $.p, scale: %s, unit: kW}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "routes.yaml").write_text(ROUTES % "0.001")
    case = tmp_path / "testcases" / "meter" / "usual"
    case.mkdir(parents=True)
    (case / "message.json").write_text('{"p": 1500}')
    (case / "case.json").write_text('{"topic": "plant/hall/m1", "received_at": "2026-01-01T12:00:00Z"}')
    (case / "expected.json").write_text(
        '{"readings": [{"ordinal": 0, "metric": "power", "value": 1.5, "unit": "kW", "work_unit": "hall",'
        ' "sensor": "m1", "time": "2026-01-01T12:00:00.000000Z", "timed_by_receipt": true}]}'
    )
    broken = tmp_path / "testcases" / "broken"
    broken.mkdir()
    (broken / "message.hex").write_text("ff 00")
    (broken / "case.json").write_text('{"topic": "plant/hall/m1"}')
    (broken / "error.txt").write_text("invalid_encoding\n")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(sensor_platform, ["routes", "test", *arguments])


def test_cases_that_hold_are_a_line_each(folder: Path) -> None:
    result = run()
    assert result.exit_code == 0, result.output
    assert result.stdout == "ok      broken\nok      meter/usual\n"
    assert result.stderr == "2 of 2 cases hold.\n"


def test_a_case_that_does_not_hold_shows_how_it_differs_and_exits_1(folder: Path) -> None:
    (folder / "routes.yaml").write_text(ROUTES % "1")
    result = run()
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[:2] == ["ok      broken", "FAILED  meter/usual"]
    assert [line.strip()[:1] for line in lines if '"value"' in line] == ["-", "+"]
    told = json.loads(run("--json").stdout)
    assert (told["passed"], told["failed"]) == (1, 1)
    assert [case["ok"] for case in told["cases"]] == [True, False]
    assert any('"value": 1500' in line for line in told["cases"][1]["diff"])


def test_checks_are_part_of_what_is_expected(folder: Path) -> None:
    (folder / "testcases" / "meter" / "usual" / "message.json").write_text('{"p": 1500, "time": "1999-01-01"}')
    (folder / "routes.yaml").write_text((ROUTES % "1").replace("readings:", "time: {field: $.time}\n      readings:"))
    diff = json.loads(run("meter", "--json").stdout)["cases"][0]["diff"]
    assert any("before_valid_time" in line for line in diff)


def test_a_name_chooses_and_another_route_file_and_folder_may_be_given(folder: Path) -> None:
    assert run("meter").stdout == "ok      meter/usual\n"
    (folder / "other.yaml").write_text(ROUTES % "2")
    assert run("meter", "--routes", "other.yaml", "--cases", "testcases").exit_code == 1


@pytest.mark.parametrize("arguments", [["nowhere"], ["--cases", "empty"]])
def test_no_case_is_no_success(folder: Path, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert "there is no case" in str(result.exception)
