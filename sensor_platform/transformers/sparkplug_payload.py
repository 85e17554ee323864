"""One payload of Sparkplug B by the protobuf library: births, deaths, and data that is not simple."""

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from sensor_platform.transformers.contract import Quality
from sensor_platform.transformers.leaves import RefusedValueError
from sensor_platform.transformers.numbers import shown
from sensor_platform.transformers.sparkplug_b.sparkplug_b_pb2 import Payload
from sensor_platform.transformers.sparkplug_values import BOOLEAN
from sensor_platform.transformers.table import MAX_METRICS

#: Which field a value came in, by the name of the field.
KINDS = {
    name: Payload.Metric.DESCRIPTOR.fields_by_name[name].number
    for name in ("int_value", "long_value", "float_value", "double_value", "boolean_value", "string_value")
}
OTHER_KIND = 99  # bytes, data set, template: no number
UNITS = ("engUnit", "engUnits", "Engineering Units", "unit")
GREATEST = 2**63 - 1


@dataclass(slots=True)
class Rows:
    """Lists with an entry a metric; what a message does not say of it is -1, None, or kind 0."""

    message: list[int] = field(default_factory=list)
    ordinal: list[int] = field(default_factory=list)
    name: list[str | None] = field(default_factory=list)
    alias: list[int] = field(default_factory=list)
    timestamp: list[int] = field(default_factory=list)
    datatype: list[int] = field(default_factory=list)
    is_null: list[bool] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    bits: list[int] = field(default_factory=list)
    text: list[str | None] = field(default_factory=list)
    quality: list[int] = field(default_factory=list)
    unit: list[str | None] = field(default_factory=list)


def read_payload(payload: bytes) -> Payload:
    """Raises RefusedValueError where the bytes are no payload of Sparkplug B, or hold too many metrics."""
    try:
        read = Payload.FromString(payload)
    except DecodeError as err:
        raise RefusedValueError("invalid_sparkplug", f"not a payload of Sparkplug B: {shown(str(err))}") from err
    if len(read.metrics) > MAX_METRICS:
        detail = f"the message has {len(read.metrics)} metrics, not up to {MAX_METRICS}"
        raise RefusedValueError("too_many_metrics", detail)
    return read


def timestamp_of(payload: Payload) -> int:
    """Milliseconds, -1: none. Raises RefusedValueError where it is no time."""
    if not payload.HasField("timestamp"):
        return -1
    return _within(payload.timestamp, "timestamp")


def add_metrics(rows: Rows, message: int, payload: Payload) -> None:
    """Appends the metrics of a payload, all or none. Raises RefusedValueError where one cannot be read."""
    found = [_metric(metric) for metric in payload.metrics]
    for ordinal, metric in enumerate(found):
        rows.message.append(message)
        rows.ordinal.append(ordinal)
        for name, entry in metric.items():
            getattr(rows, name).append(entry)


def _metric(metric: Any) -> dict[str, Any]:
    try:
        which = metric.WhichOneof("value")
        kind, bits, text = _value(metric, which)
        # The C parser of protobuf gives bytes for a string that is not UTF-8, others raise.
        if isinstance(metric.name, bytes) or isinstance(text, bytes):
            raise RefusedValueError("invalid_sparkplug", "a name or text is not valid UTF-8")
        properties = dict(_properties(metric.properties)) if metric.HasField("properties") else {}
        return {
            "name": metric.name if metric.HasField("name") and metric.name else None,
            "alias": _within(metric.alias, "alias") if metric.HasField("alias") else -1,
            "timestamp": _within(metric.timestamp, "timestamp") if metric.HasField("timestamp") else -1,
            "datatype": metric.datatype if metric.HasField("datatype") else -1,
            # The definition of a template says what its instances hold, and has no value.
            "is_null": bool(metric.is_null) or (which == "template_value" and metric.template_value.is_definition),
            "kind": kind,
            "bits": bits,
            "text": text,
            "quality": int(_quality(properties.get("Quality", properties.get("quality")))),
            "unit": next((properties[name] for name in UNITS if isinstance(properties.get(name), str)), None) or None,
        }
    except UnicodeDecodeError as err:
        raise RefusedValueError("invalid_sparkplug", "a name or text is not valid UTF-8") from err


def _value(metric: Any, which: str | None) -> tuple[int, int, str | None]:
    if which is None:
        return 0, 0, None
    if which == "string_value":
        return KINDS[which], 0, metric.string_value
    if which == "double_value":
        return KINDS[which], int.from_bytes(struct.pack("<d", metric.double_value), "little"), None
    if which == "float_value":
        return KINDS[which], int.from_bytes(struct.pack("<f", metric.float_value), "little"), None
    if which in KINDS:
        return KINDS[which], int(getattr(metric, which)), None
    return OTHER_KIND, 0, None


def _properties(properties: Any) -> Any:
    for key, entry in zip(properties.keys, properties.values, strict=False):
        which = entry.WhichOneof("value")
        if which in ("int_value", "long_value", "string_value") and not entry.is_null:
            yield key, getattr(entry, which)


def _quality(code: Any) -> Quality:
    """OPC's quality codes, as Sparkplug takes them over: 192 good, 0 bad, 500 stale; without one it is good."""
    if code is None or not isinstance(code, int):
        return Quality.GOOD
    if 192 <= code <= 255:
        return Quality.GOOD
    return Quality.UNCERTAIN if 64 <= code <= 127 else Quality.BAD


def _within(number: int, what: str) -> int:
    if number > GREATEST:
        raise RefusedValueError("invalid_sparkplug", f"the {what} {number} does not fit in 63 bits")
    return number


def rebirth_command() -> bytes:
    """Asks a node to send its births again."""
    command = Payload()
    command.metrics.add(name="Node Control/Rebirth", datatype=BOOLEAN, boolean_value=True)
    return command.SerializeToString()


def as_arrays(rows: Rows) -> dict[str, np.ndarray]:
    """Columns of the rows, in the types of the fast path."""
    objects = ("name", "text", "unit")
    types = {"is_null": bool, "kind": np.int8, "bits": np.uint64, "quality": np.int8}
    columns = {}
    for name in Rows.__slots__:
        entries = getattr(rows, name)
        if name in objects:
            column = np.empty(len(entries), dtype=object)
            column[:] = entries
        else:
            column = np.array(entries, dtype=types.get(name, np.int64))
        columns[name] = column
    return columns
