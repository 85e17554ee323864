"""OPC UA PubSub: network messages in JSON or UADP; each field of a data set is a metric.

A field's own source time counts, else the time of its DataSetMessage, else that of the network message, else receipt.
"""

from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field as Option

from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform.transformers.json import Unreadable, parse
from sensor_platform.transformers.leaves import NamesMade, RefusedValueError
from sensor_platform.transformers.mapping import LEAF_NAMES, ValueOption, WideOption
from sensor_platform.transformers.numbers import OutOfRange, read_number, shown
from sensor_platform.transformers.opcua_dataset import (
    TYPES,
    DataSetMessage,
    DataSetMetaData,
    Field,
    NamedField,
    scalars,
    severity,
)
from sensor_platform.transformers.opcua_json import Said, read_json
from sensor_platform.transformers.opcua_uadp import read_uadp
from sensor_platform.transformers.registry import FormatOptions, options_of, transformer
from sensor_platform.transformers.table import MAX_METRICS, ReadingTable
from sensor_platform.transformers.times import ABSENT

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route

Source = Literal["publisher_id", "dataset_writer_id", "dataset_writer_name"]
TypeName = Literal[
    "Boolean", "SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double", "String",
    "DateTime", "StatusCode",
]  # fmt: skip
Readable = Iterator[Said | RefusedValueError]


class FieldOption(FormatOptions):
    """A field of a data set. type: needed only where fields are sent raw."""

    name: str = Option(min_length=1)
    type: TypeName | None = None

    @property
    def named(self) -> NamedField:
        return NamedField(self.name, None if self.type is None else TYPES[self.type])


class OpcuaOptions(FormatOptions):
    """How network messages are read.

    encoding: auto tells JSON from UADP by the first byte. sensor, work_unit: what of the message names them.
    fields: names in order, of UADP, until metadata says so; writers: the same by DataSetWriterId.
    unnamed: what becomes of fields that nothing names: refused, or field_0, field_1, ...
    include, exclude, values: as in `wide` of documents.
    """

    encoding: Literal["auto", "json", "uadp"] = "auto"
    sensor: Source | None = None
    work_unit: Source | None = None
    fields: tuple[str | FieldOption, ...] = ()
    writers: dict[str, tuple[str | FieldOption, ...]] = Option(default_factory=dict)
    unnamed: Literal["refuse", "number"] = "refuse"
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    values: dict[str, ValueOption] = Option(default_factory=dict)

    @cached_property
    def of_metric(self) -> Callable[[str], ValueOption | None]:
        """What is done with the metric of that name; None: it is left out."""
        wide = WideOption(include=self.include, exclude=self.exclude, values=self.values)
        return lru_cache(maxsize=LEAF_NAMES)(wide.of_leaf)

    def declared(self, publisher_id: str | None, writer_id: str | None) -> DataSetMetaData | None:
        """What the route itself says of the fields of a writer."""
        fields = self.writers.get(writer_id or "", self.fields)
        named = tuple(NamedField(each) if isinstance(each, str) else each.named for each in fields)
        return DataSetMetaData(publisher_id, writer_id, fields=named) if named else None


@transformer("opcua", version="1", columns=True, options=OpcuaOptions)
def decode_opcua(column: PayloadColumn, route: "Route") -> Decoded:
    walk = _Walk(column, route)
    if doubtful := walk.table.doubtful_messages():
        walk = _Walk(column, route, exactly=frozenset(doubtful))
    return walk.table.finish()


class _Walk:
    """One pass over the messages of a column, in order: what one says of its fields holds for those after it."""

    def __init__(self, column: PayloadColumn, route: "Route", *, exactly: frozenset[int] = frozenset()) -> None:
        self._options = options_of(route, OpcuaOptions)
        self._text = route.text
        self._described: dict[tuple[str | None, str | None], DataSetMetaData] = {}
        self.table = ReadingTable(column, route, names_sensors=True, any_number=True)
        for message, payload in enumerate(column.payloads):
            self._add(message, payload, exactly=message in exactly)

    def _add(self, message: int, payload: bytes, *, exactly: bool) -> None:
        ordinal = 0
        names = NamesMade()
        try:
            for said in self._read(payload, exactly):
                if isinstance(said, RefusedValueError):
                    self.table.refuse(message, said.code, said.detail, ordinal=ordinal)
                    ordinal += 1
                elif isinstance(said, DataSetMetaData):
                    self._described[said.publisher_id, said.dataset_writer_id] = said
                elif isinstance(said, DataSetMessage):
                    ordinal = self._add_dataset(message, ordinal, said, names)
        except RefusedValueError as refused:
            self.table.refuse(message, refused.code, refused.detail, ordinal=ordinal or -1)

    def _read(self, payload: bytes, exactly: bool) -> Readable:
        if not payload:
            raise RefusedValueError("empty_payload", "the payload has no bytes")
        if self._options.encoding == "uadp" or (self._options.encoding == "auto" and not _is_json(payload)):
            return read_uadp(payload, self._known, number_unnamed=self._options.unnamed == "number")
        document = parse(payload, exactly=exactly)
        if type(document) is Unreadable:
            raise RefusedValueError(document.code, document.detail)
        return read_json(document)

    def _known(self, publisher_id: str | None, writer_id: str | None) -> DataSetMetaData | None:
        described = self._described.get((publisher_id, writer_id))
        return described or self._options.declared(publisher_id, writer_id)

    def _add_dataset(self, message: int, ordinal: int, dataset: DataSetMessage, names: NamesMade) -> int:
        about = {
            name: found
            for name, source in (("sensor", self._options.sensor), ("work_unit", self._options.work_unit))
            if source is not None and (found := getattr(dataset, source)) is not None
        }
        first = ordinal
        for field in dataset.fields:
            try:
                for reading in self._readings(field, dataset, names):
                    ordinal = self.table.add_object(message, ordinal, {**reading, **about})
                    if ordinal - first > MAX_METRICS:
                        detail = f"a DataSetMessage has more than {MAX_METRICS} metrics"
                        raise RefusedValueError("too_many_metrics", detail)
            except RefusedValueError as refused:
                self.table.refuse(message, refused.code, refused.detail, ordinal=ordinal)
                ordinal += 1
                if refused.code in ("too_many_metrics", "names_too_long"):
                    break
        return ordinal

    def _readings(self, field: Field, dataset: DataSetMessage, names: NamesMade) -> Iterator[dict[str, Any]]:
        about: dict[str, Any] = {"quality": max(severity(field.status), severity(dataset.status))}
        time = dataset.time if field.time is ABSENT else field.time
        if time is not ABSENT:
            about["timestamp"] = time
        if field.value is None and severity(field.status):
            detail = f"{shown(field.name)}: the value is null, with the status {field.status:#010x}"
            raise RefusedValueError("missing_value", detail)
        for metric, raw in scalars(field.name, field.value, names, field.type):
            option = self._options.of_metric(metric)
            if option is None or (type(raw) is str and not (self._text or raw in option.map or _is_number(raw))):
                continue
            reading = {"metric": metric, "value": option.converted(raw), **about}
            yield reading if option.unit is None else {**reading, "unit": option.unit}


def _is_json(payload: bytes) -> bool:
    """The first byte of UADP ends in its version, 1; that of JSON, or of its byte-order mark, does not."""
    return payload.lstrip(b" \t\r\n")[:1] in (b"{", b"[", b"\xef", b"\xff", b"\xfe")


def _is_number(text: str) -> bool:
    """Integers of 64 bits are written as texts."""
    number = read_number(text)
    return number is not None and (isinstance(number, OutOfRange) or isfinite(number))
