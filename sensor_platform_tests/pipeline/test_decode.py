from typing import Any

import pyarrow as pa
import pytest

from sensor_platform.pipeline.decode import DecodedMessages, decode, one_message
from sensor_platform.routes.file import parse_routes
from sensor_platform.staging.format import SCHEMA
from sensor_platform_tests.transformers.decoding import RECEIVED_AT, codes

ROUTES = parse_routes("""\
routes:
  - {name: main, filter: 'f/{work_unit}/{sensor}/data', format: json}
  - {name: rows, filter: 'f/{work_unit}/{sensor}/csv', format: csv}
  - {name: kept, filter: 'k/{work_unit}/{sensor}', format: json, retained: accept}
  - {name: chatter, filter: 'f/+/+/log/#', ignore: true}
""")
TIMED = b'{"ts": 1748779200, "value": 1}'
UNTIMED = b'{"value": 1}'


def staged(*rows: tuple[str | bytes, bytes, dict[str, Any]]) -> pa.Table:
    """Staged messages of topic, payload and what else is special about each."""
    (usual,) = one_message("", b"", RECEIVED_AT).to_pylist()
    made = [
        {**usual, "topic": topic.encode() if isinstance(topic, str) else topic, "payload": payload, **special}
        for topic, payload, special in rows
    ]
    return pa.Table.from_pylist(made, schema=SCHEMA)


def decoded_of(*rows: tuple[str | bytes, bytes, dict[str, Any]], max_payload_bytes: int = 1000) -> DecodedMessages:
    return decode(staged(*rows), ROUTES, max_payload_bytes=max_payload_bytes)


def test_every_message_is_redelivered_ignored_or_has_readings_or_refusals() -> None:
    decoded = decoded_of(
        ("f/w/s/csv", b"ts,a\n1748779200,1\n", {}),
        ("f/w/s/data", TIMED, {}),
        ("f/w/s/data", TIMED, {"redelivery_of": 1, "dup": True}),
        ("f/w/s/log/x", b"words", {}),
        ("nowhere", TIMED, {}),
        ("f/w/s/data", b"{}", {}),
        ("f/w/s/data", UNTIMED, {}),
    )
    assert decoded.redelivered.tolist() == [False, False, True, False, False, False, False]
    assert decoded.ignored.tolist() == [False, False, False, True, False, False, False]
    assert codes(decoded) == [(4, -1, "no_route"), (5, -1, "no_readings")]
    assert decoded.readings[["message", "metric", "route"]].values.tolist() == [
        [0, "a", "rows"],
        [1, "value", "main"],
        [6, "value", "main"],
    ]
    assert decoded.route_of == ["rows", "main", "main", "chatter", None, "main", "main"]
    assert decoded.route_versions == {"main": ROUTES["main"].version, "rows": ROUTES["rows"].version}
    assert decoded.transformer_versions == {"csv": "1", "json": "1"}


def test_a_redelivered_message_is_not_decoded_whatever_it_holds() -> None:
    decoded = decoded_of(("nowhere", b"", {"redelivery_of": 3}), ("f/w/s/data", b"rubbish", {"redelivery_of": 0}))
    assert decoded.redelivered.tolist() == [True, True]
    assert codes(decoded) == []
    assert decoded.readings.empty


def test_a_retained_message_without_a_time_of_its_own_is_ignored() -> None:
    decoded = decoded_of(
        ("f/w/s/data", UNTIMED, {"retain": True}),
        ("f/w/s/data", b'[{"value": 1}, {"value": null}]', {"retain": True}),
        ("f/w/s/data", TIMED, {"retain": True}),
        ("k/w/s", UNTIMED, {"retain": True}),
        ("f/w/s/data", UNTIMED, {}),
    )
    assert decoded.ignored.tolist() == [True, True, False, False, False]
    assert decoded.readings["message"].tolist() == [2, 3, 4]
    assert codes(decoded) == []


def test_retained_rubbish_is_refused_all_the_same() -> None:
    decoded = decoded_of(("f/w/s/data", b"rubbish", {"retain": True}))
    assert codes(decoded) == [(0, -1, "invalid_json")]
    assert decoded.ignored.tolist() == [False]


@pytest.mark.parametrize("topic", [b"f/\xff/s/data", b"f/w/s\0/data"])
def test_a_topic_that_cannot_be_stored_is_refused(topic: bytes) -> None:
    decoded = decoded_of((topic, TIMED, {}), ("f/w/s/data", TIMED, {}))
    assert codes(decoded) == [(0, -1, "invalid_topic")]
    assert decoded.route_of == [None, "main"]


def test_a_payload_above_the_limit_is_refused_and_one_at_the_limit_is_not() -> None:
    decoded = decoded_of(
        ("f/w/s/data", TIMED + b" ", {}), ("f/w/s/data", TIMED, {}), max_payload_bytes=len(TIMED)
    )  # fmt: skip
    assert codes(decoded) == [(0, -1, "payload_too_large")]
    assert decoded.refusals[0].detail == "31 bytes, more than MQTT_MAX_PAYLOAD_BYTES=30"
    assert decoded.readings["message"].tolist() == [1]


def test_readings_stand_in_received_order_across_routes_and_chunks() -> None:
    rows = [("f/w/s/csv", b"ts,a,b\n1748779200,1,2\n", {}), ("f/w/s/data", TIMED, {}), ("f/v/s/csv", b"a\n3\n", {})]
    table = pa.concat_tables([staged(row) for row in rows])
    readings = decode(table, ROUTES, max_payload_bytes=1000).readings
    assert readings[["message", "ordinal", "work_unit", "value"]].values.tolist() == [
        [0, 0, "w", 1.0],
        [0, 1, "w", 2.0],
        [1, 0, "w", 1.0],
        [2, 0, "v", 3.0],
    ]


def test_no_messages_are_no_readings() -> None:
    decoded = decode(SCHEMA.empty_table(), ROUTES, max_payload_bytes=1000)
    assert decoded.readings.empty
    assert list(decoded.readings.columns)[-1] == "route"
    assert decoded.refusals == []
    assert len(decoded.redelivered) == 0


TOPICS_SAY = parse_routes("""\
routes:
  - {name: plain, filter: 'v/{work_unit}/{sensor}/{metric}/{metric}', format: value, options: {unit: V}}
  - {name: object, filter: 'o/{work_unit}/{sensor}/{metric}', format: json}
  - name: layout
    filter: b/{work_unit}/{sensor}/{metric}
    format: binary
    options: {fields: [{name: a, type: uint8}]}
  - {name: quiet, filter: 'q/{work_unit}/{sensor}', format: json, no_readings: ignore}
""")


def test_a_metric_that_the_topic_captures_names_a_plain_value_and_comes_before_every_other_name() -> None:
    table = staged(
        ("v/w/s/relay/0", b"230.5", {}),
        ("o/w/s/motor", b'{"value": 1}', {}),
        ("o/w/s/motor", b'{"metrics": {"speed": 2}}', {}),
        ("b/w/s/raw", b"\x07", {}),
    )
    readings = decode(table, TOPICS_SAY, max_payload_bytes=1000).readings
    assert readings[["metric", "value", "unit"]].to_numpy().tolist() == [
        ["relay.0", 230.5, "V"],
        ["motor", 1.0, None],
        ["motor.speed", 2.0, None],
        ["raw.a", 7.0, None],
    ]


def test_a_message_without_readings_is_ignored_where_the_route_says_so_and_what_is_wrong_is_refused_still() -> None:
    payloads = (b"{}", b'{"action": "single"}', b"{", b'{"a": NaN}', b'{"a": 1}', b" " * 1001)
    table = staged(*(("q/w/s", payload, {}) for payload in payloads))
    decoded = decode(table, TOPICS_SAY, max_payload_bytes=1000)
    assert decoded.ignored.tolist() == [True, True, False, False, False, False]
    assert codes(decoded) == [(2, -1, "invalid_json"), (3, 0, "nan_not_allowed"), (5, -1, "payload_too_large")]
    assert decoded.readings["message"].tolist() == [4]
