"""The obvious ways to read payloads: one message at a time, with the library that its documentation shows."""

import csv
import json
import struct
from collections.abc import Callable
from datetime import UTC, datetime

from pymodbus.client.mixin import ModbusClientMixin

from sensor_platform.transformers.sparkplug_b.sparkplug_b_pb2 import Payload

Reading = tuple[str, datetime | None, float]

#: Alias -> name, as the birth has it.
SPARKPLUG_NAMES = {100 + place: f"Line/Metric {place}" for place in range(20)}


def read_json(payload: bytes) -> list[Reading]:
    document = json.loads(payload)
    at = datetime.fromisoformat(document["timestamp"])
    return [(metric, at, float(value)) for metric, value in document["metrics"].items()]


def read_csv(payload: bytes) -> list[Reading]:
    readings: list[Reading] = []
    for row in csv.DictReader(payload.decode().splitlines()):
        at = datetime.fromisoformat(row.pop("timestamp"))
        readings += [(metric, at, float(value)) for metric, value in row.items()]
    return readings


def read_binary(payload: bytes) -> list[Reading]:
    values = struct.unpack(">4f", payload)
    return [(metric, None, value) for metric, value in zip(("a", "b", "c", "d"), values, strict=True)]


def read_modbus(payload: bytes) -> list[Reading]:
    registers = list(struct.unpack(">10H", payload))
    readings: list[Reading] = []
    for place in range(0, 10, 2):
        words = registers[place : place + 2]
        value = ModbusClientMixin.convert_from_registers(words, ModbusClientMixin.DATATYPE.FLOAT32)
        assert isinstance(value, float)
        readings.append((f"f{place}", None, value))
    return readings


def read_sparkplug(payload: bytes) -> list[Reading]:
    readings: list[Reading] = []
    for metric in Payload.FromString(payload).metrics:
        at = datetime.fromtimestamp(metric.timestamp / 1000, UTC)
        value = getattr(metric, metric.WhichOneof("value"))
        readings.append((SPARKPLUG_NAMES[metric.alias], at, float(value)))
    return readings


BASELINES: dict[str, Callable[[bytes], list[Reading]]] = {
    "json": read_json,
    "csv": read_csv,
    "binary": read_binary,
    "modbus": read_modbus,
    "sparkplug": read_sparkplug,
}
