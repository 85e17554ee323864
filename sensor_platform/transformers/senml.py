"""SenML (RFC 8428), as JSON or CBOR: records with base fields, resolved to absolute names and times.

A record's metric is its resolved name, less the route's `prefix`; a sum is the metric `NAME.sum`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform.transformers.json import Unreadable, has_long_integers, parse
from sensor_platform.transformers.leaves import NamesMade, RefusedValueError
from sensor_platform.transformers.numbers import OutOfRange, shown
from sensor_platform.transformers.options import FormatOptions, options_of
from sensor_platform.transformers.packed import read_cbor
from sensor_platform.transformers.registry import transformer
from sensor_platform.transformers.table import ReadingTable
from sensor_platform.transformers.times import Microseconds

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route

VERSION = 10
#: Labels of CBOR (RFC 8428, section 6) -> those of JSON.
LABELS = {
    "-2": "bn", "-3": "bt", "-4": "bu", "-5": "bv", "-6": "bs", "-1": "bver",
    "0": "n", "1": "u", "2": "v", "3": "vs", "4": "vb", "5": "s", "6": "t", "7": "ut", "8": "vd",
}  # fmt: skip
#: Times below it are relative to now (section 4.5.3): here, to when the message was received.
FIRST_ABSOLUTE_S = 2**28
VALUES = ("v", "vb", "vs", "vd")
NUMERIC_BASES = ("bt", "bv", "bs")
#: Of a pack in CBOR: an array of records of scalars, and some room.
PACK_DEPTH = 8

Record = dict[str, Any]


class SenmlOptions(FormatOptions):
    """encoding: of the pack. prefix: taken off the names, as `urn:dev:ow:10e2073a01080063:`."""

    encoding: Literal["json", "cbor"] = "json"
    prefix: str = ""


@transformer("senml", version="1", columns=True, options=SenmlOptions)
def decode_senml(column: PayloadColumn, route: "Route") -> Decoded:
    options = options_of(route, SenmlOptions)
    table = ReadingTable(column, route, any_number=True)
    for message, payload in enumerate(column.payloads):
        received_us = int(column.received_at[message])
        try:
            ordinal = 0
            pack = _pack(payload, options.encoding)
            for reading in _readings(pack, options.prefix, received_us, table.names(message)):
                ordinal = table.add_object(message, ordinal, reading)
        except RefusedValueError as refused:
            table.refuse(message, refused.code, refused.detail)
    return table.finish()


def _pack(payload: bytes, encoding: str) -> list[Record]:
    if encoding == "cbor":
        pack = read_cbor(payload, max_depth=PACK_DEPTH)
    else:
        pack = parse(payload, exactly=has_long_integers(payload))
        if type(pack) is Unreadable:
            raise RefusedValueError(pack.code, pack.detail)
    if type(pack) is not list or not all(type(record) is dict for record in pack):
        raise RefusedValueError("invalid_senml", "a pack is an array of records")
    return [{LABELS.get(label, label): entry for label, entry in record.items()} for record in pack]


def _readings(pack: list[Record], prefix: str, received_us: int, names: NamesMade) -> Iterator[Record]:
    base: Record = {}
    readings = []
    for number, record in enumerate(pack):
        _check(record, number)
        base |= {label: entry for label, entry in record.items() if label in ("bn", "bu", *NUMERIC_BASES)}
        name = names.made(f"{base.get('bn', '')}{record.get('n', '')}".removeprefix(prefix))
        about = {"metric": name, **_time(base, record, received_us)}
        unit = record.get("u", base.get("bu"))
        about |= {} if unit is None else {"unit": unit}
        if (value := next((record[label] for label in VALUES if label in record), None)) is not None:
            readings.append({**about, "value": value + base.get("bv", 0) if "v" in record else value})
        elif "bv" in base and "s" not in record and "n" in record:
            readings.append({**about, "value": base["bv"]})
        if "s" in record:
            readings.append({**about, "metric": names.made(f"{name}.sum"), "value": record["s"] + base.get("bs", 0)})
    yield from readings  # a pack is one message: none of it counts where one of its records is broken


def _check(record: Record, number: int) -> None:
    version = record.get("bver", VERSION)
    if version != VERSION:
        raise RefusedValueError("invalid_senml", f"record {number}: version {shown(version)}, not {VERSION}")
    unknown = [label for label in record if label.endswith("_")]
    if unknown:
        raise RefusedValueError("invalid_senml", f"record {number}: the field {shown(unknown[0])} must be understood")
    for label in (*NUMERIC_BASES, "v", "s", "t"):
        entry = record.get(label, 0)
        if isinstance(entry, OutOfRange):
            raise RefusedValueError("number_out_of_range", f"record {number}: {label} {entry} does not fit in 64 bits")
        if isinstance(entry, bool) or not isinstance(entry, int | float):
            raise RefusedValueError("invalid_senml", f"record {number}: {label} is {shown(entry)}, not a number")


def _time(base: Record, record: Record, received_us: int) -> Record:
    if "bt" not in base and "t" not in record:
        return {}
    seconds = base.get("bt", 0) + record.get("t", 0)
    if not abs(seconds) < 2**42:
        return {"timestamp": seconds}  # refused as any number that is no time
    whole = round(seconds * 1_000_000)
    return {"timestamp": Microseconds(whole if seconds >= FIRST_ABSOLUTE_S else received_us + whole)}
