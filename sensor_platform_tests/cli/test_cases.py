"""`routes test`: the route file of a user against golden payloads."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sensor_platform.cli import sensor_platform
from sensor_platform.errors import ConfigurationError
from sensor_platform.transformers.times import iso
from sensor_platform_tests.transformers import sparkplug

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


def case(folder: Path, routes: str, *, before: list[dict[str, str]], message: bytes, expected: dict[str, Any]) -> None:
    (folder / "routes.yaml").write_text(routes)
    made = folder / "testcases" / "several"
    made.mkdir()
    (made / "message.hex").write_text(message.hex())
    (made / "case.json").write_text(json.dumps({"topic": before[-1]["topic"], "before": before}))
    (made / "expected.json").write_text(json.dumps(expected))


RATES = """\
routes:
  - name: meter
    filter: plant/{work_unit}/{sensor}
    format: json
    contract: {version: "1", metrics: {power: {max_rate_per_s: 10}}}
"""


def test_a_rate_of_change_is_judged_by_the_message_before(folder: Path) -> None:
    before = [{"topic": "plant/hall/m1", "text": '{"power": 0, "time": "2026-01-01T00:00:00Z"}'}]
    jump = b'{"power": 500, "time": "2026-01-01T00:00:01Z"}'
    refused = [{"ordinal": 0, "code": "contract_rate"}]
    case(folder, RATES, before=before, message=jump, expected={"refused": refused})
    assert run("several").exit_code == 0
    about = folder / "testcases" / "several" / "case.json"
    about.write_text(json.dumps({"topic": "plant/hall/m1"}))
    alone = run("several")
    assert alone.exit_code == 1
    assert '-    {"ordinal": 0, "code": "contract_rate"}' in alone.stdout


def test_sparkplug_data_under_aliases_is_read_by_the_birth_before_it(folder: Path) -> None:
    birth = sparkplug.birth("g/n", sparkplug.metric("force", 7, 10, double_value=1.5), bdseq=0)
    topic, message = sparkplug.data("g/n", sparkplug.metric(None, 7, None, double_value=2.5))
    reading = {"ordinal": 0, "work_unit": "g", "sensor": "n", "metric": "force", "value": 2.5}
    before = [{"topic": birth[0], "hex": birth[1].hex()}]
    routes = "routes: [{name: s, filter: spBv1.0/#, format: sparkplug}]\n"
    expected = {"readings": [{**reading, "time": iso(sparkplug.AT * 1000)}]}
    case(folder, routes, before=before, message=message, expected=expected)
    about = folder / "testcases" / "several" / "case.json"
    at = "2026-01-01T00:00:00Z"
    about.write_text(json.dumps({"topic": topic, "received_at": at, "before": before}))
    told = run("several")
    assert told.exit_code == 0, told.stdout


def test_an_expectation_that_is_none_is_said_with_its_place(folder: Path) -> None:
    (folder / "testcases" / "meter" / "usual" / "expected.json").write_text('{"refused": [{"ordinal": 0}]}')
    result = run()
    assert isinstance(result.exception, ConfigurationError)
    assert 'usual/expected.json: refused[0]: "code" is missing' in str(result.exception)


@pytest.mark.parametrize("arguments", [["nowhere"], ["--cases", "empty"]])
def test_no_case_is_no_success(folder: Path, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert "there is no case" in str(result.exception)
