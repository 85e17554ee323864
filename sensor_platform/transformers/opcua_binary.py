"""OPC UA's built-in types in binary (OPC 10000-6, 5.2), as values of JSON: numbers, booleans, texts, lists.

Written here, with asyncua as the oracle of its tests (decision 8). Everything is bounded by the bytes that are there.
"""

import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sensor_platform.transformers.leaves import MAX_DEPTH, RefusedValueError
from sensor_platform.transformers.opcua_dataset import GOOD, NAMES_OF_TYPES, TYPES, Field, Unsupported
from sensor_platform.transformers.table import MAX_METRICS
from sensor_platform.transformers.times import ABSENT, Microseconds

INVALID = "invalid_network_message"
#: Formats of the types of a fixed size that are numbers.
NUMBERS = {
    1: "?", 2: "b", 3: "B", 4: "h", 5: "H", 6: "i", 7: "I", 8: "q", 9: "Q", 10: "f", 11: "d", 19: "I",
}  # fmt: skip
_HUNDRED_NANOSECONDS_TO_1970 = 116_444_736_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Reader:
    """Reads on from a place in bytes. What is not there raises RefusedValueError."""

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self._data = data
        self.at = at
        self.end = len(data) if end is None else end
        self._elements = 0

    @property
    def left(self) -> int:
        return self.end - self.at

    def take(self, size: int) -> bytes:
        """The next bytes."""
        if not 0 <= size <= self.left:
            raise RefusedValueError(INVALID, f"byte {self.at}: {size} bytes are to follow, {self.left} do")
        self.at += size
        return self._data[self.at - size : self.at]

    def between(self, start: int, end: int) -> "Reader":
        """Another one, of what was read already."""
        return Reader(self._data, start, end)

    def number(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def numbers(self, code: str, count: int) -> list[Any]:
        return list(struct.unpack(f"<{count}{code}", self.take(count * struct.calcsize(f"<{code}"))))

    def length(self) -> int:
        """Of a text or an array; -1, which is null, is 0."""
        length = int(self.number("i"))
        if length < -1:
            raise RefusedValueError(INVALID, f"byte {self.at}: there is no length {length}")
        return max(length, 0)

    def expect_elements(self, count: int) -> None:
        """Elements that are read one by one. Of nulls and empty texts, megabytes hold more than there is time for."""
        self._elements += count
        if self._elements > MAX_METRICS:
            raise RefusedValueError("too_many_metrics", f"arrays have more than {MAX_METRICS} elements")

    def text(self) -> str:
        # Surrogates stand for bytes that are not UTF-8: such a text is refused as one that cannot be stored.
        return self.take(self.length()).decode("utf-8", "surrogateescape")

    def time(self) -> Any:
        """Microseconds since 1970; ABSENT for 0, which is no time."""
        ticks = self.number("q")
        return Microseconds((ticks - _HUNDRED_NANOSECONDS_TO_1970) // 10) if ticks > 0 else ABSENT

    def identifier(self) -> None:
        """A NodeId or an ExpandedNodeId, read over."""
        encoding = self.number("B")
        kind = encoding & 0x3F
        if kind in (3, 5):
            self.take(2)
            self.take(self.length())
        elif kind in (0, 1, 2, 4):
            self.take({0: 1, 1: 3, 2: 6, 4: 18}[kind])
        else:
            raise RefusedValueError(INVALID, f"byte {self.at}: there is no NodeId of kind {kind}")
        if encoding & 0x80:
            self.text()
        if encoding & 0x40:
            self.take(4)


def read_variant(reader: Reader, depth: int = 0) -> tuple[Any, int | None]:
    """The value, and the number of its built-in type; None for a null."""
    if depth > MAX_DEPTH:
        raise RefusedValueError("too_deep", f"nested deeper than {MAX_DEPTH} levels")
    encoding = reader.number("B")
    kind = encoding & 0x3F
    if kind > max(TYPES.values()):
        raise RefusedValueError(INVALID, f"byte {reader.at}: there is no built-in type {kind}")
    value = read_array(reader, kind, depth) if encoding & 0x80 else read_value(reader, kind, depth)
    if encoding & 0x40:  # the sizes of a matrix, whose elements stand row by row
        reader.numbers("i", reader.length())
    return value, kind or None


def read_array(reader: Reader, kind: int, depth: int = 0) -> list[Any]:
    """Elements of one built-in type, `kind`; of nulls, which take no bytes, none."""
    count = reader.length()
    if kind in NUMBERS:
        return reader.numbers(NUMBERS[kind], count)
    if kind == 0:  # nulls take no bytes: five bytes may claim any number of them
        return []
    reader.expect_elements(count)
    return [read_value(reader, kind, depth) for _ in range(count)]


def read_value(reader: Reader, kind: int, depth: int = 0) -> Any:
    """A value of a built-in type; None of those that have no value to tell."""
    if kind in NUMBERS:
        return reader.number(NUMBERS[kind])
    read = _OTHERS.get(kind)
    if read is not None:
        return read(reader)
    if kind == TYPES["Variant"]:
        return read_variant(reader, depth + 1)[0]
    if kind == TYPES["DataValue"]:
        return read_data_value(reader, "", depth + 1).value
    if kind == TYPES["DiagnosticInfo"]:
        return _diagnostic_info(reader, depth + 1)
    return None


def read_data_value(reader: Reader, name: str, depth: int = 0) -> Field:
    """A field with its status and source time; picoseconds and the server's time are passed over."""
    mask = reader.number("B")
    value, kind = read_variant(reader, depth) if mask & 0x01 else (None, None)
    status = reader.number("I") if mask & 0x02 else GOOD
    time = reader.time() if mask & 0x04 else ABSENT
    reader.take(2 if mask & 0x10 else 0)  # picoseconds
    reader.take((8 if mask & 0x08 else 0) + (2 if mask & 0x20 else 0))  # the server's time
    return Field(name, value, status, time, kind)


def _date(reader: Reader) -> str | None:
    time = reader.time()
    try:
        return None if time is ABSENT else (_EPOCH + timedelta(microseconds=time)).isoformat()
    except OverflowError:  # the greatest number stands for "never"
        return None


def _guid(reader: Reader) -> None:
    reader.take(16)


def _bytes(reader: Reader) -> None:
    reader.take(reader.length())


def _localized_text(reader: Reader) -> str | None:
    mask = reader.number("B")
    if mask & 1:
        reader.text()
    return reader.text() if mask & 2 else None


def _qualified_name(reader: Reader) -> None:
    reader.take(2)
    reader.text()


def _structure(reader: Reader) -> Any:
    """An ExtensionObject: its fields are only known to who knows its type."""
    reader.identifier()
    if reader.number("B"):
        reader.take(reader.length())
        return Unsupported("a structure is not read from UADP: let the publisher send its fields one by one")
    return None


def _diagnostic_info(reader: Reader, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise RefusedValueError("too_deep", f"nested deeper than {MAX_DEPTH} levels")
    mask = reader.number("B")
    reader.take(4 * (mask & 0x0F).bit_count())
    if mask & 0x10:
        reader.text()
    reader.take(4 if mask & 0x20 else 0)
    if mask & 0x40:
        _diagnostic_info(reader, depth + 1)


_OTHERS: dict[int, Callable[[Reader], Any]] = {
    TYPES["String"]: Reader.text,
    TYPES["DateTime"]: _date,
    TYPES["Guid"]: _guid,
    TYPES["ByteString"]: _bytes,
    TYPES["XmlElement"]: _bytes,
    TYPES["NodeId"]: Reader.identifier,
    TYPES["ExpandedNodeId"]: Reader.identifier,
    TYPES["QualifiedName"]: _qualified_name,
    TYPES["LocalizedText"]: _localized_text,
    TYPES["ExtensionObject"]: _structure,
}


def type_name(kind: int | None) -> str:
    return NAMES_OF_TYPES.get(kind or 0, "unknown")
