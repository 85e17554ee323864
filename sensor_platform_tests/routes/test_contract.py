"""Contracts in the route file: what is accepted, what is refused and at which line, and that they are versioned."""

import hashlib
import json
import re
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from sensor_platform.errors import ConfigurationError
from sensor_platform.routes.contract import Contract
from sensor_platform.routes.file import parse_routes
from sensor_platform.routes.model import Route
from sensor_platform.transformers.route_schema import json_schema

NAMED = """\
contracts:
  climate:
    version: 3
    sensor: 'p\\d+'
    metrics:
      temperature: {required: true, type: number, minimum: -40, maximum: 125, max_rate_per_s: 5}
      "vib.*": {maximum: 10}
      vib.x: {maximum: 20}
      state: {one_of: [idle, running]}
      plain:
    other_metrics: refuse
routes:
  - name: named
    filter: a/{work_unit}/{sensor}
    format: json
    contract: climate
  - name: own
    filter: b/{work_unit}/{sensor}
    format: json
    contract: {version: "1.10", work_unit: line1}
  - {name: none, filter: 'c/{work_unit}/{sensor}', format: json}
"""
ROUTE = "routes:\n  - name: r\n    filter: 'p/{{work_unit}}/{{sensor}}'\n    format: json\n    contract:{}\n"


def promises(route: Route) -> Contract:
    assert route.promises is not None
    return route.promises


def test_a_route_has_the_contract_that_it_names_or_writes_out() -> None:
    routes = parse_routes(NAMED)
    climate = promises(routes["named"])
    assert (climate.version, climate.sensor, climate.other_metrics) == ("3", r"p\d+", "refuse")
    assert climate.metrics["temperature"].maximum == 125
    assert climate.required == {0: "temperature"}
    assert (promises(routes["own"]).version, promises(routes["own"]).work_unit) == ("1.10", "line1")
    assert routes["none"].promises is None


@pytest.mark.parametrize(
    ("metric", "place"), [("temperature", 0), ("vib.y", 1), ("vib.x", 2), ("vib", -1), ("Temperature", -1)]
)
def test_the_exact_name_of_a_metric_goes_before_a_pattern(metric: str, place: int) -> None:
    assert promises(parse_routes(NAMED)["named"]).place_of(metric) == place


def test_brackets_in_a_metric_are_no_pattern() -> None:
    assert Contract.model_validate({"version": 1, "metrics": {"a[0].*": None}}).place_of("a[0].b") == 0


def test_a_limit_asks_for_a_number() -> None:
    metrics = promises(parse_routes(NAMED)["named"]).metrics
    assert {name: rule.kind for name, rule in metrics.items()} == {
        "temperature": "number",
        "vib.*": "number",
        "vib.x": "number",
        "state": None,
        "plain": None,
    }


def test_the_version_of_a_route_changes_with_its_contract_and_only_then() -> None:
    before, reworded = parse_routes(NAMED), parse_routes(NAMED.replace("version: 3", "version:   3 # as before"))
    changed = parse_routes(NAMED.replace("maximum: 125", "maximum: 126"))
    assert before["named"].version == reworded["named"].version != changed["named"].version
    assert before["own"].version == changed["own"].version


def test_a_key_that_a_route_does_not_use_has_no_part_in_its_version() -> None:
    said = b'{"filter": "{work_unit}/{sensor}", "format": "json", "name": "a"}'
    assert Route("a", "{work_unit}/{sensor}", "json").version == hashlib.sha256(said).hexdigest()[:12]


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        (" climte", 'routes.yaml:5: route "r": unknown contract "climte". There are none under contracts.'),
        (" 5", 'routes.yaml:5: route "r": contract: 5 is not accepted, only a contract, or the name of one under'),
        (" {}", 'routes.yaml:5: route "r": contract.version is missing'),
        (" {version: 1.1}", 'routes.yaml:5: route "r": contract.version: accepted: a whole number, or a text; write'),
        (
            "\n      version: 1\n      sensro: x",
            'routes.yaml:7: route "r": contract.sensro is unknown. Did you mean "sensor"? Known: description, metrics,',
        ),
        (
            "\n      version: 1\n      sensor: '['",
            'routes.yaml:7: route "r": contract.sensor: "[" is not a regular expression: unterminated character set',
        ),
        (
            "\n      version: 1\n      metrics:\n        t:\n          minimun: 5",
            'routes.yaml:9: route "r": contract.metrics.t.minimun is unknown. Did you mean "minimum"? Known: desc',
        ),
        (
            "\n      version: 1\n      metrics:\n        t: {}\n        u: {type: nubmer}",
            'routes.yaml:9: route "r": contract.metrics.u.type: "nubmer" is not accepted. Did you mean "number"?',
        ),
        (
            "\n      version: 1\n      metrics:\n        t: {minimum: 5, maximum: 4}",
            'routes.yaml:8: route "r": contract.metrics.t: minimum 5.0 is above maximum 4.0',
        ),
        (
            "\n      version: 1\n      metrics:\n        t: {minimum: '5'}",
            'routes.yaml:8: route "r": contract.metrics.t.minimum: Input should be a valid number',
        ),
        (
            "\n      version: 1\n      metrics:\n        t: {type: text, maximum: 5}",
            'routes.yaml:8: route "r": contract.metrics.t: a text has no limits, and only texts under one_of',
        ),
        (
            "\n      version: 1\n      metrics:\n        t: {type: integer, one_of: [1, two]}",
            'routes.yaml:8: route "r": contract.metrics.t: one_of has the text "two", but the type is integer',
        ),
        (
            "\n      version: 1\n      metrics:\n        t: {max_rate_per_s: 0}",
            'routes.yaml:8: route "r": contract.metrics.t.max_rate_per_s: Input should be greater than 0',
        ),
        (
            "\n      version: 1\n      other_metrics: refuse",
            'routes.yaml:5: route "r": contract: other_metrics: refuse without metrics would refuse every reading',
        ),
    ],
)
def test_a_bad_contract_is_one_line_with_its_line_number_and_what_is_accepted(contract: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_routes(ROUTE.format(contract))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("contract: climate", "contract: climte", 'routes.yaml:16: route "named": unknown contract "climte". Did you'),
        ("maximum: 10", "maximun: 10", 'routes.yaml:7: contract "climate": contract.metrics.vib.*.maximun is unknown.'),
        ("contracts:", "contracs:", 'routes.yaml:1: unknown key "contracs". Did you mean "contracts"?'),
    ],
)
def test_a_named_contract_is_checked_where_it_stands(written: str, instead: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_routes(NAMED.replace(written, instead))
    assert str(caught.value).startswith(message)


def test_an_unused_contract_is_checked_too() -> None:
    with pytest.raises(ConfigurationError, match=r'routes\.yaml:2: contract "c": a contract is a mapping'):
        parse_routes("contracts:\n  c: 5\nroutes: [{name: a, filter: a, ignore: true}]")


def test_contracts_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"routes\.yaml:1: contracts is a mapping of names to contracts"):
        parse_routes("contracts: [5]\nroutes: [{name: a, filter: a, ignore: true}]")


@pytest.mark.parametrize(
    ("written", "instead", "path"),
    [
        ("maximum: 125", "maximun: 125", ["contracts", "climate", "metrics", "temperature"]),
        ("version: 3", "", ["contracts", "climate"]),
    ],
)
def test_an_editor_underlines_what_the_check_refuses(written: str, instead: str, path: list[str]) -> None:
    schema = json.loads(json.dumps(json_schema()))
    jsonschema.validate(YAML(typ="safe").load(NAMED), schema)
    with pytest.raises(jsonschema.ValidationError) as refused:
        jsonschema.validate(YAML(typ="safe").load(NAMED.replace(written, instead)), schema)
    assert path == list(jsonschema.exceptions.best_match([refused.value]).absolute_path)[: len(path)]


def test_the_example_of_the_documentation_is_accepted() -> None:
    page = (Path(__file__).parents[2] / "docs" / "contracts.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert set(promises(parse_routes(example)["climate"]).metrics) == {
        "temperature",
        "humidity",
        "door",
        "vib.*",
        "note",
    }
