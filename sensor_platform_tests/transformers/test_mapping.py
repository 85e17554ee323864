"""The options of documents: paths, and what a route may not say. What they yield is in testcases/json."""

import pytest

from sensor_platform.errors import ConfigurationError
from sensor_platform.routes.file import parse_routes
from sensor_platform.transformers.paths import NOTHING, every, look_up, parse_path
from sensor_platform_tests.transformers.decoding import codes, decode_payloads

DOCUMENT = {"a": {"b c": [10, {"d.e": 20}], "2": "two"}, "l": [{"x": [1, 2]}, {"x": [3]}, {"y": 4}, 5], "n": None}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", DOCUMENT),
        ("$.n", None),
        ("a.2", "two"),
        ("$.a['b c'][0]", 10),
        ("$.a['b c'].0", 10),
        ("$.a['b c'][-1]['d.e']", 20),
        ('$["a"]["2"]', "two"),
        ("$.a['b c'][2]", NOTHING),
        ("$.a.b.c", NOTHING),
        ("$.n.x", NOTHING),
        ("$.l.x", NOTHING),
    ],
)
def test_a_path_leads_to_its_place_or_nowhere(path: str, found: object) -> None:
    assert look_up(DOCUMENT, parse_path(path)) == found


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$.l[*].x[*]", [1, 2, 3]),
        ("$.l[*].x", [[1, 2], [3]]),
        ("$.a['b c']", [10, {"d.e": 20}]),
        ("$.q", []),
        ("$.n", [None]),
    ],
)
def test_a_star_stands_for_every_element(path: str, found: list[object]) -> None:
    assert every(DOCUMENT, parse_path(path)) == found


@pytest.mark.parametrize("path", ["", "$.", "$..a", "$.a[", "$.a[x]", "$.a['b]", "$.a[?(@.b)]", "$ a", "a b"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        parse_path(path)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("{readings: [{metric: a, value: '$.x[*]'}]}", "options.readings.0.value: Value error, [*] stands for several"),
        ("{readings: [{metric: a, value: '$..x'}]}", 'options.readings.0.value: Value error, the path "$..x" is not'),
        ("{time: {field: t, zone: Mars/Base}}", 'options.time.zone: Value error, there is no time zone "Mars/Base"'),
        ("{wide: {}, readings: [{metric: a, value: x}]}", "options: Value error, say either `readings` or `wide`"),
        ("{wide: {exlude: [a]}}", "options.wide.exlude: Extra inputs are not permitted"),
        ("{raedings: []}", 'options.raedings is unknown. Did you mean "readings"?'),
    ],
)
def test_options_that_cannot_be_are_refused_at_their_line(options: str, problem: str) -> None:
    text = f"routes:\n  - name: r\n    filter: a/{{work_unit}}/{{sensor}}\n    format: json\n    options: {options}\n"
    with pytest.raises(ConfigurationError) as refused:
        parse_routes(text)
    assert str(refused.value).startswith(f'routes.yaml:5: route "r": {problem}')


def test_a_document_nested_too_deep_is_refused_by_the_wide_way_too() -> None:
    payload = b'{"a":' * 200 + b"1" + b"}" * 200
    decoded = decode_payloads(payload, b'{"a": 1}', options={"wide": {}})
    assert codes(decoded) == [(0, 0, "too_deep")]
    assert decoded.readings["message"].tolist() == [1]
