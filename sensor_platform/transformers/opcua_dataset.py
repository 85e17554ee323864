"""A DataSetMessage of OPC UA PubSub in one form, whichever encoding it came in, and its way to readings.

Quality follows the two severity bits of a status (OPC 10000-4, 7.39), the worse of the field's and the message's. A
time of zero, as stacks write it that have none, is no time.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

from sensor_platform.transformers.contract import Quality
from sensor_platform.transformers.definitions import MAX_KEY_BYTES
from sensor_platform.transformers.leaves import MAX_DEPTH, NamesMade, RefusedValueError
from sensor_platform.transformers.numbers import is_storable, shown
from sensor_platform.transformers.times import ABSENT

Scalar = tuple[str, Any]
Source = Literal["publisher_id", "dataset_writer_id", "dataset_writer_name"]

#: Numbers of the built-in types (OPC 10000-6, 5.1.2).
TYPES = {
    "Boolean": 1, "SByte": 2, "Byte": 3, "Int16": 4, "UInt16": 5, "Int32": 6, "UInt32": 7, "Int64": 8, "UInt64": 9,
    "Float": 10, "Double": 11, "String": 12, "DateTime": 13, "Guid": 14, "ByteString": 15, "XmlElement": 16,
    "NodeId": 17, "ExpandedNodeId": 18, "StatusCode": 19, "QualifiedName": 20, "LocalizedText": 21,
    "ExtensionObject": 22, "DataValue": 23, "Variant": 24, "DiagnosticInfo": 25,
}  # fmt: skip
NAMES_OF_TYPES = {number: name for name, number in TYPES.items()}
#: Types that name or describe something and measure nothing: left out, as texts are.
LEFT_OUT = frozenset(
    TYPES[name]
    for name in ("Guid", "ByteString", "XmlElement", "NodeId", "ExpandedNodeId", "QualifiedName", "DiagnosticInfo")
)
TEXTS = frozenset(TYPES[name] for name in ("String", "DateTime", "LocalizedText"))
GOOD = 0
_ENCODINGS = frozenset({"json", "uadp"})
_MESSAGE_TYPES = frozenset({"data", "metadata", "status", "connection", "application", "endpoints"})
_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_ZERO_TIMES = ("0001-01-01T00:00:00", "1601-01-01T00:00:00")


class Words(str):
    """A text that is of a type of texts: never the way in which a number is written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Stands for a value that is there and cannot be read."""

    reason: str


@dataclass(frozen=True, slots=True)
class Field:
    """value: a number, boolean, text, None, or lists and objects of them. time: raw, ABSENT where it says none.

    refused: why it is no reading, though its neighbours may be. unit: what metadata says.
    """

    name: str
    value: Any
    status: int = GOOD
    time: Any = ABSENT
    type: int | None = None
    refused: RefusedValueError | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class DataSetMessage:
    """What one DataSetWriter says at once."""

    fields: tuple[Field, ...] = ()
    publisher_id: str | None = None
    dataset_writer_id: str | None = None
    dataset_writer_name: str | None = None
    time: Any = ABSENT
    status: int = GOOD
    is_keep_alive: bool = False
    major_version: int = 0

    def named_by(self, source: Source) -> str | None:
        """An id or the name; the id of a writer that has no name."""
        if source == "publisher_id":
            return self.publisher_id
        return (self.dataset_writer_name if source == "dataset_writer_name" else None) or self.dataset_writer_id


@dataclass(frozen=True, slots=True)
class NamedField:
    """A field of metadata: its name, and the number of its built-in type where that is known.

    dimensions: the most elements of each, 0 where any number may come; empty where nothing is said of them.
    max_length: bytes up to which raw texts are filled, 0 where they are not.
    """

    name: str
    type: int | None = None
    is_array: bool = False
    unit: str | None = None
    dimensions: tuple[int, ...] = ()
    max_length: int = 0

    @property
    def content(self) -> list[Any]:
        """As a definition holds it: what few fields have stands last, in an object that is left out without it."""
        about = {"unit": self.unit, "dimensions": list(self.dimensions), "max_length": self.max_length}
        more = {name: said for name, said in about.items() if said}
        return [self.name, self.type, self.is_array, *([more] if more else [])]

    @classmethod
    def of_content(cls, content: list[Any]) -> "NamedField":
        """As `content` made it."""
        name, kind, is_array, *more = content
        about = more[0] if more else {}
        dimensions = tuple(about.get("dimensions", ()))
        return cls(name, kind, is_array, about.get("unit"), dimensions, about.get("max_length", 0))


@dataclass(frozen=True)
class DataSetMetaData:
    """What a publisher says of the fields of one of its DataSetWriters."""

    publisher_id: str | None = None
    dataset_writer_id: str | None = None
    name: str | None = None
    major_version: int = 0
    fields: tuple[NamedField, ...] = ()

    @property
    def content(self) -> dict[str, Any]:
        """As a definition holds it."""
        fields = [field.content for field in self.fields]
        return {"name": self.name, "major_version": self.major_version, "fields": fields}

    @classmethod
    def of_content(cls, content: dict[str, Any]) -> "DataSetMetaData":
        """As `content` made it."""
        return cls(
            name=content["name"],
            major_version=content["major_version"],
            fields=tuple(map(NamedField.of_content, content["fields"])),
        )

    @cached_property
    def by_name(self) -> dict[str, NamedField]:
        return {field.name: field for field in self.fields}

    def is_of(self, major_version: int) -> bool:
        """Whether it is about messages of this version; 0 is none, and any. Others may have other fields and units."""
        return not major_version or not self.major_version or major_version == self.major_version


def plant_of(topic: str, work_unit: str) -> str:
    """Within which ids of publishers and writers mean one thing: metadata and data of a publisher have it in common.

    The levels before `json/data`, `uadp/metadata`, ... where the topic is one of the specification, else the
    work unit.
    """
    levels = topic.split("/")
    for place, (encoding, kind) in enumerate(pairwise(levels)):
        if encoding in _ENCODINGS and kind in _MESSAGE_TYPES:
            return "/".join(levels[:place])
    return work_unit


def definition_key(plant: str, publisher_id: str | None, dataset_writer_id: str | None) -> str | None:
    """Whom metadata concerns; None where the message does not say it, or says what no key can hold.

    An array in JSON: all three may hold any character.
    """
    if publisher_id is None or dataset_writer_id is None or not is_storable(plant + publisher_id + dataset_writer_id):
        return None
    key = json.dumps([plant, publisher_id, dataset_writer_id], ensure_ascii=False)
    return key if len(key.encode()) <= MAX_KEY_BYTES else None


def severity(status: int) -> Quality:
    """The two highest bits: good, uncertain, bad; the fourth value is reserved, and no good sign."""
    return (Quality.GOOD, Quality.UNCERTAIN, Quality.BAD, Quality.BAD)[status >> 30]


def time_or_absent(raw: Any) -> Any:
    """A time as it stands in JSON; null and the zero times of stacks are none."""
    return ABSENT if raw is None or (type(raw) is str and raw.startswith(_ZERO_TIMES)) else raw


def scalars(name: str, raw: Any, names: NamesMade, kind: int | None = None, depth: int = 0) -> Iterator[Scalar]:
    """The numbers, booleans and texts of a value by metric: `name`, `name.0` of an array, `name.x` of a structure."""
    if depth > MAX_DEPTH:
        raise RefusedValueError("too_deep", f"nested deeper than {MAX_DEPTH} levels at {shown(name)}")
    if raw is None or kind in LEFT_OUT:
        return
    if type(raw) is Unsupported:
        raise RefusedValueError("unsupported_type", f"{shown(name)}: {raw.reason}")
    if type(raw) is dict:
        yield from _of_object(name, raw, names, depth)
    elif type(raw) is list:
        for place, element in enumerate(raw):
            if element is None:
                continue  # before a name is made of it
            yield from scalars(names.made(f"{name}.{place}"), element, names, kind, depth + 1)
    else:
        yield name, _scalar(raw, kind)


def _scalar(raw: Any, kind: int | None) -> Any:
    if type(raw) is not str:
        return raw
    return Words(raw) if kind in TEXTS else _NOT_FINITE.get(raw, raw)


def _of_object(name: str, raw: dict[str, Any], names: NamesMade, depth: int) -> Iterator[Scalar]:
    if is_variant(raw):
        yield from scalars(name, raw.get("Body", raw.get("Value")), names, variant_type(raw), depth + 1)
    elif raw.keys() <= {"Locale", "Text"}:  # a LocalizedText
        yield from scalars(name, raw.get("Text"), names, TYPES["LocalizedText"], depth + 1)
    elif "TypeId" in raw or "UaTypeId" in raw:  # an ExtensionObject; from 1.05 on its fields stand beside the type
        body = raw.get("Body", {key: entry for key, entry in raw.items() if not key.startswith(("UaType", "TypeId"))})
        yield from scalars(name, body if type(body) in (dict, list) else None, names, None, depth + 1)
    else:
        for key, entry in raw.items():
            yield from scalars(names.made(f"{name}.{key}"), entry, names, None, depth + 1)


def is_variant(raw: dict[str, Any]) -> bool:
    """`{Type, Body}` of 1.04 or `{UaType, Value}` of 1.05, with the dimensions of a matrix."""
    return ("Body" in raw and raw.keys() <= {"Type", "Body", "Dimensions"}) or (
        "UaType" in raw and raw.keys() <= {"UaType", "Value", "Dimensions"}
    )


def variant_type(raw: dict[str, Any]) -> int | None:
    kind = raw.get("Type", raw.get("UaType"))
    return kind if type(kind) is int else TYPES.get(kind) if type(kind) is str else None
