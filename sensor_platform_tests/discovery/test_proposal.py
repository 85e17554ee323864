"""From what was heard to a route file that reads it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensor_platform.discovery.groups import MAX_GROUPS
from sensor_platform.discovery.listen import Heard, Limits, Sample
from sensor_platform.discovery.proposal import Proposal, propose
from sensor_platform.discovery.render import definition, route_file
from sensor_platform.pipeline.decode import decode, one_message
from sensor_platform.routes.file import parse_routes
from sensor_platform_tests.transformers import sparkplug

AT = datetime(2026, 1, 1, tzinfo=UTC)
DOUBLE = 10


def heard(*messages: tuple[str, bytes], retain: bool = False) -> Heard:
    found = Heard()
    for topic, payload in messages:
        found.add(topic, Sample(payload, AT, retain), Limits())
    return found


def definitions(proposal: Proposal) -> list[dict[str, Any]]:
    return [definition(each.route) for each in proposal.routes]


def test_our_default_routes_are_found_again() -> None:
    proposal = propose(
        heard(
            ("factory/line-1/sensors/press-3/data", b'{"timestamp": "2026-01-01T00:00:00Z", "value": 1}'),
            ("factory/line-2/sensors/press-4/data", b'{"value": 2, "unit": "kN"}'),
            ("factory/line-1/sensors/press-3/csv", b"time,force\n2026-01-01,1.5\n"),
        )
    )
    assert definitions(proposal) == [
        {
            "name": "factory-sensors-csv",
            "filter": "factory/{work_unit}/sensors/{sensor}/csv",
            "format": "csv",
        },
        {
            "name": "factory-sensors-data",
            "filter": "factory/{work_unit}/sensors/{sensor}/data",
            "format": "json",
        },
    ]
    assert [each.confidence for each in proposal.routes] == [1.0, 1.0]
    assert proposal.unrecognised == ()
    assert [each.notes for each in proposal.routes] == [(), ()]


def test_tasmota_gets_its_time_and_its_states() -> None:
    sensor = b'{"Time": "2025-10-31T18:55:09", "ENERGY": {"Power": 21.5}, "Switch1": "ON"}'
    state = b'{"Time": "2025-10-31T18:55:09", "UptimeSec": 66972, "POWER": "OFF"}'
    topics = [(f"tele/{name}/{kind}", payload) for name in ("hall", "yard") for kind, payload in _kinds(sensor, state)]
    proposal = propose(heard(*topics))
    assert definitions(proposal) == [
        {
            "name": "tele-sensor",
            "filter": "tele/{sensor}/SENSOR",
            "format": "json",
            "work_unit": "tele",
            "options": {
                "time": {"field": "$.Time"},
                "wide": {"exclude": ["Time"], "values": {"Switch1": {"map": {"ON": 1, "OFF": 0}}}},
            },
        },
        {
            "name": "tele-state",
            "filter": "tele/{sensor}/STATE",
            "format": "json",
            "work_unit": "tele",
            "options": {
                "time": {"field": "$.Time"},
                "wide": {"exclude": ["Time"], "values": {"POWER": {"map": {"ON": 1, "OFF": 0}}}},
            },
        },
    ]
    assert [(each.topic, each.why) for each in proposal.unrecognised] == []
    assert all(any("`include: [tasmota]`" in note for note in each.notes) for each in proposal.routes)


def _kinds(sensor: bytes, state: bytes) -> list[tuple[str, bytes]]:
    return [("SENSOR", sensor), ("STATE", state)]


def test_plain_values_are_named_by_their_last_level() -> None:
    proposal = propose(
        heard(
            ("home/hall/temperature", b"21.5"),
            ("home/yard/temperature", b"3"),
            ("home/door", b"open"),
            ("home/p", b"3.5 bar"),
        )
    )
    assert definitions(proposal) == [
        {
            "name": "home-temperature",
            "filter": "home/{sensor}/temperature",
            "format": "value",
            "work_unit": "home",
            "options": {"metric": "temperature"},
        },
        {
            "name": "home-door",
            "filter": "home/door",
            "format": "value",
            "work_unit": "plant",
            "sensor": "home",
            "options": {"metric": "door", "map": {"open": 1, "closed": 0}},
        },
        {
            "name": "home-p",
            "filter": "home/p",
            "format": "value",
            "work_unit": "plant",
            "sensor": "home",
            "options": {"metric": "p", "suffix": " bar"},
        },
    ]


def test_what_is_rubbish_is_said_and_not_proposed() -> None:
    proposal = propose(
        heard(("a/rubbish", b"\xff\xfe\x00"), ("a/words", b"hello world"), ("spBv1.0/g/NDATA/e", b"\x08"))
    )
    assert proposal.routes == ()
    assert [(each.topic, each.why.split(":")[0]) for each in proposal.unrecognised] == [
        ("a/rubbish", "bytes of no format that describes itself"),
        ("a/words", "words that no format reads as numbers"),
        ("spBv1.0/g/NDATA/e", "Sparkplug B, of which no birth was seen"),
    ]


def test_confidence_is_the_share_of_samples_that_decode() -> None:
    topics = [("plant/hall/m1", b'{"p": 1}'), ("plant/hall/m1", b'{"p": 2}'), ("plant/hall/m2", b'{"name": "x"}')]
    (proposed,) = propose(heard(*topics, ("plant/hall/m3", b'{"p": 3}'))).routes
    assert proposed.confidence == 0.75
    assert proposed.messages == 4


def test_a_default_time_field_that_is_none_is_a_metric() -> None:
    (proposed,) = propose(heard(("plant/hall/m1", b'{"time": 51, "p": 1}'))).routes
    assert (proposed.confidence, proposed.time) == (1.0, None)
    assert definition(proposed.route)["options"] == {"wide": {}}


def test_of_two_formats_on_one_shape_the_rarer_is_named_by_topic() -> None:
    proposal = propose(
        heard(("m/x1", b'{"p": 1}'), ("m/x2", b'{"p": 1}'), ("m/x3", b"21.5"), ("m/x4", cbor2.dumps({"p": 2})))
    )
    assert sorted((each["filter"], each["format"]) for each in definitions(proposal)) == [
        ("m/x3", "value"),
        ("m/x4", "cbor"),
        ("m/{sensor}", "json"),
    ]
    assert {each.confidence for each in proposal.routes} == {1.0}


def test_only_retained_messages_without_a_time_are_said_to_be_ignored() -> None:
    (proposed,) = propose(heard(("m/x1", b'{"p": 1}'), retain=True)).routes
    assert any("retained: accept" in note for note in proposed.notes)


def test_more_shapes_than_are_looked_at_are_said() -> None:
    words = [f"{a}{b}{c}" for a in "abcdefgh" for b in "abcdefgh" for c in "abcdefgh"][: MAX_GROUPS + 5]
    proposal = propose(heard(*((word, b"no format reads this") for word in words)))
    assert sum(each.why == "of more shapes than are looked at" for each in proposal.unrecognised) == 5


def test_sparkplug_is_one_route_that_is_tried_in_the_order_of_its_births() -> None:
    messages = [
        sparkplug.birth("g/n", sparkplug.metric("power", 1, DOUBLE, double_value=1.5), bdseq=0),
        sparkplug.birth("g/n/d", sparkplug.metric("force", 2, DOUBLE, double_value=2.5), bdseq=0),
        sparkplug.data("g/n/d", sparkplug.metric(None, 2, None, double_value=3.5)),
        ("spBv1.0/g/NCMD/n", b""),
    ]
    found = Heard()
    for second, (topic, payload) in enumerate(messages):
        found.add(topic, Sample(payload, AT + timedelta(seconds=second), retain=False), Limits())
    (proposed,) = propose(found).routes
    assert definition(proposed.route) == {"name": "sparkplug", "filter": "spBv1.0/#", "format": "sparkplug"}
    assert (proposed.confidence, proposed.messages) == (1.0, 4)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
def test_arrays_are_read_by_element_in_every_encoding(encoding: str) -> None:
    (proposed,) = propose(heard(("m/x1", '[{"Time": "2025-10-31T18:55:09", "p": 1}]'.encode(encoding)))).routes
    assert definition(proposed.route)["options"]["each"] == "$[*]"
    assert proposed.confidence == 1.0


def test_topics_of_many_levels_are_routes_of_their_own() -> None:
    deep = "/".join(["a", *map(str, range(1_200))])
    deeper = "/".join(["b"] * 20_000)
    proposal = propose(heard((deep, b"1"), (deep + "x", b"2"), (deeper, b'{"p": 1}'), ("m/x", b'{"p": 1}')))
    routes = parse_routes(route_file(proposal, "x"))
    assert len(routes) == 4
    assert [each.confidence for each in proposal.routes] == [1.0] * 4
    assert {route.filter for route in routes} >= {deep, deep + "x", deeper}


NASTY = [
    ("a/{b}/c", b'{"p": 1}'),
    ("on/no", b'{"p*[?": "ON", "x: y #": 1}'),
    ('quo"te/\u20ac', b'{"a": {"b c": "ON"}, "Time": "2025-01-01"}'),
    ("//", b"1"),
    ("x", b'{"na\\nme": "OFF", "v": 1}'),
    ("\x85nel/\u2028", b'{"p": 1}'),
]


@pytest.mark.parametrize("message", NASTY)
def test_a_proposal_is_a_route_file_whatever_the_names(message: tuple[str, bytes]) -> None:
    proposal = propose(heard(message))
    text = route_file(proposal, "found\nby a test")
    assert all(line.isascii() or not line.lstrip().startswith("#") for line in text.splitlines())
    if proposal.routes:
        decoded = decode(one_message(*message, AT), parse_routes(text), max_payload_bytes=1_000_000)
        assert len(decoded.readings) >= 1


#: What YAML, a filter or a route takes for something else.
WORDS = st.sampled_from(
    [
        *(
            "-1",
            "-",
            "_1",
            "_",
            "__",
            "1e3",
            "0x1f",
            "0o7",
            ".inf",
            "-.NaN",
            "12:30",
            "2026-01-01",
            "~",
            "<<",
            "=",
            "? a",
        ),
        *("on", "No", "TRUE", "null", "y", "{sensor}", "{metric}", "a{b}", "*a", "&a", "!a", "a: b", "a #b", "$a", "%"),
        *("press-1", "hall", "data", "0016c001f153a14c", "", " ", "a" * 300),
    ]
)
levels = WORDS | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0+#"), max_size=6)
topics = st.lists(levels, min_size=1, max_size=4).map("/".join).filter(bool)
names = WORDS | st.text(max_size=3) | st.sampled_from(["\0", "\ud800", "a" * 2000, "time", "Time"])
leaves = st.sampled_from(["ON", "OFF", "2026-01-01T00:00:00Z", 1, 1.5, True, None, "open"])
documents = st.dictionaries(names, leaves | st.dictionaries(names, leaves, max_size=2), max_size=3)
payloads = (
    st.sampled_from([b"1", b"ON", b'{"a": 1}', b'{"a": "ON"}', b"\xff", b"", b'[{"v": 1, "n": "x"}]', b"3.5 bar"])
    | st.binary()
    | documents.map(lambda document: json.dumps(document).encode())
)


@settings(max_examples=40)
@given(st.lists(st.tuples(topics, payloads), min_size=1, max_size=8))
@example([("-1/on/-", b"ON"), ("_1/_/__", b"1"), ("~", b'{"<<": "ON"}')])
@example([("a/{sensor}/c", b"1")])
@example([("f/press-1/d", b"1"), ("f/press-2/d", b"1"), ("f/hall/d", b"1"), ("f/yard/d", b"1")])
@example([("a", json.dumps({"a" * 2000: "ON"}).encode())])
def test_whatever_is_heard_a_proposal_is_a_route_file_that_reads_what_it_says(
    messages: list[tuple[str, bytes]],
) -> None:
    proposal = propose(heard(*messages))
    named = {topic for each in proposal.routes for topic in each.topics} | {
        each.topic for each in proposal.unrecognised
    }
    assert named == {topic for topic, _ in messages}
    if proposal.routes:
        routes = parse_routes(route_file(proposal, "x"))
        assert [definition(each.route) for each in proposal.routes] == [
            definition(routes[r.route.name]) for r in proposal.routes
        ]
