import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensor_platform.errors import DEAD_LETTER_CODES
from sensor_platform.transformers.json import Unreadable, encoding_of, parse
from sensor_platform.transformers.numbers import is_storable
from sensor_platform_tests.transformers.decoding import RECEIVED_US, codes, decode_payloads

GOOD = b'{"timestamp": "2025-06-01T12:00:00Z", "metrics": {"a": 1.5}}'

#: What a plant's network brings sooner or later, and what each is called.
POISON = {
    b"": "empty_payload",
    b'{"value": NaN}': "nan_not_allowed",
    b'{"value": 1e400}': "number_out_of_range",
    b'{"value": 1180591620717411303424}': "number_out_of_range",
    b'{"value": "\\u0000"}': "text_not_storable",
    b'{"value": "\\ud800"}': "text_not_storable",
    b'{"metrics": {"\\u0000": 1}}': "text_not_storable",
    b'{"value": 1, "unit": "\\udfff"}': "text_not_storable",
    b"[" * 100_000 + b"]" * 100_000: "too_deep",
    b"[" * 100_000: "too_deep",
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000: "too_deep",
    b'{"metrics":' + b'{"a":' * 500 + b"1" + b"}" * 501: "too_deep",
    b"\0" * 1_000_000: "invalid_json",
    b"0" * 1_000_000: "invalid_json",
    b"1" * 1_000_000: "not_an_object",
    b'{"value": 1, "unit": "\xff"}': "invalid_encoding",
    b'"\xed\xa0\x80"': "invalid_encoding",
    b'{"metrics": {"a": [' + b"0," * 20_000 + b"0]}}": "too_many_metrics",
    b'{"metrics": {"' + b"n" * 501 + b'": 1}}': "invalid_metric",
}


@pytest.mark.parametrize(("poison", "code"), POISON.items(), ids=[f"{k[:24]!r}" for k in POISON])
def test_poison_is_refused_by_its_name_and_its_neighbours_get_through(poison: bytes, code: str) -> None:
    decoded = decode_payloads(GOOD, poison, GOOD)
    assert {(message, found) for message, _, found in codes(decoded)} == {(1, code)}
    neighbours = decoded.readings[decoded.readings["message"] != 1]
    assert neighbours[["message", "metric", "value"]].values.tolist() == [[0, "a", 1.5], [2, "a", 1.5]]


def test_the_good_metrics_of_a_poisoned_message_get_through() -> None:
    decoded = decode_payloads(b'{"metrics": {"a": 1, "b": 1e400, "c": NaN, "\\ud800": 2, "d": 3}, "note": "\\u0000"}')
    assert decoded.readings[["ordinal", "metric", "value"]].values.tolist() == [[0, "a", 1.0], [4, "d", 3.0]]
    assert codes(decoded) == [(0, 1, "number_out_of_range"), (0, 2, "nan_not_allowed"), (0, 3, "text_not_storable")]


def test_an_object_reads_the_same_alone_and_as_the_only_one_of_an_array() -> None:
    documents = [
        b'{"timestamp": "2025-06-01T12:00:00Z", "metrics": {"b": 1.5, "a": 9007199254740993}}',
        b'{"ts": 5, "metrics": {"a": 1, "b": true, "c": null, "d": {"e": 2}}}',
        b'{"time": 0, "metrics": {"a": 1}}',
        b'{"timestamp": null, "metrics": {"a": 1}}',
        b'{"time": "yesterday", "metrics": {"a": 1, "b": 2}}',
        b'{"ts": 6, "metrics": {}}',
        b'{"quality": "bad", "metrics": {"a": 1}}',
        b'{"timestamp": "2025-06-01T12:00:00Z", "value": 3, "metrics": {"a": 1}}',
        b'{"ts": 7, "metrics": {"a": 4, "b": 18446744073709551616}}',
    ]
    alone, in_array = decode_payloads(*documents), decode_payloads(*(b"[" + each + b"]" for each in documents))
    assert alone.readings.to_dict("records") == in_array.readings.to_dict("records")
    assert alone.refusals == in_array.refusals
    places = alone.readings[["message", "ordinal", "metric"]].values.tolist()
    assert places[:5] == [[0, 0, "b"], [0, 1, "a"], [1, 0, "a"], [1, 1, "b"], [1, 2, "d.e"]]
    assert codes(alone) == [
        (3, 0, "invalid_timestamp"),
        (4, 0, "invalid_timestamp"),
        (4, 1, "invalid_timestamp"),
        (5, -1, "no_readings"),
        (8, 1, "number_out_of_range"),
    ]


def test_a_large_float_is_no_integer_that_does_not_fit() -> None:
    decoded = decode_payloads(b'{"metrics": {"a": 1e20, "b": 18446744073709551616.0, "c": 18446744073709551616}}')
    assert decoded.readings["value"].tolist() == [1e20, 18446744073709551616.0]
    assert codes(decoded) == [(0, 2, "number_out_of_range")]


def test_a_payload_that_would_join_its_neighbours_stands_alone() -> None:
    decoded = decode_payloads(b'{"value": 1}, {"value": 2}', b'{"value": 3}], [{"value": 4}', GOOD)
    assert codes(decoded) == [(0, -1, "invalid_json"), (1, -1, "invalid_json")]
    assert decoded.readings["message"].tolist() == [2]


def test_a_message_without_a_time_is_timed_by_receipt_even_among_others() -> None:
    decoded = decode_payloads(GOOD, b'{"value": 1}', b'{"ts": 5, "value": 1}')
    assert decoded.readings["timed_by_receipt"].tolist() == [False, True, False]
    assert decoded.readings["time"].tolist() == [1_748_779_200_000_000, RECEIVED_US, 5_000_000]


def test_text_and_unit_are_none_where_there_is_none() -> None:
    decoded = decode_payloads(b'[{"value": 1}, {"value": "on", "unit": "V"}]', text=True)
    assert [list(row) for row in decoded.readings[["text", "unit"]].values] == [[None, None], ["on", "V"]]


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.just("\ud800"),
    st.just("\0"),
)
NAMES = st.sampled_from(["value", "metric", "metrics", "timestamp", "ts", "quality", "unit", "a", "", "\0"]) | st.text(
    max_size=3
)
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=12
)
PAYLOADS = st.binary(max_size=60) | DOCUMENTS.map(lambda document: json.dumps(document).encode("utf-8"))


@given(st.lists(PAYLOADS, min_size=1, max_size=5), st.booleans(), st.booleans())
@example([b'{"value": 1e400}', b'{"value": 12345678901234567890123}'], False, False)
@example([b'[{"a": {"": -0.0}}]'], False, True)
def test_any_bytes_become_readings_that_can_be_stored_or_refusals(
    payloads: list[bytes], text: bool, allow_nan: bool
) -> None:
    decoded = decode_payloads(*payloads, text=text, allow_nan=allow_nan)
    readings = decoded.readings
    assert set(readings["message"]) | {refusal.message for refusal in decoded.refusals} == set(range(len(payloads)))
    keys = [*zip(readings["message"], readings["ordinal"], strict=True), *((m, o) for m, o, _ in codes(decoded))]
    assert len(set(keys)) == len(keys)
    for column in ("metric", "text", "unit"):
        assert all(is_storable(entry) for entry in readings[column] if entry is not None)
    for refusal in decoded.refusals:
        assert refusal.code in DEAD_LETTER_CODES
        assert is_storable(refusal.detail)


@given(st.lists(PAYLOADS, min_size=1, max_size=4))
def test_a_message_decodes_the_same_alone_and_in_a_group(payloads: list[bytes]) -> None:
    together = decode_payloads(*payloads)
    columns = ["ordinal", "metric", "time", "value", "text", "unit", "quality"]
    for place, payload in enumerate(payloads):
        alone = decode_payloads(payload)
        mine = together.readings[together.readings["message"] == place][columns].reset_index(drop=True)
        assert mine.equals(alone.readings[columns])
        assert [(o, c) for _, o, c in codes(alone)] == [(o, c) for m, o, c in codes(together) if m == place]


@given(
    st.dictionaries(
        st.text("abcxyz.", min_size=1, max_size=5), st.floats(allow_nan=False, allow_infinity=False), min_size=1
    )
)
def test_finite_metrics_round_trip(metrics: dict[str, float]) -> None:
    decoded = decode_payloads(orjson.dumps({"ts": 1_748_779_200, "metrics": metrics}))
    assert dict(zip(decoded.readings["metric"], decoded.readings["value"], strict=True)) == metrics
    assert codes(decoded) == []


ENCODINGS = [
    pytest.param(encoding, mark, id=f"{encoding}{' with a mark' if mark else ''}")
    for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
    for mark in ("", "\ufeff")
]


@pytest.mark.parametrize(("encoding", "mark"), ENCODINGS)
@settings(max_examples=30)
@given(DOCUMENTS)
@example("\u65e5")
@example(5)
def test_a_document_is_the_same_in_every_encoding_of_unicode(encoding: str, mark: str, document: Any) -> None:
    text = json.dumps(document, ensure_ascii=False)
    found = parse((mark + text).encode(encoding, "surrogatepass"))
    if "\ud800" in text:
        assert isinstance(found, Unreadable)
        assert found.code == "invalid_encoding"
    else:
        assert repr(found) in (repr(parse(text.encode(), exactly=True)), repr(parse(text.encode())))


@pytest.mark.parametrize("payload", [b"\xff\x00", b"\x00\xff\x00\x7b", b"\xe9\x00\x00\x00"])
def test_zeros_beside_what_is_no_ascii_are_no_sign_of_utf_16(payload: bytes) -> None:
    assert encoding_of(payload) == "utf-8"
    assert codes(decode_payloads(payload)) == [(0, -1, "invalid_encoding")]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-be"])
def test_half_a_character_is_refused_by_its_place(encoding: str) -> None:
    decoded = decode_payloads('{"value": 1}'.encode(encoding)[:-1], GOOD)
    assert codes(decoded) == [(0, -1, "invalid_encoding")]
    assert f"is not valid {encoding.upper()}" in decoded.refusals[0].detail
    assert decoded.readings["message"].tolist() == [1]


def test_long_integers_keep_their_digits_in_utf_16_too() -> None:
    decoded = decode_payloads(f'{{"value": {2**63 - 1}}}'.encode("utf-16-le"))
    assert decoded.readings["text"].tolist() == [str(2**63 - 1)]
    scaled = {"readings": [{"metric": "m", "value": "$.value", "scale": 0.5}]}
    beyond = decode_payloads(f'{{"value": {2**64}}}'.encode("utf-16-le"), options=scaled)
    assert [code for _, _, code in codes(beyond)] == ["number_out_of_range"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32-le"])
def test_lines_of_ndjson_are_cut_after_decoding(encoding: str) -> None:
    lines = '{"value": 1}\n{"value": "\u010a"}\n{"value": 3}'
    decoded = decode_payloads(lines.encode(encoding), format_="ndjson")
    assert decoded.readings["value"].tolist() == [1.0, 3.0]
    assert codes(decoded) == [(0, 1, "value_not_number")]


def test_of_a_name_that_stands_twice_the_last_value_counts() -> None:
    assert decode_payloads(b'{"value": 1, "value": 2}').readings["value"].tolist() == [2.0]
