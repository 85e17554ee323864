"""The steps of an explanation, for each thing that a route may say."""

import gzip
from datetime import UTC, datetime

import cbor2

from sensor_platform.pipeline.explain import Explanation, explain
from sensor_platform.pipeline.message import OneMessage
from sensor_platform.routes.file import parse_routes

AT = datetime(2026, 1, 1, tzinfo=UTC)
HEAD = "routes:\n- name: r\n  filter: f/{work_unit}/{sensor}\n"


def explained(payload: bytes, route: str, *, topic: bytes = b"f/l/s", retain: bool = False) -> Explanation:
    message = OneMessage(topic, payload, AT, retain)
    return explain(message, parse_routes(HEAD + route), max_payload_bytes=1000)


def says(explanation: Explanation, step: str) -> tuple[str, ...]:
    return next(each.says for each in explanation.steps if each.step == step)


def test_paths_show_what_stands_there_and_what_is_made_of_it() -> None:
    route = """  format: json
  options:
    each: $.samples
    time: {field: $.at, unit: ms}
    readings:
      - {metric: temperature, value: $.t, unit: C, scale: 0.1, offset: -40}
      - {metric: running, value: $.state, map: {"ON": 1}}
"""
    found = explained(b'{"at": 1767225600000, "samples": [{"t": 615, "state": "ON"}, {"t": 600}]}', route)
    assert says(found, "fields") == (
        "$.samples = 2 elements: each is read by itself",
        "$.at = 1767225600000: time",
        "$.t = 615: reading temperature",
        '$.state = "ON": reading running',
        "$.t = 600: reading temperature",
        "$.state = nothing there: reading running",
    )
    assert says(found, "conversions") == (
        "temperature: times 0.1, plus -40, unit C",
        "running: map ON -> 1",
    )
    assert found.readings["value"].tolist() == [21.5, 1.0, 20.0]


def test_wide_payloads_show_which_leaves_are_readings() -> None:
    route = "  format: cbor\n  options: {wide: {exclude: [id], values: {'p.*': {unit: bar}}}}\n"
    found = explained(cbor2.dumps({"id": 7, "p": {"in": 1.5}, "name": "x"}), route)
    assert says(found, "fields") == ("id = 7: not a reading", "p.in = 1.5: reading", 'name = "x": not a reading')
    assert says(found, "conversions") == ("p.*: unit bar",)


def test_rows_of_csv_are_fields() -> None:
    found = explained(b"time;force\n2026-01-01;1.5\n", "  format: csv\n")
    assert says(found, "fields") == ('time = "2026-01-01": time', 'force = "1.5": reading')


def test_a_structure_shows_its_types() -> None:
    route = "  format: binary\n  options: {fields: [{name: force, type: int16, scale: 0.5, unit: kN}]}\n"
    found = explained(b"\x00\x10", route)
    assert says(found, "payload") == ("2 bytes, 00 10",)
    assert says(found, "conversions") == ("force: int16, times 0.5, unit kN",)
    assert found.readings["value"].tolist() == [8.0]


def test_compression_is_a_step_of_its_own_and_ends_the_matter_where_it_is_broken() -> None:
    packed = gzip.compress(b'{"value": 1}')
    route = "  format: json\n  compression: gzip\n"
    assert says(explained(packed, route), "compression") == (f"gzip: {len(packed)} bytes hold 12",)
    broken = explained(b"no gzip", route)
    assert [(step.step, step.ok) for step in broken.steps] == [
        ("route", True),
        ("payload", True),
        ("compression", False),
    ]
    assert [refusal.code for refusal in broken.refusals] == ["invalid_compression"]


def test_a_payload_too_large_is_not_looked_into() -> None:
    found = explained(b" " * 1001, "  format: json\n")
    assert [(step.step, step.ok) for step in found.steps] == [("route", True), ("payload", False)]
    assert [refusal.code for refusal in found.refusals] == ["payload_too_large"]


def test_other_routes_that_match_are_named_with_the_reason_why_they_are_not_asked() -> None:
    found = explained(b"{}", "  format: json\n- {name: rest, filter: '#', ignore: true}\n")
    assert says(found, "route") == (
        "r: f/{work_unit}/{sensor}",
        "work unit l, sensor s",
        "rest (#) matches too, and is less specific",
    )
    ignored = explained(b"{}", "  format: json\n- {name: rest, filter: '#', ignore: true}\n", topic=b"x")
    assert (ignored.ignored, says(ignored, "route")) == (True, ("rest: #", "the route says ignore"))


def test_a_retained_message_without_a_time_says_why_it_is_ignored() -> None:
    found = explained(b'{"value": 1}', "  format: json\n", retain=True)
    assert found.ignored
    assert found.steps[-1].step == "retained"


def test_no_bytes_at_all_raise_an_exception() -> None:
    for payload in (b"", b"\xff", b"[" * 900, b"null", b'"x"', bytes(range(256))):
        for format_ in ("json", "ndjson", "csv", "cbor", "msgpack", "senml", "influx", "value"):
            assert explained(payload, f"  format: {format_}\n").steps[0].ok
            assert not explained(payload, "  format: json\n", topic=b"\xff").steps[0].ok


def test_a_contract_is_among_the_checks() -> None:
    route = "  format: json\n  contract: {version: 3, metrics: {v: {maximum: 5}, t: {required: true}}}\n"
    above = 'the value 7.0 of "v" is above the contract\'s maximum 5.0'
    found = explained(b'{"v": 7}', route)
    assert says(found, "checks") == (
        "0 of 1 pass: names, units, quality, time, contract version 3",
        f"refused: range, above_maximum: {above} (reading 1 of the message)",
        'refused: schema, contract_missing: the contract requires the metric "t", and the message has none',
    )
