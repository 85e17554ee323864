"""Formats that carry documents, lines and words: encoded by another implementation, decoded by ours, and rubbish."""

import gzip
import json
from decimal import Decimal
from typing import Any

import cbor2
import msgpack
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor_platform.errors import DEAD_LETTER_CODES
from sensor_platform.pipeline import payloads as payloads_module
from sensor_platform_tests.transformers.decoding import RECEIVED_US, codes, decode_payloads

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
METRICS = st.dictionaries(st.text("abcxyz", min_size=1, max_size=5), NUMBERS, min_size=1, max_size=5)
FORMATS: dict[str, Any] = {
    "cbor": cbor2.dumps,
    "msgpack": msgpack.packb,
    "ndjson": lambda document: json.dumps(document).encode() + b"\n",
    "json": lambda document: json.dumps(document).encode(),
}
TIME_US = 1_748_779_200_000_000


@pytest.mark.parametrize("format_", sorted(FORMATS))
@given(METRICS)
def test_what_another_implementation_encodes_is_read_back(format_: str, metrics: dict[str, float]) -> None:
    payload = FORMATS[format_]({"ts": 1_748_779_200, "metrics": metrics})
    decoded = decode_payloads(payload, format_=format_)
    assert codes(decoded) == []
    assert dict(zip(decoded.readings["metric"], decoded.readings["value"], strict=True)) == metrics
    assert set(decoded.readings["time"]) == {TIME_US}


@pytest.mark.parametrize("format_", [*sorted(FORMATS), "senml", "influx", "value"])
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
def test_any_bytes_are_readings_or_a_reason(format_: str, payloads: list[bytes]) -> None:
    decoded = decode_payloads(*payloads, format_=format_)
    answered = {refusal.message for refusal in decoded.refusals} | set(decoded.readings["message"])
    assert answered == set(range(len(payloads)))
    assert {refusal.code for refusal in decoded.refusals} <= DEAD_LETTER_CODES.keys() - {"transformer_failed"}


@given(
    st.lists(
        st.recursive(
            NUMBERS | st.text(max_size=3) | st.binary(max_size=3) | st.none(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.integers(0, 3) | st.text(max_size=2), inner, max_size=3)
            ),
            max_leaves=8,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_packed_documents_of_any_shape_are_readings_or_a_reason(documents: list[Any]) -> None:
    for format_, encode in (("cbor", cbor2.dumps), ("msgpack", msgpack.packb)):
        decoded = decode_payloads(*map(encode, documents), format_=format_)
        answered = {refusal.message for refusal in decoded.refusals} | set(decoded.readings["message"])
        assert answered == set(range(len(documents)))
        assert {refusal.code for refusal in decoded.refusals} <= DEAD_LETTER_CODES.keys() - {"transformer_failed"}


def test_cbor_has_numbers_and_times_of_its_own() -> None:
    payload = cbor2.dumps(
        {"time": cbor2.CBORTag(0, "2026-01-01T00:00:00Z"), "a": Decimal("1.5"), "b": 2**70, "c": b"x", 7: 4}
    )
    decoded = decode_payloads(payload, format_="cbor")
    assert decoded.readings[["metric", "value"]].to_numpy().tolist() == [["a", 1.5], ["7", 4.0]]
    assert set(decoded.readings["time"]) == {RECEIVED_US}
    assert codes(decoded) == [(0, 1, "number_out_of_range")]


@pytest.mark.parametrize("format_", ["cbor", "senml"])
def test_cbor_that_refers_to_itself_is_refused_and_not_unfolded(format_: str) -> None:
    doubled = b"\xd8\x1c\x82\x01\x01"  # 28([1, 1]), and then a list that has the one before it twice
    for place in range(40):
        doubled += b"\xd8\x1c\x82" + 2 * (b"\xd8\x1d\x18" + bytes([place]))
    options = {"encoding": "cbor"} if format_ == "senml" else {}
    decoded = decode_payloads(b"\x98\x29" + doubled, cbor2.dumps([]), format_=format_, options=options)
    assert codes(decoded) == [(0, -1, "invalid_cbor"), (1, -1, "no_readings")]


def test_an_extension_of_msgpack_is_no_reading() -> None:
    payload = msgpack.packb({"a": msgpack.ExtType(5, b"xy"), "b": 1})
    decoded = decode_payloads(payload, format_="msgpack")
    assert decoded.readings[["metric", "value"]].to_numpy().tolist() == [["b", 1.0]]


def test_a_payload_after_the_first_item_is_no_msgpack() -> None:
    assert codes(decode_payloads(msgpack.packb({"a": 1}) + b"\x01", format_="msgpack")) == [(0, -1, "invalid_msgpack")]


def test_one_bad_line_leaves_the_others() -> None:
    decoded = decode_payloads(b'{"value": 1}\n{"value": \n\n[{"value": 2}, {"value": 3}]\r\n', format_="ndjson")
    assert decoded.readings["value"].tolist() == [1.0, 2.0, 3.0]
    assert [(r.ordinal, r.code, r.detail[:7]) for r in decoded.refusals] == [(1, "invalid_json", "line 2:")]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_compressed_payload_is_unpacked_up_to_the_bound(compression: str) -> None:
    pack = gzip.compress if compression == "gzip" else pa.Codec("zstd").compress
    good, bomb = bytes(pack(b'{"value": 1}')), bytes(pack(b" " * 1_000_001))
    payloads = [good, bomb, good[:-4], b"{}", b"", good]
    decoded = decode_payloads(*payloads, compression=compression, max_payload_bytes=1_000_000)
    assert decoded.readings["message"].tolist() == [0, 5]
    assert codes(decoded) == [
        (1, -1, "payload_too_large"),
        (2, -1, "invalid_compression"),
        (3, -1, "invalid_compression"),
        (4, -1, "empty_payload"),
    ]


@given(
    st.lists(
        st.tuples(
            st.text("ab ,=", min_size=1, max_size=4),
            st.dictionaries(st.text("xy ,=", min_size=1, max_size=4), NUMBERS, min_size=1),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_line_protocol_is_read_back(lines: list[tuple[str, dict[str, float]]]) -> None:
    def escaped(name: str) -> str:
        return name.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")

    def line(measurement: str, fields: dict[str, float]) -> str:
        pairs = ",".join(f"{escaped(n)}={v}{'i' if isinstance(v, int) else ''}" for n, v in fields.items())
        return f"{escaped(measurement)} {pairs} 1748779200000000000"

    payload = "\n".join(line(*each) for each in lines).encode()
    decoded = decode_payloads(payload, format_="influx")
    assert codes(decoded) == []
    expected = [(f"{m}.{name}", float(value)) for m, fields in lines for name, value in fields.items()]
    assert list(zip(decoded.readings["metric"], decoded.readings["value"], strict=True)) == expected
    assert set(decoded.readings["time"]) == {TIME_US}


def test_what_unpacks_to_much_is_decoded_a_piece_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    guarded = payloads_module._decode_guarded

    def counted(column: Any, route: Any) -> Any:
        sizes.append(sum(map(len, column.payloads)))
        return guarded(column, route)

    monkeypatch.setattr(payloads_module, "PIECE_BYTES", 30)
    monkeypatch.setattr(payloads_module, "_decode_guarded", counted)
    payloads = [gzip.compress(b'{"value": %d}' % number) for number in range(10)]
    decoded = decode_payloads(*payloads[:4], b"no gzip", *payloads[4:], compression="gzip")
    assert decoded.readings["message"].tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert decoded.readings["value"].tolist() == [float(number) for number in range(10)]
    assert codes(decoded) == [(4, -1, "invalid_compression")]
    assert sizes == [36, 36, 36, 12]
