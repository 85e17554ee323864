"""`decode` and `routes test` with what is there: messages from the field, and the registry."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sensor_platform.cli import sensor_platform
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.cli.shell import Shell
from sensor_platform_tests.pipeline.staged import HOUR, Message, stage
from sensor_platform_tests.transformers import sparkplug


def test_decode_asks_the_registry_where_it_is_told_to(loaded: Shell) -> None:
    assert loaded("sensors", "set", "p1", "--metric", "value", "--maximum", "5", "--scale", "2").exit_code == 0
    environment = {**loaded.environment, "COLUMNS": "80"}

    def decoded(payload: str, *options: str) -> tuple[int, Any]:
        command = ("decode", "--topic", "factory/press/sensors/p1/data", "--json", *options)
        result = CliRunner(env=environment).invoke(sensor_platform, command, input=payload)
        return result.exit_code, json.loads(result.stdout)

    exit_code, found = decoded('{"value": 1500, "unit": "mbar"}', "--registry")
    assert (exit_code, found["readings"][0]["value"], found["readings"][0]["unit"]) == (0, 3.0, "bar")
    assert found["readings"][0]["original"] == {"value": 1500.0, "unit": "mbar"}
    (step,) = [one for one in found["steps"] if one["step"] == "calibration"]
    assert step["says"] == ["value: 1.5 * 2.0 + 0.0, is 3.0 bar"]
    exit_code, found = decoded('{"value": 3}', "--registry")
    assert (exit_code, [one["code"] for one in found["refused"]]) == (1, ["above_maximum"])
    assert decoded('{"value": 3}')[0] == 0


def test_decode_explains_a_message_from_the_field_as_it_was_received(loaded: Shell) -> None:
    staged = loaded.json("decode", "--from-staged", "a:1", "--json")
    assert [(reading["metric"], reading["value"], reading["unit"]) for reading in staged["readings"]] == [
        ("value", 1.5, "bar")
    ]
    (letter,) = loaded.json("dead-letters", "list", "--json")
    refused = loaded("decode", "--from-dead-letter", str(letter["id"]), "--json")
    assert refused.exit_code == 1
    assert [entry["code"] for entry in json.loads(refused.stdout)["refused"]] == ["invalid_json"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--from-staged", "a:9"], "a has no message 9: it holds 1 to 3"),
        (["--from-staged", "b:1"], "there is no sealed micro-batch b"),
        (["--from-dead-letter", "999"], "999"),
    ],
)
def test_decode_says_what_is_not_there(loaded: Shell, arguments: list[str], why: str) -> None:
    failed = loaded("decode", *arguments)
    assert failed.exit_code == 1
    assert why in str(failed.exception)


def test_a_case_that_needed_a_birth_brings_it_along(
    shell: Shell, staging: LocalStaging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "routes.yaml").write_text("routes: [{name: s, filter: spBv1.0/#, format: sparkplug}]\n")
    birth = sparkplug.birth("g/n", sparkplug.metric("force", 7, 10, double_value=1.5), bdseq=0)
    data = sparkplug.data("g/n", sparkplug.metric(None, 7, None, double_value=2.5))
    for name, (topic, payload) in (("a", birth), ("b", data)):
        stage(staging, name, [Message(payload, topic=topic)], received_at=HOUR + timedelta(seconds=ord(name)))
    shell.json("process", "--json")
    explained = shell.json("decode", "--from-staged", "b:1", "--json")
    assert [(reading["metric"], reading["value"]) for reading in explained["readings"]] == [("force", 2.5)]
    written = shell.json("routes", "test", "--from-staged", "b:1", "aliases", "--json")
    assert (written["before"], len(written["readings"])) == (1, 1)
    alone = Shell({**shell.environment, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})
    assert alone("routes", "test").stdout == "ok      aliases\n"
    unknown = alone("decode", "--from-staged", "b:1", "--json")
    assert [entry["code"] for entry in json.loads(unknown.stdout)["refused"]] == ["no_birth"]
    assert "what was said before this message is not known: " in unknown.stderr


def test_a_case_from_the_field_holds_until_the_routes_change(
    loaded: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (letter,) = loaded.json("dead-letters", "list", "--json")
    written = loaded.json("routes", "test", "--from-dead-letter", str(letter["id"]), "rubbish", "--json")
    assert written["refused"] == [{"ordinal": -1, "code": "invalid_json"}]
    assert (tmp_path / "testcases" / "rubbish" / "message.txt").read_bytes() == b"rubbish"
    assert loaded.json("routes", "test", "--from-staged", "a:1", "--json")["readings"][0]["unit"] == "bar"
    told = loaded.json("routes", "test", "--json")
    assert [(case["name"], case["ok"]) for case in told["cases"]] == [("a-1", True), ("rubbish", True)]
    again = loaded("routes", "test", "--from-staged", "a:1")
    assert (again.exit_code, "there is such a case already" in str(again.exception)) == (1, True)
    assert loaded("routes", "test", "--from-staged", "a:1", "../../out").exit_code == 2
    (tmp_path / "routes.yaml").write_text("routes: [{name: all, filter: '#', ignore: true}]\n")
    assert loaded("routes", "test").exit_code == 1
