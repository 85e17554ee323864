"""Binary: a declared structure of numbers, its length and its checksum judged before anything is read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from sensor_platform.transformers.armour import Armour, bare
from sensor_platform.transformers.checksums import SIZES, Checksum, checksums
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

ByteOrder = Literal["big", "little"]


class BinaryField(NumberField):
    """A number of the structure. at: its first byte, counted from 0; left out: right after the field before it."""

    at: int | None = Field(None, ge=0)
    byte_order: ByteOrder | None = None


class ChecksumField(FormatOptions):
    """A checksum of the bytes from `start` to `stop` (not included); it stands at `at`. Negative: from the end."""

    type: Checksum
    at: int
    start: int = Field(0, ge=0)
    stop: int | None = None
    byte_order: ByteOrder = "big"


class BinaryOptions(FormatOptions):
    """The structure of a binary payload.

    length: its bytes; left out: up to the end of the last field. longer: true takes payloads with more bytes after it.
    armour: hex or base64 where the payload is text.
    """

    fields: tuple[BinaryField, ...] = Field(min_length=1)
    byte_order: ByteOrder = "big"
    length: int | None = Field(None, ge=1)
    longer: bool = False
    time: TimeField | None = None
    checksum: ChecksumField | None = None
    armour: Armour = "none"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        refuse_ambiguous(self.fields, self.time)
        if self.length is not None and self.length < max(placed.end for placed in self.layout):
            raise ValueError(f"length: {self.length} bytes, and a field ends after it")
        return self

    @property
    def layout(self) -> list[Placed]:
        """Where each field stands, and the order in which its bytes are read."""
        layout, after = [], 0
        for field in self.fields:
            order = tuple(range(field.size))
            little = (field.byte_order or self.byte_order) == "little"
            placed = Placed(field, after if field.at is None else field.at, order[::-1] if little else order)
            layout.append(placed)
            after = placed.end
        return layout

    @property
    def least_length(self) -> int:
        """Bytes that a payload must have: as declared, else up to the last field or checksum."""
        if self.length is not None:
            return self.length
        end = max(placed.end for placed in self.layout)
        return end if self.checksum is None or self.checksum.at < 0 else max(end, self.checksum.at + self.checksum_size)

    @property
    def checksum_size(self) -> int:
        return 0 if self.checksum is None else SIZES[self.checksum.type]


@transformer("binary", version="1", columns=True, options=BinaryOptions)
def decode_binary(column: PayloadColumn, route: "Route") -> Decoded:
    options = options_of(route, BinaryOptions)
    assembly = Assembly(column, allow_nan=route.allow_nan)
    payloads, readable = unarmoured(column, options.armour, assembly)
    for block in blocks(payloads, readable):
        if _has_length(block, options, assembly):
            _decode_block(block, options, assembly)
    return assembly.decoded()


def unarmoured(column: PayloadColumn, armour: Armour, assembly: Assembly) -> tuple[Sequence[bytes], list[int]]:
    """The bare bytes, and the places of those that could be read."""
    if armour == "none" and all(column.payloads):
        return column.payloads, list(range(len(column)))
    payloads, readable = list(column.payloads), []
    for place, payload in enumerate(column.payloads):
        try:
            payloads[place] = bare(payload, armour)
        except ValueError as err:
            assembly.refuse([place], "invalid_armour", str(err))
            continue
        if payloads[place]:
            readable.append(place)
        else:
            assembly.refuse([place], "empty_payload", "the payload has no bytes")
    return payloads, readable


def _has_length(block: Block, options: BinaryOptions, assembly: Assembly) -> bool:
    least = options.least_length
    # A checksum counted from the end stands after the fields, unless a length was declared.
    trailing = options.checksum is not None and options.checksum.at < 0 and options.length is None
    expected = least + (-options.checksum.at if trailing and options.checksum is not None else 0)
    if block.length == expected or (options.longer and block.length > expected):
        return True
    more = " or more" if options.longer else ""
    assembly.refuse(block.places.tolist(), "invalid_length", f"{block.length} bytes, not {expected}{more}")
    return False


def _decode_block(block: Block, options: BinaryOptions, assembly: Assembly) -> None:
    if options.checksum is not None:
        block = checked(block, options.checksum, assembly)
    assembly.add(block, options.layout, options.time)


def checked(block: Block, field: ChecksumField, assembly: Assembly) -> Block:
    """The messages whose checksum is right; the others are refused."""
    at = field.at % block.length
    stop = at if field.stop is None else field.stop % block.length if field.stop < 0 else field.stop
    size = SIZES[field.type]
    stated = block.bytes[:, at : at + size].astype(np.uint32)
    if field.byte_order == "little":
        stated = stated[:, ::-1]
    shifts = np.arange(8 * (stated.shape[1] - 1), -1, -8, dtype=np.uint32)
    found = checksums(field.type, block.bytes[:, field.start : stop])
    stated = np.bitwise_or.reduce(stated << shifts, axis=1) if stated.shape[1] else np.full(len(found), -1)
    right = found == stated
    for row in np.flatnonzero(~right).tolist():
        detail = f"{field.type}: the payload says {int(stated[row]):#x}, its bytes make {int(found[row]):#x}"
        assembly.refuse([int(block.places[row])], "checksum_mismatch", detail)
    return block.rows(right)
