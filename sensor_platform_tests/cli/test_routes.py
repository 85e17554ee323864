import json
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from sensor_platform.cli.routes import routes

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
        "Known: binary, cbor, csv, influx, json, modbus, msgpack, ndjson, opcua, senml, value.\n"
    )
