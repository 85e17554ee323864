"""Checksums over columns of payloads: a step a byte position for all messages together, not a call a message.

Where there are few messages such a step costs more than it saves, the more so the longer they are: those go byte by
byte in plain Python.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import numpy as np

Checksum = Literal["sum8", "xor8", "crc8", "crc16-modbus", "crc16-ccitt-false", "crc32"]

#: Bytes that each takes in the payload.
SIZES: dict[Checksum, int] = {
    "sum8": 1,
    "xor8": 1,
    "crc8": 1,
    "crc16-modbus": 2,
    "crc16-ccitt-false": 2,
    "crc32": 4,
}


#: A step over a column takes as long as one of plain Python over so many messages.
FEW_MESSAGES = 64


def checksums(kind: Checksum, data: np.ndarray) -> np.ndarray:
    """The checksum of each row of `data` (uint8, one row a message), as uint32."""
    return _CALCULATIONS[kind](data)


@lru_cache
def _table(polynomial: int, width: int, *, reflected: bool) -> np.ndarray:
    """What a byte does to the register of a CRC."""
    entries = []
    for byte in range(256):
        register = byte if reflected else byte << (width - 8)
        for _ in range(8):
            if reflected:
                register = (register >> 1) ^ (polynomial if register & 1 else 0)
            else:
                register = (register << 1) ^ (polynomial if register >> (width - 1) & 1 else 0)
        entries.append(register & (2**width - 1))
    return np.array(entries, dtype=np.uint32)


def _reflected(data: np.ndarray, polynomial: int, width: int, *, start: int, last: int) -> np.ndarray:
    table = _table(polynomial, width, reflected=True)
    if len(data) < FEW_MESSAGES:
        entries = table.tolist()
        return np.array([_reflected_row(row.tobytes(), entries, start) ^ last for row in data], dtype=np.uint32)
    register = np.full(len(data), start, dtype=np.uint32)
    for byte in data.T:
        register = (register >> np.uint32(8)) ^ table[(register ^ byte) & np.uint32(0xFF)]
    return np.asarray(register ^ np.uint32(last))


def _straight(data: np.ndarray, polynomial: int, width: int, *, start: int) -> np.ndarray:
    table = _table(polynomial, width, reflected=False)
    if len(data) < FEW_MESSAGES:
        entries = table.tolist()
        return np.array([_straight_row(row.tobytes(), entries, width, start) for row in data], dtype=np.uint32)
    shift, mask = np.uint32(width - 8), np.uint32(2**width - 1)
    register = np.full(len(data), start, dtype=np.uint32)
    for byte in data.T:
        register = ((register << np.uint32(8)) & mask) ^ table[((register >> shift) ^ byte) & np.uint32(0xFF)]
    return register


def _reflected_row(row: bytes, entries: list[int], register: int) -> int:
    for byte in row:
        register = (register >> 8) ^ entries[(register ^ byte) & 0xFF]
    return register


def _straight_row(row: bytes, entries: list[int], width: int, register: int) -> int:
    shift, mask = width - 8, 2**width - 1
    for byte in row:
        register = ((register << 8) & mask) ^ entries[(register >> shift) ^ byte]
    return register


# Polynomials and starts as in the catalogue of parametrised CRC algorithms (CRC RevEng).
_CALCULATIONS: dict[Checksum, Callable[[np.ndarray], np.ndarray]] = {
    "sum8": lambda data: data.sum(axis=1, dtype=np.uint32) & np.uint32(0xFF),
    "xor8": lambda data: np.bitwise_xor.reduce(data, axis=1).astype(np.uint32),
    "crc8": lambda data: _straight(data, 0x07, 8, start=0),
    "crc16-modbus": lambda data: _reflected(data, 0xA001, 16, start=0xFFFF, last=0),
    "crc16-ccitt-false": lambda data: _straight(data, 0x1021, 16, start=0xFFFF),
    "crc32": lambda data: _reflected(data, 0xEDB88320, 32, start=0xFFFFFFFF, last=0xFFFFFFFF),
}
