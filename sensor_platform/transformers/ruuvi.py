"""Ruuvi Gateway: JSON around a Bluetooth advertisement in hexadecimal, of which a RuuviTag's part is read (RAWv2).

Data format 5: https://docs.ruuvi.com/communication/bluetooth-advertisements/data-format-5-rawv2
"""

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform.transformers.json import Unreadable, parse
from sensor_platform.transformers.leaves import RefusedValueError
from sensor_platform.transformers.numbers import scaled, shown
from sensor_platform.transformers.options import FormatOptions
from sensor_platform.transformers.registry import transformer
from sensor_platform.transformers.table import ReadingTable

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route

MANUFACTURER_DATA = 0xFF  # a type of Bluetooth's advertising data
RUUVI = b"\x99\x04"  # 0x0499, little-endian
DATA_FORMAT = 5
#: Temperature, humidity, pressure, three accelerations, battery and power, movements, sequence number; then the MAC.
LAYOUT = struct.Struct(">hHHhhhHBH")
SIZE_BYTES = 1 + LAYOUT.size + 6

#: Metric, unit, what is added to the raw number, what it is multiplied by then, and the number that stands for none.
FIELDS = (
    ("temperature", "degC", 0, 0.005, -0x8000),
    ("humidity", "%", 0, 0.0025, 0xFFFF),
    ("pressure", "Pa", 50_000, 1.0, 0xFFFF),
    ("acceleration_x", "g0", 0, 0.001, -0x8000),
    ("acceleration_y", "g0", 0, 0.001, -0x8000),
    ("acceleration_z", "g0", 0, 0.001, -0x8000),
    ("battery_voltage", "V", 1_600, 0.001, 0x7FF),
    ("tx_power", "dBm", -20, 2.0, 0x1F),
    ("movements", None, 0, 1.0, 0xFF),
    ("sequence_number", None, 0, 1.0, 0xFFFF),
)


class RuuviOptions(FormatOptions):
    """None: the payload says everything."""


@transformer("ruuvi", version="1", columns=True, options=RuuviOptions)
def decode_ruuvi(column: PayloadColumn, route: "Route") -> Decoded:
    table = ReadingTable(column, route)
    for message, payload in enumerate(column.payloads):
        document = parse(payload)
        if type(document) is Unreadable:
            table.refuse(message, document.code, document.detail)
            continue
        try:
            for ordinal, reading in enumerate(_readings(document)):
                table.add_object(message, ordinal, reading)
        except RefusedValueError as refused:
            table.refuse(message, refused.code, refused.detail)
    return table.finish()


def _readings(document: Any) -> Iterator[dict[str, Any]]:
    """As the default rules want them; none of an advertisement that is not Ruuvi's."""
    if type(document) is not dict or type(document.get("data")) is not str:
        raise RefusedValueError("invalid_frame", 'the payload is not an object with an advertisement under "data"')
    ruuvi = _manufacturer_data(_bytes(document["data"]))
    if ruuvi is None:
        return
    about = {"timestamp": document["ts"]} if "ts" in document else {}
    raw = [*_unpacked(ruuvi)]
    for (metric, unit, offset, scale, missing), number in zip(FIELDS, raw, strict=True):
        if number != missing:
            reading = {**about, "metric": metric, "value": scaled(number + offset, scale, 0)}
            yield reading if unit is None else reading | {"unit": unit}
    if "rssi" in document:
        yield {**about, "metric": "rssi", "value": document["rssi"], "unit": "dBm"}


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as err:
        raise RefusedValueError("invalid_armour", f"the advertisement {shown(text)} is not hexadecimal") from err


def _manufacturer_data(advertisement: bytes) -> bytes | None:
    """What Ruuvi put into the advertisement: parts of a length, a type and data, one after the other."""
    at = 0
    while at < len(advertisement) and (length := advertisement[at]):
        part = advertisement[at + 1 : at + 1 + length]
        if len(part) < length:
            raise RefusedValueError("invalid_length", f"the advertisement is cut short in the part at byte {at}")
        if part[0] == MANUFACTURER_DATA and part[1:3] == RUUVI:
            return part[3:]
        at += 1 + length
    return None


def _unpacked(ruuvi: bytes) -> Iterator[int]:
    """The raw value of each field."""
    if not ruuvi or ruuvi[0] != DATA_FORMAT:
        found = ruuvi[0] if ruuvi else "none"
        raise RefusedValueError("invalid_frame", f"Ruuvi's data format is {found}; {DATA_FORMAT} is read")
    if len(ruuvi) != SIZE_BYTES:
        raise RefusedValueError("invalid_length", f"data format 5 has {SIZE_BYTES} bytes, this one {len(ruuvi)}")
    *first, power, movements, sequence_number = LAYOUT.unpack_from(ruuvi, 1)
    yield from (*first, power >> 5, power & 0x1F, movements, sequence_number)
