"""Modbus over MQTT: blocks of registers as gateways forward them, or whole RTU and TCP answers.

Numbers follow the Modbus application protocol: registers are big-endian, the order of words is the device's own.
Only answers to reads carry values; a device's exception is a dead letter that says which one.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from sensor_platform.transformers.armour import Armour
from sensor_platform.transformers.binary import ChecksumField, checked, unarmoured
from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform.transformers.layout import (
    Assembly,
    Block,
    NumberField,
    Placed,
    TimeField,
    blocks,
    refuse_ambiguous,
)
from sensor_platform.transformers.options import FormatOptions, options_of
from sensor_platform.transformers.registry import transformer

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route

#: Modbus application protocol v1.1b3, section 7.
EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge",
    6: "server device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}
READS = (1, 2, 3, 4)
COIL_TYPES = ("uint16", "int16")
READ_COILS, READ_INPUTS = 1, 2
MBAP_BYTES = 7
#: Of an exception; and the most that a serial line carries (Modbus over serial line v1.02, section 2.3).
RTU_BYTES = (5, 256)
CRC = ChecksumField(type="crc16-modbus", at=-2, byte_order="little")

Frame = Literal["registers", "rtu", "tcp"]
Order = Literal["big", "little"]


class RegisterField(NumberField):
    """A number in registers. address: its first register (or its coil, for functions 1 and 2), as `start` counts."""

    address: int = Field(ge=0, le=65_535)
    word_order: Order | None = None
    byte_order: Order | None = None


class ModbusOptions(FormatOptions):
    """What the payload is, and which numbers its registers hold.

    frame: registers (their bytes alone), rtu or tcp (a whole answer). start: the address of the first register in the
    payload, since an answer does not say it. unit: the only device address accepted. word_order: big is ABCD, little is
    CDAB; byte_order little swaps the bytes of each register (BADC, and DCBA with both).
    """

    fields: tuple[RegisterField, ...] = Field(min_length=1)
    frame: Frame = "registers"
    start: int = Field(0, ge=0, le=65_535)
    unit: int | None = Field(None, ge=0, le=255)
    word_order: Order = "big"
    byte_order: Order = "big"
    time: TimeField | None = None
    armour: Armour = "none"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        refuse_ambiguous(self.fields, self.time)
        before = sorted(field.name for field in self.fields if field.address < self.start)
        if before:
            raise ValueError(f"start is {self.start}, and before it are the addresses of {', '.join(before)}")
        odd = sorted(field.name for field in self.fields if field.size % 2)
        if odd:
            raise ValueError(f"a register has 16 bits: these types do not fill registers: {', '.join(odd)}")
        return self

    def layout(self) -> list[Placed]:
        return [Placed(field, 2 * (field.address - self.start), self._order(field)) for field in self.fields]

    def _order(self, field: RegisterField) -> tuple[int, ...]:
        words = [(first, first + 1) for first in range(0, field.size, 2)]
        if (field.word_order or self.word_order) == "little":
            words.reverse()
        swapped = (field.byte_order or self.byte_order) == "little"
        return tuple(byte for word in words for byte in (word[::-1] if swapped else word))


@transformer("modbus", version="1", columns=True, options=ModbusOptions)
def decode_modbus(column: PayloadColumn, route: "Route") -> Decoded:
    options = options_of(route, ModbusOptions)
    assembly = Assembly(column, allow_nan=route.allow_nan)
    payloads, readable = unarmoured(column, options.armour, assembly)
    for block in blocks(payloads, readable):
        if options.frame == "registers":
            _decode_registers(block, options, assembly)
        elif options.frame == "rtu":
            _decode_rtu(block, options, assembly)
        else:
            _decode_tcp(block, options, assembly)
    return assembly.decoded()


def _decode_rtu(block: Block, options: ModbusOptions, assembly: Assembly) -> None:
    """Unit, function, byte count, data, CRC with its low byte first."""
    if not RTU_BYTES[0] <= block.length <= RTU_BYTES[1]:
        return assembly.refuse(block.places.tolist(), "invalid_frame", f"{block.length} bytes are no RTU answer")
    block = checked(block, CRC, assembly)
    return _decode_answer(block.columns(0, block.length - 2), options, assembly)


def _decode_tcp(block: Block, options: ModbusOptions, assembly: Assembly) -> None:
    """The MBAP header says how many bytes follow it, the unit among them; then function, byte count, data."""
    if block.length < MBAP_BYTES + 2:
        return assembly.refuse(block.places.tolist(), "invalid_frame", f"{block.length} bytes are no Modbus TCP answer")
    header = block.bytes[:, :6].astype(np.uint16)
    is_modbus = (header[:, 2] | header[:, 3]) == 0
    has_length = header[:, 4] * 256 + header[:, 5] == block.length - 6
    detail = "the MBAP header names another protocol, or another length than the payload has"
    assembly.refuse(block.places[~(is_modbus & has_length)].tolist(), "invalid_frame", detail)
    return _decode_answer(block.rows(is_modbus & has_length).columns(6, block.length), options, assembly)


def _decode_answer(block: Block, options: ModbusOptions, assembly: Assembly) -> None:
    unit, function, third = block.bytes[:, 0], block.bytes[:, 1], block.bytes[:, 2]
    failed = function >= 0x80
    for row in np.flatnonzero(failed).tolist():
        code = int(third[row])
        detail = f"function {int(function[row]) & 0x7F}: exception {code}, {EXCEPTIONS.get(code, 'unknown')}"
        assembly.refuse([int(block.places[row])], "modbus_exception", detail)
    other = ~failed & (unit != options.unit) if options.unit is not None else np.zeros(len(unit), dtype=bool)
    assembly.refuse(block.places[other].tolist(), "invalid_frame", f"the answer is not one of unit {options.unit}")
    whole = np.isin(function, READS) & (third == block.length - 3)
    detail = "it is not an answer to a read of as many bytes as it says"
    assembly.refuse(block.places[~failed & ~other & ~whole].tolist(), "invalid_frame", detail)
    good = ~failed & ~other & whole
    bits = np.isin(function, (READ_COILS, READ_INPUTS))
    data = block.columns(3, block.length)
    if (good & bits).any():
        _decode_coils(data.rows(good & bits), options, assembly)
    if (good & ~bits).any():
        _decode_registers(data.rows(good & ~bits), options, assembly)


def _decode_registers(
    block: Block, options: ModbusOptions, assembly: Assembly, layout: Sequence[Placed] | None = None
) -> None:
    layout = layout or options.layout()
    needed = max(placed.end for placed in layout)
    if block.length < needed or block.length % 2:
        detail = f"{block.length} bytes are not whole registers up to the {needed} bytes that the fields take"
        return assembly.refuse(block.places.tolist(), "invalid_length", detail)
    return assembly.add(block, layout, options.time)


def _decode_coils(block: Block, options: ModbusOptions, assembly: Assembly) -> None:
    """Eight coils a byte, the lowest address in the lowest bit: each becomes a register of 0 or 1."""
    odd = [field for field in options.fields if field.type not in COIL_TYPES or field.bits not in (None, "0")]
    if odd:
        detail = f"the answer has coils, each 0 or 1, and the field {odd[0].name} is a {odd[0].type}"
        return assembly.refuse(block.places.tolist(), "invalid_frame", f"{detail}{' with bits' if odd[0].bits else ''}")
    coils = np.unpackbits(block.bytes, axis=1, bitorder="little")
    registers = np.zeros((len(coils), 2 * coils.shape[1]), dtype=np.uint8)
    registers[:, 1::2] = coils
    layout = [replace(placed, order=(0, 1)) for placed in options.layout()]
    return _decode_registers(Block(block.places, registers), options, assembly, layout)
