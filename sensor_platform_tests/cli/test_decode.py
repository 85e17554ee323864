import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sensor_platform.cli.decode import decode

TOPIC = "factory/line1/sensors/press/data"


@pytest.fixture(autouse=True)
def _packaged_routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(payload: bytes, *, topic: str = TOPIC, as_json: bool = True) -> Result:
    arguments = ["--topic", topic, *(["--json"] if as_json else [])]
    return CliRunner().invoke(decode, arguments, input=payload)


def test_a_good_payload_is_shown_as_readings_and_exits_0() -> None:
    result = run(b'{"timestamp": "2025-06-01T12:00:00Z", "value": 9007199254740993, "unit": "kN"}')
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    steps = shown.pop("steps")
    assert [(step["step"], step["ok"]) for step in steps] == [
        ("route", True),
        ("payload", True),
        ("format", True),
        ("fields", True),
        ("decode", True),
        ("checks", True),
    ]
    assert shown == {
        "route": "factory-json",
        "readings": [
            {
                "work_unit": "line1",
                "sensor": "press",
                "metric": "value",
                "time": "2025-06-01T12:00:00.000000Z",
                "value": 9007199254740992.0,
                "text": "9007199254740993",
                "unit": "kN",
                "quality": "good",
            }
        ],
        "refused": [],
        "ignored": False,
    }


def test_what_decode_or_validation_refuses_is_named_and_exits_1() -> None:
    result = run(b'[{"value": 1}, {"value": null}, {"ts": "1999-01-01", "value": 2}, {"ts": 99999999999, "value": 3}]')
    assert result.exit_code == 1
    shown = json.loads(result.stdout)
    assert [reading["value"] for reading in shown["readings"]] == [1.0]
    assert [(refused["stage"], refused["code"]) for refused in shown["refused"]] == [
        ("decode", "missing_value"),
        ("time", "before_valid_time"),
        ("time", "in_the_future"),
    ]
    assert all(refused["detail"] for refused in shown["refused"])


@pytest.mark.parametrize("payload", [b"", b"\xff\x00", b"[" * 100_000])
def test_rubbish_is_refused_and_exits_1(payload: bytes) -> None:
    result = run(payload)
    assert result.exit_code == 1
    assert len(json.loads(result.stdout)["refused"]) == 1


def test_a_topic_without_a_route_is_refused() -> None:
    shown = json.loads(run(b"1", topic="elsewhere").stdout)
    assert shown["route"] is None
    assert shown["steps"][0]["says"][1:] == [
        "nearest filters:",
        'factory-json (factory/{work_unit}/sensors/{sensor}/data): level 1 is "elsewhere", the filter has "factory"',
        'factory-csv (factory/{work_unit}/sensors/{sensor}/csv): level 1 is "elsewhere", the filter has "factory"',
    ]
    assert [refused["code"] for refused in shown["refused"]] == ["no_route"]


def test_people_get_short_steps_of_at_most_80_columns() -> None:
    result = run(b'[{"value": 1.25, "timestamp": "2026-01-01T00:00:00Z"}, {"value": "x"}]', as_json=False)
    assert result.exit_code == 1
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines == [
        "topic        factory/line1/sensors/press/data",
        "route        factory-json: factory/{work_unit}/sensors/{sensor}/data",
        "             work unit line1, sensor press",
        'payload      70 bytes, [{"value": 1.25, "timest …',
        "format       json, transformer version 1",
        "fields       [0].value = 1.25: value",
        '             [0].timestamp = "2026-01-01T00:00:00Z": time',
        '             [1].value = "x": value',
        "decode       1 reading",
        '             refused: decode, value_not_number: the value "x" does not read as a',
        "               number (reading 2 of the message)",
        "checks       1 of 1 pass: names, units, quality, time",
        "readings     line1/press value = 1.25 at 2026-01-01T00:00:00.000000Z",
        "result       would be loaded: 1; refused: 1",
    ]


def test_escape_sequences_of_a_payload_do_not_reach_the_terminal() -> None:
    payload = '{"value": "\\u001b]0;owned\\u0007", "\\u001b[2J": 1, "\\u202eunit\\n\\u009b": 2, "force": 3}'
    result = run(payload.encode(), as_json=False)
    assert [each for each in result.stdout if not each.isprintable() and each != "\n"] == []
    assert r"\x1b]0;owned\x07" in result.stdout
    assert r"\u202eunit\n\x9b = 2" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize("arguments", [[], ["--topic", "a", "--from-dead-letter", "1"], ["--from-staged", "no-number"]])
def test_it_asks_for_one_source(arguments: list[str]) -> None:
    assert CliRunner().invoke(decode, arguments, input=b"1").exit_code == 2


def test_the_users_route_file_is_the_one_asked(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(
        "routes:\n  - {name: door, filter: door, format: json, work_unit: hall, sensor: door, text: true}\n"
        "  - {name: rest, filter: '#', ignore: true}\n"
    )
    shown = json.loads(run(b'{"value": "open"}', topic="door").stdout)
    assert [(r["work_unit"], r["sensor"], r["value"], r["text"]) for r in shown["readings"]] == [
        ("hall", "door", None, "open")
    ]
    ignored = run(b"whatever", topic="elsewhere")
    assert (ignored.exit_code, json.loads(ignored.stdout)["ignored"]) == (0, True)


def test_a_format_of_ones_own_is_explained_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "press_formats.py").write_text(
        "from sensor_platform import transformer\n\n"
        "@transformer('press-log', version='2')\n"
        "def press_log(payload, topic, received_at):\n"
        "    yield {'metric': 'force', 'value': float(payload), 'unit': 'kN'}\n"
    )
    (tmp_path / "routes.yaml").write_text(
        "transformers: [press_formats]\nroutes: [{name: press, filter: 'p/{work_unit}/{sensor}', format: press-log}]\n"
    )
    result = run(b"812.5", topic="p/line1/press-1")
    assert result.exit_code == 0, result.output
    (reading,) = json.loads(result.stdout)["readings"]
    assert (reading["work_unit"], reading["metric"], reading["value"], reading["unit"]) == (
        "line1",
        "force",
        812.5,
        "kN",
    )
    assert run(b"no number", topic="p/line1/press-1").exit_code == 1
