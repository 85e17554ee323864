"""OPC UA PubSub: network messages in JSON or UADP; each field of a data set is a metric.

A field's own source time counts, else the time of its DataSetMessage, else that of the network message, else receipt.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from pydantic import Field as Option

from sensor_platform.transformers.contract import WHOLE_MESSAGE, Decoded, PayloadColumn
from sensor_platform.transformers.definitions import Timeline
from sensor_platform.transformers.json import Unreadable, has_long_integers, parse
from sensor_platform.transformers.leaves import NamesMade, RefusedValueError
from sensor_platform.transformers.mapping import LEAF_NAMES, DocumentValueOption, ValueOption, WideOption
from sensor_platform.transformers.numbers import OutOfRange, is_storable, read_number, shown
from sensor_platform.transformers.opcua_dataset import (
    TYPES,
    DataSetMessage,
    DataSetMetaData,
    Field,
    NamedField,
    Source,
    Words,
    definition_key,
    plant_of,
    scalars,
    severity,
)
from sensor_platform.transformers.opcua_json import INVALID, Said, read_json
from sensor_platform.transformers.opcua_uadp import keys_of, read_uadp
from sensor_platform.transformers.options import FormatOptions, options_of
from sensor_platform.transformers.registry import transformer
from sensor_platform.transformers.table import MAX_METRICS, ReadingTable
from sensor_platform.transformers.times import ABSENT

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route

TypeName = Literal[
    "Boolean", "SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double", "String",
    "DateTime", "StatusCode",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Read:
    """What a payload says; whose metadata concerns it; whether a refusal in it is one of the whole message."""

    said: Iterator[Said | RefusedValueError]
    keys: Sequence[str] = ()
    whole: bool = False


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
        values = {pattern: DocumentValueOption(**value.model_dump()) for pattern, value in self.values.items()}
        wide = WideOption(include=self.include, exclude=self.exclude, values=values)
        return lru_cache(maxsize=LEAF_NAMES)(wide.of_leaf)

    @cached_property
    def scales(self) -> bool:
        return any((value.scale, value.offset) != (1, 0) for value in self.values.values())

    def declared(self, writer_id: str | None) -> DataSetMetaData | None:
        """What the route itself says of the fields of a writer."""
        fields = self.writers.get(writer_id or "", self.fields)
        named = tuple(NamedField(each) if isinstance(each, str) else each.named for each in fields)
        return DataSetMetaData(fields=named) if named else None


@transformer("opcua", version="1", columns=True, options=OpcuaOptions)
def decode_opcua(column: PayloadColumn, route: "Route") -> Decoded:
    walk = _Walk(column, route)
    if doubtful := walk.table.doubtful_messages():
        walk = _Walk(column, route, exactly=frozenset(doubtful))
    return replace(walk.table.finish(), definitions=walk.timeline.found, ignored=walk.ignored)


class _Walk:
    """One pass over the messages of a column, in order."""

    def __init__(self, column: PayloadColumn, route: "Route", *, exactly: frozenset[int] = frozenset()) -> None:
        self._options = options_of(route, OpcuaOptions)
        self._text = route.text
        self.ignored: list[int] = []
        self._known: dict[int, tuple[dict[str, Any], DataSetMetaData]] = {}
        self.timeline = Timeline(column.definitions)
        self._plants = [
            plant_of(topic, captures.get("work_unit", ""))
            for topic, captures in zip(column.topics, column.captures, strict=True)
        ]
        self.table = ReadingTable(column, route, names_sensors=True, any_number=True)
        read = [self._read(message, payload, message in exactly) for message, payload in enumerate(column.payloads)]
        self.timeline.expect(key for document in read for key in document.keys)
        for message, document in enumerate(read):
            self._add(message, document)

    def _read(self, message: int, payload: bytes, exactly: bool) -> "_Read":
        try:
            if not payload:
                raise RefusedValueError("empty_payload", "the payload has no bytes")
            if self._options.encoding == "uadp" or (self._options.encoding == "auto" and not _is_json(payload)):
                about = partial(self._about, message)
                number = self._options.unnamed == "number"
                return _Read(read_uadp(payload, about, number_unnamed=number), keys_of(payload, self._plants[message]))
            document = parse(payload, exactly=exactly or (self._options.scales and has_long_integers(payload)))
            if type(document) is Unreadable:
                raise RefusedValueError(document.code, document.detail)
            said = list(read_json(document))
        except RefusedValueError as refused:
            return _Read(iter([refused]), whole=True)
        keys = (self._key(message, each) for each in said if _is_data(each))
        return _Read(iter(said), [key for key in keys if key is not None], whole=len(said) == 1)

    def _add(self, message: int, read: "_Read") -> None:
        ordinal, names, is_said = 0, self.table.names(message), False
        try:
            for said in read.said:
                match said:
                    case RefusedValueError():
                        self.table.refuse(
                            message, said.code, said.detail, ordinal=WHOLE_MESSAGE if read.whole else ordinal
                        )
                        ordinal += 1
                    case DataSetMetaData():
                        self._define(message, said)
                    case DataSetMessage():
                        ordinal = self._add_dataset(message, ordinal, said, names)
                        is_said = is_said or not said.is_keep_alive
        except RefusedValueError as refused:
            self.table.refuse(message, refused.code, refused.detail, ordinal=ordinal or WHOLE_MESSAGE)
            return
        if not ordinal and not is_said:
            self.ignored.append(message)

    def _key(self, message: int, said: DataSetMessage | DataSetMetaData) -> str | None:
        return definition_key(self._plants[message], said.publisher_id, said.dataset_writer_id)

    def _define(self, message: int, said: DataSetMetaData) -> None:
        key = self._key(message, said)
        if key is None:
            raise RefusedValueError(INVALID, "metadata that does not name its publisher and its DataSetWriter")
        texts = [said.name or "", *(text for field in said.fields for text in (field.name, field.unit or ""))]
        if not all(map(is_storable, texts)):
            raise RefusedValueError("text_not_storable", "a name in the metadata holds U+0000 or is not UTF-8")
        self.timeline.define(message, key, said.content)

    def _about(self, message: int, publisher_id: str | None, writer_id: str | None) -> DataSetMetaData | None:
        """What is known of a writer: what it said last, or else what the route says."""
        about = self._metadata(message, definition_key(self._plants[message], publisher_id, writer_id))
        return self._options.declared(writer_id) if about is None else about

    def _metadata(self, message: int, key: str | None) -> DataSetMetaData | None:
        """What a writer said last before a message; None: nothing."""
        content = None if key is None else self.timeline.latest(key, message)
        if content is None:
            return None
        # The content is kept too, so that nobody else gets its id.
        if id(content) not in self._known:
            self._known[id(content)] = content, DataSetMetaData.of_content(content)
        return self._known[id(content)][1]

    def _add_dataset(self, message: int, ordinal: int, dataset: DataSetMessage, names: NamesMade) -> int:
        dataset = self._described(message, dataset)
        about = {
            name: found
            for name, source in (("sensor", self._options.sensor), ("work_unit", self._options.work_unit))
            if source is not None and (found := dataset.named_by(source)) is not None
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

    def _described(self, message: int, dataset: DataSetMessage) -> DataSetMessage:
        """With name, types and units that metadata gives, where the message itself has none."""
        about = self._metadata(message, self._key(message, dataset))
        if about is None:
            return dataset
        named = about.by_name if about.is_of(dataset.major_version) else {}
        return replace(
            dataset,
            dataset_writer_name=dataset.dataset_writer_name or about.name,
            fields=tuple(_described_by(named.get(field.name), field) for field in dataset.fields),
        )

    def _readings(self, field: Field, dataset: DataSetMessage, names: NamesMade) -> Iterator[dict[str, Any]]:
        if field.refused is not None:
            raise field.refused
        about: dict[str, Any] = {"quality": max(severity(field.status), severity(dataset.status))}
        time = dataset.time if field.time is ABSENT else field.time
        if time is not ABSENT:
            about["timestamp"] = time
        if field.value is None and severity(field.status):
            detail = f"{shown(field.name)}: the value is null, with the status {field.status:#010x}"
            raise RefusedValueError("missing_value", detail)
        for metric, raw in scalars(field.name, field.value, names, field.type):
            option = self._options.of_metric(metric)
            if option is None or (isinstance(raw, str) and not (self._text or raw in option.map or _is_number(raw))):
                continue
            plain = str(raw) if isinstance(raw, Words) else raw
            reading = {"metric": metric, "value": option.converted(plain), **about}
            unit = option.unit if option.unit is not None or option.changes_values else field.unit
            yield reading if unit is None else {**reading, "unit": unit}


def _described_by(named: NamedField | None, field: Field) -> Field:
    """Of a structure the unit is not that of each of its parts."""
    if named is None:
        return field
    kind = field.type or named.type
    return replace(field, type=kind, unit=None if kind == TYPES["ExtensionObject"] else named.unit)


def _is_data(said: Said | RefusedValueError) -> TypeGuard[DataSetMessage]:
    return isinstance(said, DataSetMessage)


def _is_json(payload: bytes) -> bool:
    """The first byte of UADP ends in its version, 1; that of JSON, of its byte-order mark, or of UTF-16, does not."""
    return payload.lstrip(b" \t\r\n")[:1] in (b"{", b"[", b"\xef", b"\xff", b"\xfe", b"\0")


def _is_number(text: str) -> bool:
    """Integers of 64 bits are written as texts."""
    number = None if isinstance(text, Words) else read_number(text)
    return number is not None and (isinstance(number, OutOfRange) or isfinite(number))
