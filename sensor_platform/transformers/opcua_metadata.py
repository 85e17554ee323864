"""DataSetMetaData in UADP: names, types and units of the fields, and all that stands before them."""

from collections.abc import Callable

from sensor_platform.transformers.leaves import RefusedValueError
from sensor_platform.transformers.opcua_binary import Reader, read_value, read_variant
from sensor_platform.transformers.opcua_dataset import TYPES, DataSetMetaData, NamedField
from sensor_platform.transformers.opcua_units import ENGINEERING_UNITS, unit_of

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
    dimensions = tuple(reader.numbers("I", reader.length()))
    max_length = reader.number("I")
    reader.take(16)  # id of the field
    units = [_unit(reader) for _ in range(reader.length())]
    unit = next((unit for unit in units if unit is not None), None)
    return NamedField(name, kind or None, rank != SCALAR, unit, dimensions, max_length)


def _each(reader: Reader, read: Callable[[Reader], object]) -> None:
    for _ in range(reader.length()):
        read(reader)


def _unit(reader: Reader) -> str | None:
    """Reads over a property of a field; what it says where it is the unit."""
    reader.take(2)
    name, start = reader.text(), reader.at
    read_variant(reader)
    if name != ENGINEERING_UNITS:
        return None
    try:
        return _engineering_unit(reader.between(start, reader.at))
    except RefusedValueError:
        return None  # a unit that cannot be read is none: the field's values are there all the same


def _engineering_unit(reader: Reader) -> str | None:
    """An EUInformation (OPC 10000-8, 5.6.4.3): the Variant of an ExtensionObject with a body of bytes."""
    if reader.number("B") != TYPES["ExtensionObject"]:
        return None
    reader.identifier()
    if reader.number("B") != 1:
        return None
    reader.take(4)  # how long the body is
    namespace, unit_id = reader.text(), reader.number("i")
    return unit_of(namespace, unit_id, read_value(reader, TYPES["LocalizedText"]))


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
