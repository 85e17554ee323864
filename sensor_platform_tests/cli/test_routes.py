import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from sensor_platform.cli.routes import routes
from sensor_platform.transformers.registry import BUILT_IN

OVERLAPPING = """\
routes:
  - {name: data, filter: 'f/{work_unit}/{sensor}/data', format: json}
  - {name: line1, filter: 'f/line1/#', ignore: true}
"""


def test_check_prints_routes_subscriptions_and_overlaps(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(OVERLAPPING)
    result = CliRunner().invoke(routes, ["check", str(tmp_path / "r.yaml"), "--json"])
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    assert [route["name"] for route in shown["routes"]] == ["line1", "data"]
    assert shown["subscriptions"] == ["f/+/#"]
    assert shown["overlaps"] == [{"first": "line1", "second": "data"}]
    assert shown["widened"] == ["f/+/#"]


def test_check_tells_people_what_overlaps(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(OVERLAPPING)
    result = CliRunner().invoke(routes, ["check", str(tmp_path / "r.yaml")])
    assert "f/line1/#" in result.stdout
    assert "line1 and data share topics: line1 has them" in result.stderr
    assert "f/+/# is subscribed" in result.stderr


def test_a_bad_file_exits_78_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(OVERLAPPING.replace("json", "jason"))
    command = [sys.executable, "-m", "sensor_platform.cli", "routes", "check", "r.yaml", "--json"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 78
    assert result.stdout == ""
    assert result.stderr == (
        'sensor-platform: r.yaml:2: route "data": unknown format "jason". Did you mean "json"? '
        f"Known: {', '.join(sorted(BUILT_IN))}.\n"
    )


def test_every_device_family_is_listed_with_what_it_is_of() -> None:
    listed = json.loads(CliRunner().invoke(routes, ["devices", "--json"]).stdout)
    assert {"tasmota", "zigbee2mqtt", "shelly", "the_things_stack", "chirpstack", "ruuvi_gateway"} <= {
        each["family"] for each in listed
    }
    (ruuvi,) = [each for each in listed if each["family"] == "ruuvi_gateway"]
    assert ruuvi["filters"] == ["ruuvi/+/{sensor}"]
    assert ruuvi["about"].startswith("Ruuvi Gateway: ")


def test_the_routes_of_a_family_are_shown_as_a_file_that_serves(tmp_path: Path) -> None:
    (tmp_path / "tasmota.yaml").write_text(CliRunner().invoke(routes, ["show", "tasmota"]).stdout)
    (tmp_path / "r.yaml").write_text("include: [./tasmota.yaml]")
    result = CliRunner().invoke(routes, ["check", str(tmp_path / "r.yaml"), "--json"])
    assert "tasmota-sensor" in [route["name"] for route in json.loads(result.stdout)["routes"]]
    assert CliRunner().invoke(routes, ["show", "tasmotta"]).exit_code == 2


@pytest.mark.parametrize("command", ["check", "test", "discover", "schema", "contracts", "asyncapi"])
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(routes, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


CONTRACT = """\
routes:
  - name: climate
    filter: f/{work_unit}/{sensor}/climate
    format: json
    contract:
      version: 3
      sensor: th-.*
      metrics:
        temperature: {required: true, maximum: 125, description: of the air}
        state: {one_of: [1, 2]}
      other_metrics: refuse
  - {name: data, filter: 'f/{work_unit}/{sensor}/data', format: json}
"""


def test_contracts_are_shown_with_every_rule_and_without_a_wrapped_word(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(CONTRACT)
    result = CliRunner().invoke(routes, ["contracts", str(tmp_path / "r.yaml")])
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["route", "version", "rule", "required", "type", "minimum", "maximum", "max_rate_per_s", "one_of", "about"],
        ["climate", "3", "sensor", "matches", "th-.*"],
        ["climate", "3", "temperature", "yes", "number", "125.0", "of", "the", "air"],
        ["climate", "3", "state", "1,", "2"],
        ["climate", "3", "other", "metrics:", "refuse"],
    ]
    assert result.stderr == "without a contract: data\n"


def test_contracts_as_json_say_what_is_left_to_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(CONTRACT)
    (found,) = json.loads(CliRunner().invoke(routes, ["contracts", str(tmp_path / "r.yaml"), "--json"]).stdout)
    assert (found["route"], found["version"], found["other_metrics"]) == ("climate", "3", "refuse")
    assert found["metrics"]["state"]["one_of"] == [1, 2]
    assert found["metrics"]["temperature"]["minimum"] is None


def test_asyncapi_is_the_same_document_in_yaml_and_in_json(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(CONTRACT)
    as_yaml = CliRunner().invoke(routes, ["asyncapi", str(tmp_path / "r.yaml")])
    as_json = CliRunner().invoke(routes, ["asyncapi", str(tmp_path / "r.yaml"), "--json"])
    found = json.loads(as_json.stdout)
    assert found["asyncapi"] == "3.0.0"
    assert YAML(typ="safe").load(as_yaml.stdout) == found
