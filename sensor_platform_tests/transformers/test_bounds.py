"""What a few bytes may not do: unfold to gigabytes of names, or take minutes of checksums."""

import binascii
import json
import zlib
from typing import Any

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor_platform.transformers.checksums import FEW_MESSAGES, SIZES, Checksum, checksums
from sensor_platform.transformers.leaves import MAX_NAME_CHARACTERS_A_MESSAGE
from sensor_platform_tests.transformers.decoding import codes, decode_payloads

READ_A = {"readings": [{"metric": "a", "value": "$.a", "offset": 1}]}
LONG = "n" * 5_000
LEAVES = MAX_NAME_CHARACTERS_A_MESSAGE // len(LONG) + 1
SAMPLES = [1] * LEAVES
PACK = [{"bn": LONG, "n": "0", "v": 1}, *({"n": str(place), "v": 1} for place in range(1, LEAVES))]
DATASET = {"Messages": [{"DataSetWriterId": 1, "Payload": {LONG: SAMPLES}}]}


@pytest.mark.parametrize(
    ("format_", "payload", "options"),
    [
        ("json", json.dumps({LONG: SAMPLES}), {}),
        ("json", json.dumps({LONG: SAMPLES}), {"wide": {}}),
        ("json", json.dumps([{f"{place:03}{LONG[:500]}": [1] * 1_000} for place in range(20)]), {}),
        ("influx", f"{LONG} " + ",".join(f"f{place}=1" for place in range(LEAVES)), {}),
        ("senml", json.dumps(PACK), {}),
        ("opcua", json.dumps(DATASET), {}),
    ],
)
def test_a_long_name_above_many_leaves_is_refused(format_: str, payload: str, options: dict[str, object]) -> None:
    decoded = decode_payloads(payload.encode(), format_=format_, options=options)
    assert "names_too_long" in {code for _, _, code in codes(decoded)}
    assert decoded.readings.empty


CRC = {
    "longer": True,
    "checksum": {"type": "crc16-modbus", "at": -2, "byte_order": "little"},
    "fields": [{"name": "a"}],
}


def test_a_long_payload_has_its_checksum_judged() -> None:
    payload = bytes(4_000_000)
    # A CRC that is appended, its low byte first, makes the CRC of the whole 0.
    right = payload + int(checksums("crc16-modbus", np.zeros((1, len(payload)), np.uint8))[0]).to_bytes(2, "little")
    decoded = decode_payloads(right, payload, format_="binary", options=CRC)
    assert codes(decoded) == [(1, -1, "checksum_mismatch")]
    assert int(checksums("crc16-modbus", np.frombuffer(right, np.uint8)[None])[0]) == 0


@given(st.binary(min_size=1, max_size=40), st.sampled_from(sorted(SIZES)))
def test_a_checksum_is_the_same_alone_and_in_company(payload: bytes, kind: Checksum) -> None:
    row = np.frombuffer(payload, np.uint8)[None]
    alone = checksums(kind, row)
    assert checksums(kind, np.repeat(row, FEW_MESSAGES, axis=0)).tolist() == alone.tolist() * FEW_MESSAGES
    oracle = {"crc32": zlib.crc32(payload), "crc16-ccitt-false": binascii.crc_hqx(payload, 0xFFFF)}
    assert alone.tolist() == [oracle.get(kind, int(alone[0]))]


def test_what_is_longer_than_a_serial_line_carries_is_no_rtu_answer() -> None:
    options = {"frame": "rtu", "fields": [{"name": "a", "address": 0}]}
    decoded = decode_payloads(bytes(4_000_000), bytes(257), bytes(256), format_="modbus", options=options)
    assert sorted(codes(decoded)) == [(0, -1, "invalid_frame"), (1, -1, "invalid_frame"), (2, -1, "checksum_mismatch")]


def test_the_names_of_one_message_do_not_count_for_the_next() -> None:
    samples = {"n" * 490: [1] * 5_000}
    decoded = decode_payloads(*[json.dumps(samples).encode()] * 3)
    assert codes(decoded) == []
    assert len(decoded.readings) == 15_000


@pytest.mark.parametrize("format_", ["json", "ndjson", "cbor"])
@pytest.mark.parametrize("options", [{"wide": {"values": {"*": {"scale": 0.1}}}}, READ_A, {"wide": {}}])
def test_an_integer_beyond_64_bits_is_refused_also_where_it_is_scaled(format_: str, options: dict[str, Any]) -> None:
    document = {"a": 2**64}
    payload = cbor2.dumps(document) if format_ == "cbor" else json.dumps(document).encode()
    assert codes(decode_payloads(payload, format_=format_, options=options)) == [(0, 0, "number_out_of_range")]


def test_two_leaves_of_one_name_are_both_readings() -> None:
    decoded = decode_payloads(b'{"a.b": 1, "a": {"b": 2}}', options={"wide": {}})
    assert sorted(decoded.readings["value"]) == [1.0, 2.0]
