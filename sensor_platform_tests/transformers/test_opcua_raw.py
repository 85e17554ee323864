"""Fields that are sent raw are read by their types in the metadata."""

import struct
from typing import Any

import pytest
from asyncua import ua
from asyncua.pubsub import uadp
from hypothesis import given
from hypothesis import strategies as st

from sensor_platform.errors import DEAD_LETTER_CODES
from sensor_platform_tests.transformers.decoding import codes
from sensor_platform_tests.transformers.opcua import field_with_unit, information, metadata, network_message, read


def raw(*parts: bytes) -> bytes:
    return network_message(uadp.UadpDataSetRaw(uadp.UadpDataSetMessageHeader(), b"".join(parts)))


def array(*dimensions: int, kind: int = 11) -> dict[str, Any]:
    sizes = [ua.UInt32(size) for size in dimensions]
    rank = ua.Int32(len(dimensions) or 1)
    return {"BuiltInType": ua.Byte(kind), "ValueRank": rank, "ArrayDimensions": sizes}


LAST = struct.pack("<d", 7.5)


@pytest.mark.parametrize(
    ("about", "sent", "values"),
    [
        pytest.param(array(), struct.pack("<Idd", 2, 1.5, 2.5), [1.5, 2.5], id="of any size"),
        pytest.param(array(0), struct.pack("<I", 0), [], id="empty"),
        pytest.param(array(2, kind=4), struct.pack("<Ihh", 2, -1, 3), [-1, 3], id="of the size named"),
        pytest.param(array(3), struct.pack("<Idd", 2, 1.5, 2.5) + bytes(8), [1.5, 2.5], id="filled up"),
        pytest.param(array(2, 2, kind=3), struct.pack("<II4B", 2, 2, 1, 2, 3, 4), [1, 2, 3, 4], id="matrix"),
    ],
)
def test_raw_arrays_are_read_by_their_metadata(about: dict[str, Any], sent: bytes, values: list[float]) -> None:
    fields = [field_with_unit("a", information("bar"), **about), field_with_unit("b", None)]
    decoded = read(metadata(*fields), raw(sent, LAST))
    assert codes(decoded) == []
    assert decoded.readings["value"].tolist() == [*values, 7.5]
    assert decoded.readings["metric"].tolist() == [*(f"a.{place}" for place in range(len(values))), "b"]
    assert decoded.readings["unit"].tolist() == [*("bar" for _ in values), None]


@pytest.mark.parametrize(("longest", "filling"), [(0, b""), (8, bytes(5))])
@pytest.mark.parametrize("text", [False, True])
def test_raw_texts_are_read_and_taken_where_the_route_says_so(longest: int, filling: bytes, text: bool) -> None:
    words = {"BuiltInType": ua.Byte(12), "MaxStringLength": ua.UInt32(longest)}
    fields = [field_with_unit("state", None, **words), field_with_unit("b", None)]
    decoded = read(metadata(*fields), raw(struct.pack("<i", 3), b"run", filling, LAST), text=text)
    assert codes(decoded) == []
    told = decoded.readings[["metric", "text"]].to_numpy().tolist()
    assert told == [*([["state", "run"]] if text else []), ["b", None]]


@pytest.mark.parametrize(
    ("about", "sent", "code"),
    [
        pytest.param({"BuiltInType": ua.Byte(22)}, LAST, "unsupported_type", id="a structure"),
        pytest.param(array(kind=12), struct.pack("<I", 0), "unsupported_type", id="array of texts"),
        pytest.param(array(2), struct.pack("<I3d", 3, 1, 2, 3), "invalid_network_message", id="more than named"),
        pytest.param(array(), struct.pack("<I", 2**32 - 1), "invalid_network_message", id="a size that lies"),
        pytest.param(
            {**array(0, 0, kind=3)},
            struct.pack("<II", 2**31, 2**31),
            "invalid_network_message",
            id="a matrix that lies",
        ),
        pytest.param(
            array(2, 2, kind=3), struct.pack("<II2B", 1, 2, 1, 2), "unsupported_type", id="a matrix that is not full"
        ),
        pytest.param(
            {"BuiltInType": ua.Byte(12), "MaxStringLength": ua.UInt32(2)},
            struct.pack("<i", 3) + b"run",
            "invalid_network_message",
            id="longer than named",
        ),
    ],
)
def test_raw_fields_that_are_not_read_refuse_the_message(about: dict[str, Any], sent: bytes, code: str) -> None:
    decoded = read(metadata(field_with_unit("a", None, **about), field_with_unit("b", None)), raw(sent))
    assert codes(decoded) == [(1, -1, code)]


@given(st.binary(max_size=40))
def test_any_raw_bytes_are_readings_or_a_reason(sent: bytes) -> None:
    fields = [
        field_with_unit("a", None, **array(2, 0, kind=5)),
        field_with_unit("t", None, BuiltInType=ua.Byte(12), MaxStringLength=ua.UInt32(4)),
        field_with_unit("b", None),
    ]
    decoded = read(metadata(*fields), raw(sent))
    assert {refusal.code for refusal in decoded.refusals} <= DEAD_LETTER_CODES.keys() - {"transformer_failed"}
