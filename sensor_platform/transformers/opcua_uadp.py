"""OPC UA PubSub in UADP (OPC 10000-14, 7.2.4): the headers of a network message, and the DataSetMessages in it.

Frames that are signed, encrypted or in chunks are refused by their flags, before anything is read of them; bytes that
are left over are refused as well: half a message read well is a message misread.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sensor_platform.transformers.leaves import RefusedValueError
from sensor_platform.transformers.opcua_binary import INVALID, Reader, read_data_value, read_variant
from sensor_platform.transformers.opcua_dataset import (
    GOOD,
    DataSetMessage,
    DataSetMetaData,
    Field,
    definition_key,
)
from sensor_platform.transformers.opcua_json import Control, Said
from sensor_platform.transformers.opcua_metadata import read_metadata
from sensor_platform.transformers.opcua_raw import read_raw
from sensor_platform.transformers.times import ABSENT

VERSION = 1
VARIANT, RAW, DATA_VALUE = 0, 1, 2
KEY_FRAME, DELTA_FRAME, EVENT, KEEP_ALIVE = 0, 1, 2, 3
DATA, PROBE, ANNOUNCEMENT = 0, 1, 2
METADATA = 2
_PUBLISHER_ID = {0: "B", 1: "H", 2: "I", 3: "Q"}

#: What is known of the fields of (publisher, writer).
Known = Callable[[str | None, str | None], DataSetMetaData | None]


@dataclass(frozen=True, slots=True)
class _Header:
    """writers: of each DataSetMessage; empty without a payload header."""

    publisher_id: str | None
    writers: tuple[int, ...]
    time: Any
    kind: int


def read_uadp(payload: bytes, known: Known, *, number_unnamed: bool = False) -> Iterator[Said | RefusedValueError]:
    """What a payload says. A DataSetMessage that cannot be read is its refusal; its neighbours stand.

    Args:
        number_unnamed: fields whose names are not known are called `field_0`, `field_1`; otherwise they are refused.

    Raises:
        RefusedValueError: the payload is no network message, or of a kind that is not read.
    """
    reader = Reader(payload)
    header = _header(reader)
    if header.kind == ANNOUNCEMENT:
        yield _announcement(reader, header)
    elif header.kind == PROBE:
        yield Control("discovery probe")
    else:
        for writer, part in _parts(reader, header.writers, payload):
            try:
                yield _dataset_message(part, header, writer, known(header.publisher_id, writer), number_unnamed)
            except RefusedValueError as refused:
                if len(header.writers) < 2:
                    raise
                yield refused


def keys_of(payload: bytes, plant: str) -> list[str]:
    """Whose metadata is needed to read a payload of `plant`."""
    try:
        header = _header(Reader(payload))
    except RefusedValueError:
        return []
    keys = [definition_key(plant, header.publisher_id, str(writer)) for writer in header.writers]
    return [key for key in keys if key is not None]


def _header(reader: Reader) -> _Header:
    flags = reader.number("B")
    if flags & 0x0F != VERSION:
        raise RefusedValueError(INVALID, f"UADP of version {flags & 0x0F}, not {VERSION}")
    extended1 = reader.number("B") if flags & 0x80 else 0
    extended2 = reader.number("B") if extended1 & 0x80 else 0
    if extended1 & 0x10:
        raise RefusedValueError("secured_message", "the network message has a security header: it is signed, encrypted")
    if extended2 & 0x01:
        raise RefusedValueError("chunked_message", "the network message is a chunk of a larger one")
    kind = extended2 >> 2 & 0x07
    if kind > ANNOUNCEMENT or extended2 & 0xE0:
        raise RefusedValueError(INVALID, f"there is no network message with the extended flags {extended2:#04x}")
    publisher = _publisher_id(reader, extended1 & 0x07) if flags & 0x10 else None
    if extended1 & 0x08:
        reader.take(16)  # the class of the data set
    if flags & 0x20:
        group = reader.number("B")
        reader.take(sum(size for bit, size in ((1, 2), (2, 4), (4, 2), (8, 2)) if group & bit))
    writers = tuple(reader.numbers("H", reader.number("B"))) if flags & 0x40 and kind == DATA else ()
    if flags & 0x40 and kind == DATA and not writers:
        raise RefusedValueError(INVALID, "the payload header names no DataSetMessage")
    time = reader.time() if extended1 & 0x20 else ABSENT
    reader.take(2 if extended1 & 0x40 else 0)  # picoseconds
    if extended2 & 0x02:
        reader.take(reader.number("H"))  # promoted fields: they are in the DataSetMessage as well
    return _Header(publisher, writers, time, kind)


def _publisher_id(reader: Reader, kind: int) -> str | None:
    if kind == 4:
        return reader.text() or None
    if kind not in _PUBLISHER_ID:
        raise RefusedValueError(INVALID, f"there is no type {kind} of a PublisherId")
    return str(reader.number(_PUBLISHER_ID[kind]))


def _announcement(reader: Reader, header: _Header) -> Said:
    kind = reader.number("B")
    reader.take(2)  # its sequence number
    if kind != METADATA:
        return Control("discovery announcement")
    writer = str(reader.number("H"))
    return read_metadata(reader, header.publisher_id, writer)


def _parts(reader: Reader, writers: tuple[int, ...], payload: bytes) -> Iterator[tuple[str | None, Reader]]:
    """Each DataSetMessage with its writer. The sizes are there where there are several."""
    if len(writers) < 2:
        yield (str(writers[0]) if writers else None), reader
        return
    sizes = reader.numbers("H", len(writers))
    if sum(sizes) != reader.left:
        raise RefusedValueError(INVALID, f"DataSetMessages of {sum(sizes)} bytes are to follow, {reader.left} do")
    for writer, size in zip(writers, sizes, strict=True):
        yield str(writer), Reader(payload, reader.at, reader.at + size)
        reader.take(size)


def _dataset_message(
    reader: Reader, header: _Header, writer: str | None, about: DataSetMetaData | None, number_unnamed: bool
) -> DataSetMessage:
    flags1 = reader.number("B")
    flags2 = reader.number("B") if flags1 & 0x80 else 0
    encoding, kind = flags1 >> 1 & 3, flags2 & 0x0F
    if not flags1 & 1:
        raise RefusedValueError(INVALID, "the publisher says that the DataSetMessage is not valid")
    if encoding > DATA_VALUE or kind > KEEP_ALIVE:
        raise RefusedValueError(INVALID, f"there is no DataSetMessage with the flags {flags1:#04x} {flags2:#04x}")
    reader.take(2 if flags1 & 0x08 else 0)  # its sequence number
    time = reader.time() if flags2 & 0x10 else ABSENT
    reader.take(2 if flags2 & 0x20 else 0)  # picoseconds
    status = reader.number("H") << 16 if flags1 & 0x10 else GOOD
    major = reader.number("I") if flags1 & 0x20 else 0
    reader.take(4 if flags1 & 0x40 else 0)  # the minor version changes no field
    if about is not None and not about.is_of(major):
        about = None  # its names may be those of other fields
    fields = () if kind == KEEP_ALIVE else tuple(_fields(reader, encoding, kind, about, number_unnamed))
    if any(reader.take(reader.left)):  # zeros fill up to a configured size
        raise RefusedValueError(INVALID, "bytes are left over after the fields of a DataSetMessage")
    return DataSetMessage(
        fields=fields,
        publisher_id=header.publisher_id,
        dataset_writer_id=writer,
        dataset_writer_name=None if about is None else about.name,
        time=header.time if time is ABSENT else time,
        status=status,
        is_keep_alive=kind == KEEP_ALIVE,
        major_version=major,
    )


def _fields(
    reader: Reader, encoding: int, kind: int, about: DataSetMetaData | None, number_unnamed: bool
) -> Iterator[Field]:
    names = () if about is None else tuple(named.name for named in about.fields)
    if encoding == RAW:
        yield from _raw_fields(reader, kind, about)
        return
    count = reader.number("H")
    if names and count != len(names) and kind != DELTA_FRAME and not number_unnamed:
        detail = f"the DataSetMessage has {count} fields, and {len(names)} are named: which are which is not known"
        raise RefusedValueError("unknown_metadata", detail)
    if count < len(names) and kind != DELTA_FRAME:
        names = ()  # one is gone: whichever it is, names in order would be those of other fields
    for place in range(count):
        number = reader.number("H") if kind == DELTA_FRAME else place
        if number >= len(names) and not number_unnamed:
            raise RefusedValueError("unknown_metadata", f"nothing says what the field {number} is called: see `fields`")
        name = names[number] if number < len(names) else f"field_{number}"
        if encoding == DATA_VALUE:
            yield read_data_value(reader, name)
        else:
            value, type_ = read_variant(reader)
            yield Field(name, value, type=type_)


def _raw_fields(reader: Reader, kind: int, about: DataSetMetaData | None) -> Iterator[Field]:
    """Bytes without types: only the metadata says what they are."""
    if about is None or kind == DELTA_FRAME:
        raise RefusedValueError("unknown_metadata", "raw fields, and nothing says which: give `fields` with types")
    for named in about.fields:
        yield Field(named.name, read_raw(reader, named), type=named.type)
