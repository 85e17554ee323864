"""Modbus answers, as another implementation makes them: pymodbus encodes, we decode."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse

from sensor_platform_tests.transformers.decoding import codes, decode_payloads

TYPES = ModbusClientMixin.DATATYPE
NUMBERS = {
    "int16": (TYPES.INT16, st.integers(-(2**15), 2**15 - 1)),
    "uint16": (TYPES.UINT16, st.integers(0, 2**16 - 1)),
    "int32": (TYPES.INT32, st.integers(-(2**31), 2**31 - 1)),
    "uint32": (TYPES.UINT32, st.integers(0, 2**32 - 1)),
    "int64": (TYPES.INT64, st.integers(-(2**53), 2**53)),
    "float32": (TYPES.FLOAT32, st.floats(width=32, allow_nan=False, allow_infinity=False)),
    "float64": (TYPES.FLOAT64, st.floats(allow_nan=False, allow_infinity=False)),
}
FRAMERS: dict[str, Any] = {"rtu": FramerRTU, "tcp": FramerSocket}


def frame(kind: str, pdu: Any) -> bytes:
    framed: bytes = FRAMERS[kind](DecodePDU(False)).buildFrame(pdu)
    return framed


@st.composite
def blocks_of_registers(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]], list[int], list[float]]:
    """Word order, fields, registers and values."""
    order = draw(st.sampled_from(["big", "little"]))
    fields, registers, values = [], [], []
    for place, kind in enumerate(draw(st.lists(st.sampled_from(sorted(NUMBERS)), min_size=1, max_size=8))):
        datatype, strategy = NUMBERS[kind]
        value = draw(strategy)
        fields.append({"name": f"f{place}", "type": kind, "address": 100 + len(registers)})
        registers += ModbusClientMixin.convert_to_registers(value, datatype, order)  # type: ignore[arg-type]
        values.append(value)
    return order, fields, registers, values


@given(blocks_of_registers(), st.sampled_from(["registers", "rtu", "tcp"]))
def test_what_pymodbus_encodes_is_read_back(
    block: tuple[str, list[dict[str, Any]], list[int], list[float]], kind: str
) -> None:
    order, fields, registers, values = block
    if kind == "registers":
        payload = struct.pack(f">{len(registers)}H", *registers)
    else:
        payload = frame(kind, ReadHoldingRegistersResponse(registers=registers, dev_id=7, transaction_id=3))
    options = {"frame": kind, "word_order": order, "start": 100, "fields": fields}
    decoded = decode_payloads(payload, payload, format_="modbus", options=options)
    assert codes(decoded) == []
    assert decoded.readings["value"].tolist() == [float(value) for value in values] * 2


@pytest.mark.parametrize("kind", ["rtu", "tcp"])
def test_an_exception_of_pymodbus_says_which_one(kind: str) -> None:
    payload = frame(kind, ExceptionResponse(3, 2, device_id=7, transaction=1))
    options = {"frame": kind, "fields": [{"name": "a", "address": 0}]}
    (refusal,) = decode_payloads(payload, format_="modbus", options=options).refusals
    assert (refusal.code, refusal.detail) == ("modbus_exception", "function 3: exception 2, illegal data address")


@given(st.lists(st.binary(max_size=16), min_size=1, max_size=6), st.sampled_from(["registers", "rtu", "tcp"]))
def test_any_bytes_are_readings_or_a_reason(payloads: list[bytes], kind: str) -> None:
    options = {"frame": kind, "fields": [{"name": "a", "address": 0}, {"name": "b", "address": 2, "type": "float32"}]}
    decoded = decode_payloads(*payloads, format_="modbus", options=options)
    answered = {refusal.message for refusal in decoded.refusals} | set(decoded.readings["message"])
    assert answered == set(range(len(payloads)))
