"""OPC UA PubSub in JSON (OPC 10000-14, 7.2.5): network messages in every layout of the specification.

With and without the headers of network message and DataSetMessage, one DataSetMessage or an array; fields as raw
values, Variants or DataValues, told apart by their names. Also OPC Publisher's samples, `{NodeId, DisplayName, Value}`.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sensor_platform.transformers.leaves import MAX_DEPTH, RefusedValueError
from sensor_platform.transformers.numbers import shown
from sensor_platform.transformers.opcua_dataset import (
    GOOD,
    TYPES,
    DataSetMessage,
    DataSetMetaData,
    Field,
    NamedField,
    is_variant,
    time_or_absent,
    variant_type,
)
from sensor_platform.transformers.opcua_units import ENGINEERING_UNITS, unit_of
from sensor_platform.transformers.times import ABSENT

Object = dict[str, Any]

INVALID = "invalid_network_message"
_DATA = ("ua-data", "ua-keyframe", "ua-deltaframe", "ua-event", "ua-keepalive")
_NETWORK_HEADER = {"MessageId", "MessageType", "PublisherId", "DataSetClassId", "WriterGroupName", "ReplyTo"}
_DATASET_HEADER = {
    "DataSetWriterId", "DataSetWriterName", "Name", "PublisherId", "WriterGroupName", "SequenceNumber",
    "MetaDataVersion", "MinorVersion", "Timestamp", "Status", "MessageType",
}  # fmt: skip
_DATA_VALUE = {
    "Value", "Status", "StatusCode", "SourceTimestamp", "SourcePicoseconds", "SourcePicoSeconds", "ServerTimestamp",
    "ServerPicoseconds", "ServerPicoSeconds", "UaType", "Dimensions",
}  # fmt: skip
_SEVERITIES = {"good": GOOD, "uncertain": 1 << 30, "bad": 2 << 30}


@dataclass(frozen=True, slots=True)
class Control:
    """A message that is about the publisher and carries no values: its status, its connection, its endpoints."""

    kind: str


Said = DataSetMessage | DataSetMetaData | Control


def read_json(document: Any, depth: int = 0) -> Iterator[Said | RefusedValueError]:
    """What a document says. A DataSetMessage whose status is none is its refusal; its neighbours stand.

    Raises RefusedValueError where the document is no message of OPC UA PubSub.
    """
    if type(document) is list and depth <= MAX_DEPTH:
        for element in document:
            yield from read_json(element, depth + 1)
        return
    if type(document) is not dict:
        raise RefusedValueError(INVALID, f"{shown(document)} is neither an object nor an array of objects")
    kind = document.get("MessageType")
    if kind == "ua-metadata":
        yield _metadata(document)
    elif type(kind) is str and kind.startswith("ua-") and kind not in _DATA:
        yield Control(kind)
    elif "Messages" in document:
        yield from _network_message(document)
    elif document.keys() >= {"NodeId", "Value"}:
        yield _or_refusal(_sample, document)
    elif "MessageId" in document and document.keys() <= _NETWORK_HEADER:
        raise RefusedValueError(INVALID, "a network message without Messages")
    else:
        yield _or_refusal(_dataset_message, document)


def _or_refusal(read: Callable[[Object], DataSetMessage], document: Object) -> DataSetMessage | RefusedValueError:
    """Raises RefusedValueError where `document` is no DataSetMessage at all."""
    try:
        return read(document)
    except RefusedValueError as refused:
        if refused.code == INVALID:
            raise
        return refused


def _network_message(document: Object) -> Iterator[DataSetMessage | RefusedValueError]:
    messages = document["Messages"]
    messages = [messages] if type(messages) is dict else messages
    if type(messages) is not list:
        raise RefusedValueError(INVALID, f"Messages is {shown(messages)}, not an array")
    for element in messages:
        if type(element) is not dict:
            raise RefusedValueError(INVALID, f"a DataSetMessage is {shown(element)}, not an object")
        message = _or_refusal(_dataset_message, element)
        if isinstance(message, RefusedValueError):
            yield message
            continue
        yield replace(
            message,
            publisher_id=message.publisher_id or _identifier(document, "PublisherId"),
            dataset_writer_id=message.dataset_writer_id or _identifier(document, "DataSetWriterId"),
            time=time_or_absent(document.get("Timestamp")) if message.time is ABSENT else message.time,
        )


def _dataset_message(document: Object) -> DataSetMessage:
    if "Payload" not in document and not (document and document.keys() <= _DATASET_HEADER):
        return DataSetMessage(fields=_fields(document))  # without a header the message is its payload
    payload = document.get("Payload")
    if payload is not None and type(payload) is not dict:
        raise RefusedValueError(INVALID, f"Payload is {shown(payload)}, not an object")
    kind = document.get("MessageType")
    return DataSetMessage(
        fields=_fields(payload or {}),
        publisher_id=_identifier(document, "PublisherId"),
        dataset_writer_id=_identifier(document, "DataSetWriterId"),
        dataset_writer_name=_identifier(document, "DataSetWriterName") or _identifier(document, "Name"),
        time=time_or_absent(document.get("Timestamp")),
        status=_status(document.get("Status")),
        is_keep_alive=kind == "ua-keepalive" or (kind is None and "Payload" not in document),
        major_version=_major_version(document.get("MetaDataVersion")),
    )


def _sample(document: Object) -> DataSetMessage:
    name = document.get("DisplayName") or document["NodeId"]
    if type(name) is not str:
        raise RefusedValueError("invalid_metric", f"the DisplayName {shown(name)} is not a string")
    return DataSetMessage(
        fields=(_field(name, document["Value"]),),
        publisher_id=_identifier(document, "ApplicationUri"),
        dataset_writer_id=_identifier(document, "DataSetWriterId"),
        dataset_writer_name=_identifier(document, "NodeId"),
        time=time_or_absent(document.get("Timestamp")),
        status=_status(document.get("StatusCode", document.get("Status"))),
    )


def _fields(payload: Object) -> tuple[Field, ...]:
    return tuple(_field(name, raw) for name, raw in payload.items())


def _field(name: str, raw: Any) -> Field:
    if type(raw) is not dict or not raw or is_variant(raw) or not raw.keys() <= _DATA_VALUE:
        return Field(name, raw)
    try:
        status = _status(raw.get("StatusCode", raw.get("Status")))
    except RefusedValueError as refused:
        detail = f"{shown(name)}: {refused.detail}"
        return Field(name, raw.get("Value"), refused=RefusedValueError(refused.code, detail))
    return Field(name, raw.get("Value"), status, time_or_absent(raw.get("SourceTimestamp")), variant_type(raw))


def _status(raw: Any) -> int:
    """The StatusCode of a number, of `{Code, Symbol}`, or of a symbol alone; absent is good."""
    if type(raw) is dict:
        raw = raw.get("Code", raw.get("Symbol"))
    if raw is None:
        return GOOD
    if type(raw) is int and 0 <= raw < 2**32:
        return raw
    known = [code for word, code in _SEVERITIES.items() if type(raw) is str and raw.lower().startswith(word)]
    if not known:
        raise RefusedValueError("invalid_quality", f"{shown(raw)} is not a status of OPC UA")
    return known[0]


def _metadata(document: Object) -> DataSetMetaData:
    described = document.get("MetaData")
    fields = described.get("Fields") if type(described) is dict else None
    if type(described) is not dict or type(fields) is not list or not all(type(each) is dict for each in fields):
        raise RefusedValueError(INVALID, "ua-metadata without MetaData that lists its Fields")
    return DataSetMetaData(
        publisher_id=_identifier(document, "PublisherId"),
        dataset_writer_id=_identifier(document, "DataSetWriterId"),
        name=_identifier(document, "DataSetWriterName") or _identifier(described, "Name"),
        major_version=_major_version(described.get("ConfigurationVersion")),
        fields=tuple(_named_field(each) for each in fields),
    )


def _major_version(raw: Any) -> int:
    """0 where none is said."""
    major = raw.get("MajorVersion") if type(raw) is dict else None
    return major if type(major) is int else 0


def _named_field(described: Object) -> NamedField:
    name, kind = described.get("Name"), described.get("BuiltInType")
    if type(name) is not str:
        raise RefusedValueError(INVALID, f"a field of MetaData is called {shown(name)}")
    kind = TYPES.get(kind) if type(kind) is str else kind
    sizes = described.get("ArrayDimensions")
    return NamedField(
        name,
        kind if type(kind) is int else None,
        is_array=described.get("ValueRank", -1) not in (-1, None),
        unit=_unit(described.get("Properties")),
        dimensions=tuple(map(_count, sizes)) if type(sizes) is list else (),
        max_length=_count(described.get("MaxStringLength")),
    )


def _count(raw: Any) -> int:
    """0 where nothing is said that is one."""
    return raw if type(raw) is int and 0 <= raw < 2**32 else 0


def _unit(properties: Any) -> str | None:
    """The EngineeringUnits among the Properties of a field. What cannot be read is no unit."""
    for each in properties if type(properties) is list else ():
        key = each.get("Key") if type(each) is dict else None
        name = key.get("Name") if type(key) is dict else key
        # A QualifiedName is an object, or since 1.05 a text with its namespace: `0:...`, `nsu=...;...`.
        if type(name) is str and re.split("[:;]", name)[-1] == ENGINEERING_UNITS:
            return _engineering_unit(each.get("Value"))
    return None


def _engineering_unit(raw: Any, depth: int = 0) -> str | None:
    """An EUInformation, out of the Variant and the ExtensionObject that it may stand in."""
    if type(raw) is not dict or depth > 3:
        return None
    if "DisplayName" not in raw and "UnitId" not in raw:
        return _engineering_unit(raw.get("Body", raw.get("Value")), depth + 1)
    name = raw.get("DisplayName")
    return unit_of(raw.get("NamespaceUri"), raw.get("UnitId"), name.get("Text") if type(name) is dict else name)


def _identifier(document: Object, name: str) -> str | None:
    """An id as text: publishers write numbers and texts; 0 and "" are none."""
    raw = document.get(name)
    return str(raw) if type(raw) in (int, str) and raw else None
