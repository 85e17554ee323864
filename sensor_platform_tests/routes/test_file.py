import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from sensor_platform.errors import ConfigurationError
from sensor_platform.routes.deadband import Deadband, deadband_of
from sensor_platform.routes.file import load_routes, parse_routes
from sensor_platform.routes.model import Route
from sensor_platform.settings import Settings
from sensor_platform.transformers import registry
from sensor_platform.transformers.options import FormatOptions, options_of
from sensor_platform.transformers.registry import transformer

GOOD = """\
routes:
  - name: everything
    filter: plant/{work_unit}/{sensor}/#
    format: json
  - name: press
    filter: plant/{work_unit}/press/state
    format: json
    sensor: press
    text: true
    allow_nan: true
    retained: accept
    conflicts: last
  - name: chatter
    filter: plant/+/+/log/#
    ignore: true
"""


@pytest.fixture(autouse=True)
def _formats_that_come_along(monkeypatch: pytest.MonkeyPatch) -> None:
    # Formats that another test registers would stand among the known ones.
    monkeypatch.setattr(registry, "_registered", {name: registry.get(name) for name in registry.BUILT_IN})


def test_without_a_file_the_packaged_routes_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    routes = load_routes(Settings())
    assert routes.filters == ["factory/+/sensors/+/csv", "factory/+/sensors/+/data"]
    found = routes.match("factory/line 1/sensors/s/csv")
    assert found is not None
    assert (found[0].format, found[1]) == ("csv", {"work_unit": "line 1", "sensor": "s"})
    assert routes.match("factory/line1/sensors/s") is None


def test_routes_yaml_of_the_working_folder_goes_before_the_packaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "routes.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    assert load_routes(Settings()).source == "routes.yaml"


def test_the_most_specific_route_takes_a_topic_and_constants_fill_what_it_does_not_capture() -> None:
    routes = parse_routes(GOOD)
    found = routes.match("plant/l1/press/state")
    assert found is not None
    route, captured = found
    assert (route.name, captured) == ("press", {"work_unit": "l1", "sensor": "press"})
    assert (route.text, route.allow_nan, route.retained, route.conflicts) == (True, True, "accept", "last")
    other = routes.match("plant/l1/oven/log/x")
    assert other is not None
    assert other[0].ignore
    assert routes.filters == ["plant/+/+/#"]
    overlaps = [(first.name, second.name) for first, second in routes.overlaps()]
    assert overlaps == [("press", "everything"), ("chatter", "everything")]


def test_a_route_version_changes_with_its_definition_and_only_then() -> None:
    (first,) = parse_routes("routes: [{name: a, filter: '{work_unit}/{sensor}', format: json}]")
    (same,) = parse_routes("routes:\n- filter: '{work_unit}/{sensor}'\n  format: json # as before\n  name: a\n")
    (other,) = parse_routes("routes: [{name: a, filter: '{work_unit}/{sensor}', format: json, text: true}]")
    assert first.version == same.version
    assert first.version != other.version
    assert len(first.version) == 12


def route(line: str) -> str:
    return f"routes:\n  - name: r\n    filter: 'p/{{work_unit}}/{{sensor}}'\n    format: json\n    {line}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'routes.yaml:1: a route file is a mapping with a list under "routes"'),
        ("routes: []", "routes.yaml:1: there is no route: at least one is needed"),
        ("a: [1", "routes.yaml:1: not YAML: "),
        ("routes: [5]", "routes.yaml:1: a route is a mapping with name, filter and format"),
        (
            "route: x\nroutes: []",
            'routes.yaml:1: unknown key "route". Did you mean "routes"? Known: contracts, include, routes, trans',
        ),
        (
            route("x: 1").replace("json", "jsno"),
            'routes.yaml:5: route "r": unknown key "x". Known: allow_nan, compression, conflicts, contract, filter,',
        ),
        (
            route("").replace("json", "jsno"),
            'routes.yaml:4: route "r": unknown format "jsno". Did you mean "json"? Known: binary, cbor, csv,',
        ),
        (route("text: maybe"), 'routes.yaml:5: route "r": text: "maybe" is not accepted, only true or false'),
        (route("conflicts: newest"), 'route "r": conflicts: "newest" is not accepted, only all or first or last'),
        (route("format: csv"), 'routes.yaml:5: not YAML: found duplicate key "format"'),
        (route("sensor: s"), 'routes.yaml:5: route "r": sensor is a capture of the filter already: leave one out'),
        (route("").replace("{sensor}", "s"), 'routes.yaml:3: route "r": nothing says which sensor it is: capture it'),
        (
            route("").replace("'p/", "'p+/"),
            'routes.yaml:3: route "r": filter "p+/{work_unit}/{sensor}": "+" is a whole',
        ),
        ("routes:\n- filter: a\n  format: json", "routes.yaml:2: a route without a name: name is missing"),
        ("routes:\n- name: a\n  ignore: true", 'routes.yaml:2: route "a": filter is missing'),
        (
            route("").replace("    format: json\n", ""),
            'routes.yaml:2: route "r": format is missing. Known: binary, cbor, csv, influx, json,',
        ),
        (
            route("") + "  - {name: q, filter: 'p/+/{sensor}', format: csv, work_unit: w}",
            'routes.yaml:6: route "q": it matches the same topics as route "r"',
        ),
        (
            route("") + "  - {name: r, filter: 'q/{work_unit}/{sensor}', format: csv}",
            'routes.yaml:6: route "r": the name is taken by the route in line 2',
        ),
        (
            "transformers: [no_such_module]\n" + route(""),
            'routes.yaml:1: transformers: module "no_such_module" cannot be imported: ModuleNotFoundError',
        ),
    ],
)
def test_a_bad_file_is_one_line_with_its_line_number_and_what_is_accepted(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_routes(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 78


def test_a_named_file_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.yaml: cannot read the route file: No such file"):
        load_routes(Settings(routes_file=tmp_path / "absent.yaml"))


def test_a_module_beside_the_route_file_brings_its_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "plant_formats", raising=False)
    (tmp_path / "plant_formats.py").write_text(
        "from sensor_platform import transformer\n\n"
        "@transformer('plant-log')\n"
        "def plant_log(payload, topic, received_at):\n"
        "    yield {'value': float(payload)}\n"
    )
    (tmp_path / "r.yaml").write_text("transformers: [plant_formats]\n" + route("").replace("json", "plant-log"))
    (found,) = load_routes(Settings(routes_file=tmp_path / "r.yaml"))
    assert found.format == "plant-log"


def test_the_collector_reads_routes_without_pandas_and_without_the_modules_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("transformers: [no_such_module]\n" + route("").replace("json", "plant-log"))
    script = (
        "import sys; from pathlib import Path; from sensor_platform.routes.file import load_routes;"
        "from sensor_platform.settings import Settings;"
        f"print(load_routes(Settings(routes_file=Path({str(tmp_path / 'r.yaml')!r})), with_transformers=False).filters,"
        "sorted({'pandas', 'numpy', 'dagster', 'pandera'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "['p/+/+'] []\n"


class Registers(FormatOptions):
    """Options of a format of these tests."""

    order: Literal["big", "little"]
    fields: tuple[dict[str, int], ...] = ()


@pytest.mark.parametrize(
    ("options", "line", "problem"),
    [
        ("{}", 5, "options.order is missing"),
        ("\n      order: big\n      feilds: []", 7, 'options.feilds is unknown. Did you mean "fields"?'),
        ("\n      order: middle", 6, "options.order: Input should be 'big' or 'little'"),
        (
            "\n      order: big\n      fields:\n        - {a: 1}\n        - {b: x}",
            9,
            "options.fields.1.b: Input should",
        ),
    ],
)
def test_options_of_a_format_are_refused_at_their_line(options: str, line: int, problem: str) -> None:
    transformer("registers-of-tests", columns=True, options=Registers)(_nothing)
    text = (
        "routes:\n  - name: r\n    filter: a/{work_unit}/{sensor}\n    format: registers-of-tests\n"
        f"    options: {options}\n"
    )
    with pytest.raises(ConfigurationError) as refused:
        parse_routes(text)
    assert str(refused.value).startswith(f'routes.yaml:{line}: route "r": {problem}')


@pytest.mark.parametrize(
    ("asked", "line", "problem"),
    [
        ("[1]", 5, "report_by_exception: [1] is not accepted, only a mapping"),
        (
            "{deadband: 0.5}",
            5,
            'report_by_exception: "deadband": 0.5 is not accepted, only metrics, or patterns of them',
        ),
        ("\n      t: {deadband: 1}\n      h:", 7, 'report_by_exception: "h": None is not accepted, only metrics'),
        ("\n      t:\n        longest_silence_s: 5", 6, "report_by_exception.t.deadband is missing"),
        (
            "\n      t:\n        deadband: -1",
            7,
            "report_by_exception.t.deadband: Input should be greater than or equal to 0",
        ),
        ("\n      t: {deadband: .nan}", 6, "report_by_exception.t.deadband: Input should be a finite number"),
        ("\n      t: {deadband: 'wide'}", 6, "report_by_exception.t.deadband: Input should be a valid number"),
        (
            "\n      t: {deadband: 1,\n          longest_silence_s: 0}",
            7,
            "report_by_exception.t.longest_silence_s: Input should be greater than 0",
        ),
        (
            "\n      '*.t':\n        deadband: 1\n        silence_s: 5",
            8,
            "report_by_exception.*.t.silence_s is unknown. Did you mean",
        ),
    ],
)
def test_report_by_exception_is_refused_at_its_line(asked: str, line: int, problem: str) -> None:
    text = "routes:\n  - name: r\n    filter: a/{work_unit}/{sensor}\n    format: json\n"
    text += f"    report_by_exception: {asked}\n"
    with pytest.raises(ConfigurationError) as refused:
        parse_routes(text)
    assert str(refused.value).startswith(f'routes.yaml:{line}: route "r": {problem}')


def test_the_first_pattern_that_matches_says_the_deadband_and_its_order_is_of_the_version() -> None:
    asked = {"*.t": {"deadband": 1}, "oven.*": {"deadband": 0, "longest_silence_s": 5}}
    one, other = (
        Route(name="r", filter="f", report_by_exception=dict(order))
        for order in (asked.items(), reversed(asked.items()))
    )
    found = deadband_of("oven.t", one.deadbands)
    assert found is not None
    assert (found.deadband, found.longest_silence_s) == (1, 600)
    assert deadband_of("oven.t", other.deadbands) == Deadband(deadband=0, longest_silence_s=5)
    assert deadband_of("press", one.deadbands) is None
    assert len({route.version for route in (one, other, Route(name="r", filter="f"))}) == 3


def test_a_route_gives_its_options_as_the_model_of_its_format() -> None:
    route = Route(name="r", filter="a/{sensor}", format="x", options={"order": "big", "fields": [{"a": 1}]})
    assert options_of(route, Registers) == Registers(order="big", fields=({"a": 1},))
    assert options_of(route, Registers) is options_of(route, Registers)


def _nothing(column: Any, route: Any) -> Any:
    raise AssertionError("no message goes this way")


@pytest.mark.parametrize("option", ["time: {field: $}", "time: {field: [$.at, $]}", "sensor: $", "quality: $"])
def test_the_whole_document_is_neither_time_nor_quality_nor_sensor(option: str) -> None:
    text = GOOD.replace("    format: json\n", f"    format: json\n    options:\n      {option}\n", 1)
    with pytest.raises(
        ConfigurationError, match=r'^routes.yaml:6: route "everything": options.*\$ is the whole document'
    ):
        parse_routes(text)


def test_a_route_whose_patterns_stand_in_another_order_has_another_version() -> None:
    values = {"*.t": {"unit": "C"}, "oven.*": {"unit": "K"}}
    one, other = (
        Route(name="r", filter="f", options={"wide": {"values": dict(order)}})
        for order in (values.items(), reversed(values.items()))
    )
    assert one.version != other.version
    assert Route(name="r", filter="f").version == Route(filter="f", name="r").version


def unfolding(lines: int, alias: str) -> str:
    """A route whose options name the line before in each line."""
    more = "".join(f"      x{n}: &x{n} {alias.format(n - 1)}\n" for n in range(1, lines))
    return route("options:\n      x0: &x0 [1, 1]\n" + more)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(unfolding(60, "[*x{0}, *x{0}]"), "routes.yaml:23: what its aliases (*name) stand for", id="wide"),
        pytest.param(unfolding(60, "{{a: *x{0}, b: *x{0}}}"), "more than 1,000,000 characters", id="mappings"),
        pytest.param(
            unfolding(60, "{{<<: *m, k: *x{0}, l: *x{0}}}").replace("*m", "*x0").replace("[1, 1]", "{}"),
            "aliases",
            id="merged",
        ),
        pytest.param(unfolding(2000, "[*x{0}]"), "routes.yaml:106: it is nested deeper than 100 levels", id="deep"),
        pytest.param(route("options: &a\n      x: [*a]\n"), "routes.yaml:", id="itself"),
        pytest.param("- &a {x: [*a]}\n", "an alias stands within what it names", id="a list in itself"),
        pytest.param("routes: " + "[" * 5000, "routes.yaml:1: not YAML", id="nested"),
        pytest.param("? [[a]]\n: 1\n", "routes.yaml:1: not YAML", id="a list of lists as a key"),
        pytest.param("routes: !!bool maybe", "routes.yaml:1: not YAML: a tag", id="a truth value that is none"),
        pytest.param("routes: &a\n  x: {<<: *a}\n", "or a merge (`<<`) in it", id="a merge with what it stands in"),
    ],
)
def test_what_aliases_stand_for_is_bounded(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_routes(text)
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 500


def test_routes_may_share_by_alias_and_by_merge() -> None:
    options = "options: &shared\n      wide: {exclude: [id]}\n"
    text = route(options).replace("  - name", "  - &first\n    name", 1)
    text += "  - <<: *first\n    name: second\n    filter: q/{work_unit}/{sensor}\n"
    first, second = parse_routes(text)
    assert first.options == second.options == {"wide": {"exclude": ["id"]}}
    with pytest.raises(ConfigurationError, match=r'routes\.yaml:\d+: route "second": unknown key "formt"'):
        parse_routes("routes:\n  - <<: {formt: 1}\n    name: second\n    filter: q/{work_unit}/{sensor}\n")
