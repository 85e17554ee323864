"""DataSetMetaData in UADP: the names and types of the fields, and all that stands before them."""

from collections.abc import Callable

from sensor_platform.transformers.opcua_binary import Reader, read_value, read_variant
from sensor_platform.transformers.opcua_dataset import TYPES, DataSetMetaData, NamedField

SCALAR = -1


def read_metadata(reader: Reader, publisher_id: str | None, dataset_writer_id: str | None) -> DataSetMetaData:
    """OPC 10000-14, 6.2.3.2. Raises RefusedValueError where it is cut short."""
    _each(reader, Reader.text)  # namespaces
    _each(reader, _structure_description)
    _each(reader, _enum_description)
    _each(reader, _simple_description)
    name = reader.text()
    _localized(reader)
    fields = [_field(reader) for _ in range(reader.length())]
    reader.take(16)  # the class of the data set
    major = reader.number("I")
    return DataSetMetaData(publisher_id, dataset_writer_id, name or None, major, tuple(fields))


def _field(reader: Reader) -> NamedField:
    name = reader.text()
    _localized(reader)
    reader.take(2)  # flags
    kind = reader.number("B")
    reader.identifier()
    rank = reader.number("i")
    reader.numbers("I", reader.length())  # dimensions
    reader.take(4 + 16)  # longest text, id of the field
    _each(reader, _property)
    return NamedField(name, kind or None, rank != SCALAR)


def _each(reader: Reader, read: Callable[[Reader], object]) -> None:
    for _ in range(reader.length()):
        read(reader)


def _property(reader: Reader) -> None:
    _qualified(reader)
    read_variant(reader)


def _structure_description(reader: Reader) -> None:
    reader.identifier()
    _qualified(reader)
    reader.identifier()
    reader.identifier()
    reader.take(4)  # kind of structure
    _each(reader, _structure_field)


def _structure_field(reader: Reader) -> None:
    reader.text()
    _localized(reader)
    reader.identifier()
    reader.take(4)  # rank
    reader.numbers("I", reader.length())
    reader.take(4 + 1)  # longest text, whether it is optional


def _enum_description(reader: Reader) -> None:
    reader.identifier()
    _qualified(reader)
    _each(reader, _enum_field)
    reader.take(1)


def _enum_field(reader: Reader) -> None:
    reader.take(8)
    _localized(reader)
    _localized(reader)
    reader.text()


def _simple_description(reader: Reader) -> None:
    reader.identifier()
    _qualified(reader)
    reader.identifier()
    reader.take(1)


def _localized(reader: Reader) -> None:
    read_value(reader, TYPES["LocalizedText"])


def _qualified(reader: Reader) -> None:
    read_value(reader, TYPES["QualifiedName"])
