r"""Influx line protocol: `measurement,tag=a field=1.5,other=2i 1700000000000000000`, several lines a message.

A field is the metric `measurement.field`; a tag may name the sensor or the work unit. Texts are left out, as they are
beside numbers everywhere. In names a comma, an equals sign and a space are escaped by a backslash.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform.transformers.leaves import NamesMade, RefusedValueError
from sensor_platform.transformers.numbers import read_integer, read_number, shown
from sensor_platform.transformers.options import FormatOptions, options_of
from sensor_platform.transformers.registry import transformer
from sensor_platform.transformers.table import ReadingTable
from sensor_platform.transformers.times import in_unit

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route

_NAME = r"(?:[^,= \\]|\\.|\\$)+"
_TEXT = r'"(?:[^"\\]|\\.)*"'
_VALUE = rf'(?:{_TEXT}|[^," ]+)'
_LINE = re.compile(
    rf"(?P<measurement>(?:[^, \\]|\\.)+)(?P<tags>(?:,{_NAME}={_NAME})*) +"
    rf"(?P<fields>{_NAME}={_VALUE}(?:,{_NAME}={_VALUE})*)(?: +(?P<time>-?\d+))? *",
    re.DOTALL,
)
_TAG = re.compile(rf",({_NAME})=({_NAME})", re.DOTALL)
_FIELD = re.compile(rf"({_NAME})=({_VALUE}),?", re.DOTALL)
_ESCAPED_NAME = re.compile(r"\\([,= ])")
_BOOLEANS = dict.fromkeys(("t", "T", "true", "True", "TRUE"), True) | dict.fromkeys(
    ("f", "F", "false", "False", "FALSE"), False
)


class InfluxOptions(FormatOptions):
    """precision: unit of the times. sensor, work_unit: their tags. measurement: whether metrics begin with it."""

    precision: Literal["s", "ms", "us", "ns"] = "ns"
    sensor: str | None = None
    work_unit: str | None = None
    measurement: bool = True


@transformer("influx", version="1", columns=True, options=InfluxOptions)
def decode_influx(column: PayloadColumn, route: "Route") -> Decoded:
    options = options_of(route, InfluxOptions)
    table = ReadingTable(column, route, names_sensors=True, any_number=True)
    for message, payload in enumerate(column.payloads):
        try:
            lines = payload.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
        except UnicodeDecodeError as err:
            table.refuse(message, "invalid_encoding", f"byte {err.start} is not valid UTF-8")
            continue
        if not payload:
            table.refuse(message, "empty_payload", "the payload has no bytes")
        _add_lines(table, message, lines, options)
    return table.finish()


def _add_lines(table: ReadingTable, message: int, lines: list[str], options: InfluxOptions) -> None:
    ordinal = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            for reading in _readings(line, options, table.names(message)):
                ordinal = table.add_object(message, ordinal, reading)
        except RefusedValueError as refused:
            table.refuse(message, refused.code, f"line {number}: {refused.detail}", ordinal=ordinal)
            ordinal += 1


def _readings(line: str, options: InfluxOptions, names: NamesMade) -> Iterator[dict[str, Any]]:
    found = _LINE.fullmatch(line)
    if found is None:
        raise RefusedValueError("invalid_line", f"{shown(line)} is not line protocol")
    tags = {_unescaped(name): _unescaped(value) for name, value in _TAG.findall(found["tags"])}
    about: dict[str, Any] = {}
    for name, tag in (("sensor", options.sensor), ("work_unit", options.work_unit)):
        if tag is not None and tag in tags:
            about[name] = tags[tag]
    if found["time"] is not None:
        about["timestamp"] = in_unit(read_integer(found["time"]), options.precision)
    measurement = _unescaped(found["measurement"])
    for name, raw in _FIELD.findall(found["fields"]):
        field = _unescaped(name)
        value = _value(raw)
        if value is not None:
            metric = names.made(f"{measurement}.{field}") if options.measurement else field
            yield {**about, "metric": metric, "value": value}


def _value(raw: str) -> Any:
    """None: a text."""
    if raw.startswith('"'):
        return None
    if raw in _BOOLEANS:
        return _BOOLEANS[raw]
    number = read_integer(raw[:-1]) if re.fullmatch(r"[+-]?\d+[iu]", raw, re.ASCII) else read_number(raw)
    if number is None:
        raise RefusedValueError("value_not_number", f"the value {shown(raw)} is not a number of line protocol")
    return number


def _unescaped(name: str) -> str:
    return _ESCAPED_NAME.sub(r"\1", name)
