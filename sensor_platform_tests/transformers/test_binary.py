"""Structures of bytes, against Python's own `struct` and checksums."""

import binascii
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor_platform.errors import ConfigurationError
from sensor_platform.routes.file import parse_routes
from sensor_platform.transformers.checksums import checksums
from sensor_platform_tests.transformers.decoding import codes, decode_payloads

CODES = {
    "uint8": "B", "int8": "b", "uint16": "H", "int16": "h", "uint32": "I", "int32": "i", "uint64": "Q", "int64": "q",
    "float32": "f", "float64": "d",
}  # fmt: skip


def number(kind: str) -> st.SearchStrategy[float]:
    if kind.startswith("float"):
        return st.floats(width=int(kind[5:]), allow_nan=False, allow_infinity=False)  # type: ignore[arg-type]
    bits = int(kind.lstrip("uint"))
    return st.integers(0, 2**bits - 1) if kind[0] == "u" else st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


@st.composite
def structures(draw: st.DrawFn) -> tuple[list[str], str, list[list[float]]]:
    kinds = draw(st.lists(st.sampled_from(sorted(CODES)), min_size=1, max_size=6))
    order = draw(st.sampled_from(["big", "little"]))
    return kinds, order, draw(st.lists(st.tuples(*map(number, kinds)).map(list), min_size=1, max_size=4))


@given(structures())
def test_what_struct_packs_is_read_back(structure: tuple[list[str], str, list[list[float]]]) -> None:
    kinds, order, rows = structure
    layout = (">" if order == "big" else "<") + "".join(CODES[kind] for kind in kinds)
    fields = [{"name": f"f{place}", "type": kind} for place, kind in enumerate(kinds)]
    options = {"fields": fields, "byte_order": order}
    decoded = decode_payloads(*(struct.pack(layout, *row) for row in rows), format_="binary", options=options)
    assert codes(decoded) == []
    assert decoded.readings["value"].tolist() == [float(value) for row in rows for value in row]
    assert decoded.readings["metric"].tolist() == [f"f{place}" for place in range(len(kinds))] * len(rows)
    exact = [str(v) if isinstance(v, int) and abs(v) > 2**53 else None for row in rows for v in row]
    assert decoded.readings["text"].tolist() == exact


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=6))
def test_any_bytes_are_readings_or_a_reason(payloads: list[bytes]) -> None:
    options = {
        "fields": [{"name": "at", "type": "float64"}, {"name": "a", "type": "float32"}, {"name": "b", "type": "bcd16"}],
        "time": {"field": "at", "unit": "s"},
        "checksum": {"type": "xor8", "at": -1},
    }
    decoded = decode_payloads(*payloads, format_="binary", options=options)
    answered = {refusal.message for refusal in decoded.refusals} | set(decoded.readings["message"])
    assert answered == set(range(len(payloads)))


@given(st.lists(st.binary(min_size=7, max_size=7), min_size=1, max_size=5))
def test_checksums_are_those_of_the_standard_library(payloads: list[bytes]) -> None:
    data = np.frombuffer(b"".join(payloads), dtype=np.uint8).reshape(len(payloads), 7)
    assert checksums("crc32", data).tolist() == [zlib.crc32(payload) for payload in payloads]
    assert checksums("crc16-ccitt-false", data).tolist() == [binascii.crc_hqx(payload, 0xFFFF) for payload in payloads]
    assert checksums("sum8", data).tolist() == [sum(payload) % 256 for payload in payloads]


@pytest.mark.parametrize(
    ("kind", "check"),  # of b"123456789": catalogue of parametrised CRC algorithms
    [("crc8", 0xF4), ("crc16-modbus", 0x4B37), ("crc16-ccitt-false", 0x29B1), ("crc32", 0xCBF43926)],
)
def test_the_check_value_of_each_crc(kind: str, check: int) -> None:
    data = np.frombuffer(b"123456789", dtype=np.uint8).reshape(1, 9)
    assert checksums(kind, data).tolist() == [check]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("{}", '5: route "r": options.fields is missing'),
        ("{fields: [{name: a, type: unt8}]}", "5: route \"r\": options.fields.0.type: Input should be 'uint8'"),
        ("{fields: [{name: a}, {name: a}]}", '5: route "r": options: Value error, two fields are called a'),
        (
            "{fields: [{name: a, bits: 16}]}",
            '5: route "r": options.fields.0: Value error, bits: uint16 has the bits 0 to 15',
        ),
        ("{fields: [{name: a}], time: {field: b}}", '5: route "r": options: Value error, time: there is no field "b"'),
        ("{fields: [{name: a, at: 4}], length: 5}", '5: route "r": options: Value error, length: 5 bytes, and a field'),
    ],
)
def test_a_layout_that_cannot_be_is_refused_at_its_line(options: str, problem: str) -> None:
    text = f"routes:\n  - name: r\n    filter: a/{{work_unit}}/{{sensor}}\n    format: binary\n    options: {options}\n"
    with pytest.raises(ConfigurationError) as refused:
        parse_routes(text)
    assert str(refused.value).startswith(f"routes.yaml:{problem}")
