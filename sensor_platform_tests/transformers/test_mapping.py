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
        ("{time: {field: t, zone: Europe}}", 'options.time.zone: Value error, there is no time zone "Europe"'),
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


def test_a_word_in_place_of_a_value_that_the_route_names_is_refused_and_others_are_left_out() -> None:
    values = {"temperature": {}, "state*": {"map": {"ON": 1}}, "note*": {"unit": "V"}}
    payload = (
        b'{"temperature": "N/A", "state": "JAMMED", "state_2": "ON", "note": "N/A", "other": "N/A", "humidity": 4}'
    )
    decoded = decode_payloads(payload, options={"wide": {"values": values}})
    assert dict(zip(decoded.readings["metric"], decoded.readings["value"], strict=True)) == {
        "state_2": 1,
        "humidity": 4,
    }
    assert [refusal.detail for refusal in decoded.refusals] == [
        '"temperature": the value "N/A" does not read as a number',
        '"state": the value "JAMMED" does not read as a number',
    ]
    assert {refusal.code for refusal in decoded.refusals} == {"value_not_number"}


def test_a_named_leaf_may_be_a_number_in_quotes() -> None:
    decoded = decode_payloads(b'{"a": "21.5", "b": "21.5"}', options={"wide": {"values": {"a": {"unit": "V"}}}})
    assert decoded.readings[["metric", "value", "unit"]].to_numpy().tolist() == [["a", 21.5, "V"]]


def test_the_unit_of_leaves_may_stand_in_the_document() -> None:
    temperature = {"unit": "degC", "unit_field": "$.TempUnit", "units": {"F": "degF", "C": "degC"}}
    options = {"wide": {"values": {"*.T": temperature}}}
    payloads = [b'{"a": {"T": 70.5}, "TempUnit": "F"}', b'{"a": {"T": 21}}', b'{"a": {"T": 294}, "TempUnit": "K"}']
    decoded = decode_payloads(*payloads, options=options)
    assert decoded.readings["unit"].tolist() == ["degF", "degC", "K"]


def test_the_first_of_several_places_of_the_time_that_is_there_holds_and_is_no_metric() -> None:
    options = {"time": {"field": ["$.a", "$.b.at"], "unit": "s"}, "sensor": "$.b.id", "wide": {}}
    decoded = decode_payloads(
        b'{"b": {"at": 5, "id": "s", "v": 1}}', b'{"a": 6, "b": {"at": 5, "v": 2}}', options=options
    )
    assert decoded.readings[["metric", "time", "sensor"]].to_numpy().tolist() == [
        ["b.v", 5_000_000, "s"],
        ["b.v", 6_000_000, "press"],
    ]
