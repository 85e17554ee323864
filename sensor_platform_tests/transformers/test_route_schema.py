"""The schema for editors and the check of the file are of one mind."""

import importlib.resources
import json
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from sensor_platform.cli.routes import routes
from sensor_platform.routes.file import parse_routes
from sensor_platform.routes.included import families, family_text
from sensor_platform_tests.testcases.test_testcases import CASES, ROOT

DEFAULT = importlib.resources.files("sensor_platform.routes").joinpath("default.yaml").read_text("utf-8")


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    printed = json.loads(CliRunner().invoke(routes, ["schema"]).stdout)
    jsonschema.Draft202012Validator.check_schema(printed)
    return jsonschema.Draft202012Validator(printed)


def problems(validator: jsonschema.Draft202012Validator, text: str) -> list[str]:
    document: Any = YAML(typ="safe").load(text)
    return [error.message for error in validator.iter_errors(document)]


def test_every_route_file_of_ours_is_valid(validator: jsonschema.Draft202012Validator) -> None:
    texts = [DEFAULT, *map(family_text, families()), (ROOT / "devices" / "routes.yaml").read_text("utf-8")]
    texts += [(folder / "route.yaml").read_text("utf-8") for folder in CASES]
    assert [problems(validator, text) for text in texts] == [[] for _ in texts]


def test_report_by_exception_is_valid_as_the_check_accepts_it(validator: jsonschema.Draft202012Validator) -> None:
    asked = "{t: {deadband: 0.5, longest_silence_s: 600}, '*': {deadband: 0}}"
    text = f"routes: [{{name: r, filter: 'a/{{work_unit}}/{{sensor}}', format: json, report_by_exception: {asked}}}]"
    assert problems(validator, text) == []
    assert list(parse_routes(text)["r"].deadbands) == ["t", "*"]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ("format: binary", "'options' is a required property"),
        ("format: binary, options: {fields: [{name: a, type: unt8}]}", "'unt8' is not one of"),
        ("format: json, options: {raedings: []}", "'raedings' was unexpected"),
        ("format: json, conflicts: newest", "'newest' is not one of"),
        ("format: json, report_by_exception: {t: {longest_silence_s: 5}}", "'deadband' is a required property"),
        ("format: json, report_by_exception: {t: {deadband: -1}}", "-1 is less than the minimum of 0"),
        ("format: json, report_by_exception: {deadband: 1}", "1 is not of type 'object'"),
        ("frmat: json", "'frmat' was unexpected"),
    ],
)
def test_what_the_check_refuses_the_schema_refuses(
    validator: jsonschema.Draft202012Validator, wrong: str, problem: str
) -> None:
    text = f"routes: [{{name: r, filter: 'a/{{work_unit}}/{{sensor}}', {wrong}}}]"
    assert any(problem in each for each in problems(validator, text))
