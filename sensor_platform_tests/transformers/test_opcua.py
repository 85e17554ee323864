"""OPC UA PubSub: what asyncua encodes is read back, and any bytes get an answer."""

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.pubsub import uadp
from hypothesis import given
from hypothesis import strategies as st

from sensor_platform.transformers.leaves import MAX_NAME_CHARACTERS_A_MESSAGE
from sensor_platform_tests.transformers.decoding import RECEIVED_US, codes
from sensor_platform_tests.transformers.opcua import (
    ARRAYS,
    AT,
    AT_US,
    NUMBERS,
    PUBLISHERS,
    WRITER,
    V,
    answered,
    metadata,
    network_message,
    read,
)


@given(st.lists(NUMBERS, min_size=1, max_size=8), PUBLISHERS)
def test_numbers_that_asyncua_encodes_are_read_back(variants: list[ua.Variant], publisher: Any) -> None:
    payload = network_message(uadp.UadpDataSetVariant(uadp.UadpDataSetMessageHeader(), variants), publisher=publisher)
    decoded = read(payload, unnamed="number", sensor="publisher_id", work_unit="dataset_writer_id")
    assert codes(decoded) == []
    assert decoded.readings["value"].tolist() == [float(variant.Value) for variant in variants]
    large = [str(v.Value) if isinstance(v.Value, int) and abs(v.Value) > 2**53 else None for v in variants]
    assert decoded.readings["text"].tolist() == large
    assert set(decoded.readings["sensor"]) == {str(publisher)}
    assert set(decoded.readings["work_unit"]) == {str(WRITER)}
    assert set(decoded.readings["time"]) == {AT_US}


STATUSES = st.sampled_from([0, 0x40900000, 0x80890000, 0xC0000000])


@given(
    st.lists(
        st.builds(
            ua.DataValue,
            NUMBERS,
            STATUSES.map(lambda code: ua.StatusCode(ua.UInt32(code))),
            st.sampled_from([None, AT]),
            st.sampled_from([None, AT]),
            st.sampled_from([None, ua.UInt16(3)]),
            st.sampled_from([None, ua.UInt16(4)]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_data_values_that_asyncua_encodes_are_read_back(values: list[ua.DataValue]) -> None:
    payload = uadp.UadpDataSetDataValue(uadp.UadpDataSetMessageHeader(), values)
    decoded = read(network_message(payload, time=None), unnamed="number")
    assert codes(decoded) == []
    assert decoded.readings["value"].tolist() == [float(value.Value.Value) for value in values]
    assert decoded.readings["quality"].tolist() == [min(value.StatusCode.value >> 30, 2) for value in values]
    assert decoded.readings["time"].tolist() == [AT_US if value.SourceTimestamp else RECEIVED_US for value in values]


@given(ARRAYS)
def test_an_array_is_a_metric_a_place(variant: ua.Variant) -> None:
    payload = network_message(uadp.UadpDataSetVariant(uadp.UadpDataSetMessageHeader(), [variant]))
    decoded = read(payload, fields=["phase"])
    assert decoded.readings["value"].tolist() == variant.Value
    assert decoded.readings["metric"].tolist() == [f"phase.{place}" for place in range(len(variant.Value))]


SEED = network_message(
    uadp.UadpDataSetDataValue(
        uadp.UadpDataSetMessageHeader(Timestamp=AT),
        [ua.DataValue(ua.Variant([1, 2], V.Int32)), ua.DataValue(ua.Variant("a", V.String))],
    )
)


@given(st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.integers(0, 255)), max_size=4), st.integers(0, len(SEED)))
def test_damaged_bytes_are_readings_or_a_reason(changes: list[tuple[int, int]], length: int) -> None:
    payload = bytearray(SEED)
    for place, byte in changes:
        payload[place] = byte
    answered(read(bytes(payload[:length]), unnamed="number", text=True))


@given(st.binary(max_size=60), st.sampled_from(["auto", "json", "uadp"]))
def test_any_bytes_are_readings_or_a_reason(payload: bytes, encoding: str) -> None:
    answered(read(payload, unnamed="number", encoding=encoding))
    answered(read(b"\x01\x01" + payload, unnamed="number", encoding=encoding))
    answered(read(b"\x91\x81\x08" + payload, encoding=encoding))


WORDS = st.sampled_from(
    [
        "MessageId",
        "MessageType",
        "Messages",
        "Payload",
        "Value",
        "StatusCode",
        "Status",
        "Code",
        "Type",
        "Body",
        "UaType",
        "NodeId",
        "MetaData",
        "Fields",
        "Name",
        "PublisherId",
        "Timestamp",
        "SourceTimestamp",
        "DisplayName",
        "TypeId",
        "Text",
        "x",
    ]
)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=2) | st.sampled_from(["ua-data", "NaN"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(DOCUMENTS)
def test_any_document_is_readings_or_a_reason(document: Any) -> None:
    answered(read(json.dumps(document).encode(), sensor="dataset_writer_name"))
    answered(read(json.dumps({"Messages": [{"DataSetWriterId": 1, "Payload": document}]}).encode(), text=True))
    answered(read(json.dumps({"MessageType": "ua-metadata", "MetaData": document}).encode()))


def variants_of(encoded: bytes) -> bytes:
    """A network message with one Variant, of these bytes."""
    return b"\x01\x01" + struct.pack("<H", 1) + encoded


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(b"\x80" + struct.pack("<i", 2**31 - 1), id="array of two thousand million nulls"),
        pytest.param(b"\x8c" + struct.pack("<ii", 2**31 - 1, -4), id="texts of a negative length"),
        pytest.param(b"\x0c" + struct.pack("<i", -4), id="a text of a negative length"),
        pytest.param(b"\x8b" + struct.pack("<i", 2**31 - 1), id="doubles that are not there"),
        pytest.param(b"\x98" + struct.pack("<i", 1), id="a variant cut short"),
        pytest.param((b"\x98" + struct.pack("<i", 1)) * 5_000, id="variants in variants"),
        pytest.param(b"\x19" + b"\x40" * 5_000, id="diagnostics in diagnostics"),
    ],
)
def test_a_length_that_lies_costs_nothing(encoded: bytes) -> None:
    answered(read(variants_of(encoded), unnamed="number"))


def array_of(kind: V, elements: int, encoded: bytes) -> bytes:
    return bytes([0x80 | kind.value]) + struct.pack("<i", elements) + encoded * elements


NULL, EMPTY_TEXT = b"\0", b"\xff" * 4


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(array_of(V.Variant, 1_000_000, NULL), id="Variants that are null"),
        pytest.param(array_of(V.DataValue, 10_001, NULL), id="DataValues that are null"),
        pytest.param(array_of(V.String, 10_001, EMPTY_TEXT), id="texts"),
        pytest.param(array_of(V.Variant, 200, array_of(V.Variant, 100, NULL)), id="arrays in an array"),
    ],
)
def test_an_array_of_too_many_elements_is_refused(encoded: bytes) -> None:
    assert codes(read(variants_of(encoded), unnamed="number")) == [(0, -1, "too_many_metrics")]


def test_elements_that_are_null_leave_their_places_out() -> None:
    encoded = array_of(V.Variant, 9_999, NULL)[:-1] + b"\x01\x01"
    decoded = read(variants_of(encoded), unnamed="number")
    assert codes(decoded) == []
    assert decoded.readings[["metric", "value"]].to_numpy().tolist() == [["field_0.9998", 1.0]]


def test_of_an_element_that_is_null_no_name_is_made() -> None:
    name = "a" * 400
    elements = [None] * (MAX_NAME_CHARACTERS_A_MESSAGE // len(name) + 1)
    decoded = read(json.dumps({"Payload": {name: [*elements, 1]}}).encode())
    assert codes(decoded) == []
    assert decoded.readings["metric"].tolist() == [f"{name}.{len(elements)}"]


@pytest.mark.parametrize(
    "payload",
    [
        b'{"MessageType": "ua-status", "PublisherId": "p", "Status": 0}',
        b'{"MessageType": "ua-connection", "PublisherId": "p"}',
        b'{"MessageType": "ua-data", "Messages": [{"DataSetWriterId": 1, "MessageType": "ua-keepalive"}]}',
        network_message(uadp.UadpDataSetKeepAlive(uadp.UadpDataSetMessageHeader())),
        metadata(("temperature", 11)),
        b"\x81\x80\x04\x02",
    ],
)
def test_what_carries_no_values_by_its_nature_is_ignored(payload: bytes) -> None:
    decoded = read(payload)
    assert codes(decoded) == []
    assert decoded.ignored.tolist() == [True]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b'{"MessageType": "ua-metadata", "MetaData": {"Fields": []}}', "invalid_network_message"),
        (b'{"MessageType": "ua-metadata", "PublisherId": "p", "DataSetWriterId": 1}', "invalid_network_message"),
        (metadata(("a\0b", 11)), "text_not_storable"),
        (metadata(("temperature", 11))[:-30], "invalid_network_message"),
    ],
)
def test_metadata_that_cannot_be_kept_is_refused(payload: bytes, code: str) -> None:
    assert codes(read(payload)) == [(0, -1, code)]


def test_nan_is_taken_where_the_route_says_so() -> None:
    decoded = read(b'{"Payload": {"a": "NaN", "b": {"Type": 11, "Body": "-Infinity"}}}', allow_nan=True)
    first, second = decoded.readings["value"]
    assert math.isnan(first)
    assert second == -math.inf


@pytest.mark.parametrize(
    ("line", "readings", "refused"),
    [
        (7, [("Temperature", 99.0, 1_585_092_655_989_146), ("Counter", 251.0, 1_585_092_655_989_146)], []),
        (
            8,
            [("IsRotating", 1.0, RECEIVED_US), ("Override", 103.0, RECEIVED_US), ("IsUsedAsAxis", 0.0, RECEIVED_US)],
            [],
        ),
        (9, [("Button", 1.0, 1_770_751_800_000_000)], []),
        (10, [], ["no_readings"]),
    ],
)
def test_messages_that_were_recorded(
    recorded_data: Path, line: int, readings: list[tuple[str, float, int]], refused: list[str]
) -> None:
    entry = json.loads((recorded_data / "devices" / "misc.jsonl").read_text("utf-8").splitlines()[line - 1])
    decoded = read(entry["payload"].encode())
    columns = (decoded.readings[name].tolist() for name in ("metric", "value", "time"))
    assert list(zip(*columns, strict=True)) == readings
    assert [code for _, _, code in codes(decoded)] == refused
