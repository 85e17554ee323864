"""How fast payloads become readings, before validation: our transformers beside the obvious loop and the raw parser.

`python -m benchmarks.decode [--json] [--rounds 5] [--messages 20000]`, one core. Each round runs every case once, so
that what else the machine does hurts all alike; figures are medians in messages/s of CPU time.
"""

import json
import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import orjson

from benchmarks.baselines.decode_each import BASELINES, SPARKPLUG_NAMES
from benchmarks.machine import machine
from sensor_platform.routes.model import Route
from sensor_platform.transformers import registry
from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform.transformers.definitions import Definition, Definitions
from sensor_platform.transformers.sparkplug_b.sparkplug_b_pb2 import Payload
from sensor_platform.transformers.sparkplug_births import content_of

RECEIVED_US = 1_767_225_600_000_000
FIELDS = [{"name": name, "type": "float32"} for name in "abcd"]
REGISTERS = [{"name": f"f{place}", "address": place, "type": "float32"} for place in range(0, 10, 2)]
OPTIONS: dict[str, dict[str, Any]] = {"binary": {"fields": FIELDS}, "modbus": {"fields": REGISTERS}}
TOPICS = {"sparkplug": "spBv1.0/press-shop/NDATA/press-1"}
#: Ratio -> its least value.
TARGETS = {
    "json_of_raw_orjson": 0.4,
    "csv_of_loop": 3.0,
    "binary_of_loop": 3.0,
    "modbus_of_loop": 3.0,
    "sparkplug_of_raw_protobuf": 0.5,
}
#: Datatypes of Sparkplug B.
INT32, DOUBLE, BOOLEAN = 3, 10, 11


def payload(format_: str, number: int) -> bytes:
    """A payload as a press would send it; JSON is 150 bytes, with a time and two metrics."""
    value = 800 + number % 977 / 8
    at = f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}.{number % 1000:03}Z"
    match format_:
        case "json":
            document = {"timestamp": at, "metrics": {"force_main_cylinder": value, "stroke_position": value / 4}}
            return json.dumps({**document, "quality": "good"}).encode().ljust(150)
        case "csv":
            return f"timestamp,force,stroke,temperature\n{at},{value},{value / 4},21.5\n".encode()
        case "binary":
            return struct.pack(">4f", value, value / 2, value / 4, 21.5)
        case "sparkplug":
            return sparkplug(number, value)
        case _:
            return struct.pack(">5f", value, value / 2, value / 4, 21.5, 0.25)


def sparkplug(number: int, value: float) -> bytes:
    """20 metrics by alias: 12 doubles, 6 integers of one to three bytes, 2 booleans."""
    at = RECEIVED_US // 1000 + number
    made = Payload(timestamp=at, seq=number % 256)
    for place, alias in enumerate(SPARKPLUG_NAMES):
        metric = made.metrics.add(alias=alias, timestamp=at)
        if place < 12:
            metric.double_value = value + place
        elif place < 18:
            metric.int_value = number * (place + 1) % 20_000
        else:
            metric.boolean_value = number % 2 == 0
    return made.SerializeToString()


def born() -> Definitions:
    """The birth that stood before: names and datatypes of the aliases."""
    metrics: list[tuple[str, int | None, int, str | None]] = [
        (name, alias, DOUBLE if place < 12 else INT32 if place < 18 else BOOLEAN, None)
        for place, (alias, name) in enumerate(SPARKPLUG_NAMES.items())
    ]
    birth = Definition(0, "press-shop/press-1", content_of(metrics))
    return Definitions(lambda keys: {birth.key: [birth]} if birth.key in keys else {})


def column_of(format_: str, messages: int) -> PayloadColumn:
    captured = {"work_unit": "press-shop", "sensor": "press-1"}
    return PayloadColumn(
        payloads=[payload(format_, number) for number in range(messages)],
        received_at=np.full(messages, RECEIVED_US),
        topics=[TOPICS.get(format_, "factory/press-shop/sensors/press-1/data")] * messages,
        captures=[captured] * messages,
        definitions=born() if format_ == "sparkplug" else Definitions(),
    )


def _each(baseline: Callable[[bytes], Any], column: PayloadColumn) -> list[Any]:
    return [baseline(payload) for payload in column.payloads]


def alternatives(messages: int) -> dict[str, Callable[[], Any]]:
    """Name -> what is timed; each decodes `messages` messages."""
    found: dict[str, Callable[[], Any]] = {}
    for format_, baseline in BASELINES.items():
        column = column_of(format_, messages)
        route = Route(name=format_, filter="f/{work_unit}/{sensor}", format=format_, options=OPTIONS.get(format_, {}))
        transform = registry.get(format_).transform
        _check(transform(column, route), [baseline(each) for each in column.payloads])
        found[f"{format_}_ours"] = partial(transform, column, route)
        found[f"{format_}_loop"] = partial(_each, baseline, column)
    documents = column_of("json", messages).payloads
    found["json_raw_orjson"] = lambda: [orjson.loads(document) for document in documents]
    protobufs = column_of("sparkplug", messages).payloads
    found["sparkplug_raw_protobuf"] = lambda: [Payload.FromString(each) for each in protobufs]
    return found


def _check(decoded: Decoded, expected: list[list[Any]]) -> None:
    """Both ways read the same values, or the comparison is worth nothing."""
    values = [value for readings in expected for _, _, value in readings]
    readings = decoded.readings
    order = np.lexsort((readings["ordinal"].to_numpy(), readings["message"].to_numpy()))
    if decoded.refusals or not np.array_equal(readings["value"].to_numpy()[order], np.array(values)):
        raise click.ClickException("the transformer and the loop do not read the same values")


def measure(*, rounds: int, messages: int) -> dict[str, Any]:
    """The report as JSON has it."""
    todo = alternatives(messages)
    seconds: dict[str, list[float]] = {name: [] for name in todo}
    for _ in range(rounds + 1):
        for name, run in todo.items():
            started = time.process_time()
            run()
            seconds[name].append(time.process_time() - started)
    # The first round warms caches and imports.
    rates = {name: round(messages / statistics.median(taken[1:])) for name, taken in seconds.items()}
    ratios = {f"{name}_of_loop": rates[f"{name}_ours"] / rates[f"{name}_loop"] for name in BASELINES}
    ratios["json_of_raw_orjson"] = rates["json_ours"] / rates["json_raw_orjson"]
    ratios["sparkplug_of_raw_protobuf"] = rates["sparkplug_ours"] / rates["sparkplug_raw_protobuf"]
    return {
        "machine": machine(Path(tempfile.gettempdir())),
        "messages": messages,
        "rounds": rounds,
        "messages_per_cpu_second": rates,
        "ratios": {
            name: {"ratio": round(ratio, 2), "target": TARGETS.get(name), "holds": ratio >= TARGETS.get(name, 0)}
            for name, ratio in ratios.items()
        },
    }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON value on stdout instead of lines.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--messages", default=20_000, show_default=True, type=click.IntRange(1))
def main(as_json: bool, rounds: int, messages: int) -> None:
    """Measure payloads to readings."""
    report = measure(rounds=rounds, messages=messages)
    if as_json:
        print(json.dumps(report, indent=1))
        return
    for name, rate in report["messages_per_cpu_second"].items():
        print(f"{name:18} {rate:>12,} messages/s")
    for name, verdict in report["ratios"].items():
        target = "" if verdict["target"] is None else f"target {verdict['target']}: {verdict['holds']}"
        print(f"{name:18} {verdict['ratio']:>12} {target}")


if __name__ == "__main__":
    main()
