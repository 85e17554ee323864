"""One payload shape a sensor kind, as real gateways send them, and what each kind breaks when it sends rubbish.

Each message carries its id: as a string leaf or a CSV column, which makes no metric, and as plain bytes in rubbish.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sensor_platform.simulator.signals import ENERGY, OVEN_ZONES, PRESSURE, TEMPERATURE, TORQUE, VIBRATION, Signal

#: Tightenings that one message of a torque tool brings.
ARRAY_LENGTH = 5


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes, and how many readings they hold if every one of them is taken."""

    data: bytes
    readings: int


@dataclass(slots=True)
class Sensor:
    """One simulated device. `last` is its newest sample, so that no two samples share a time."""

    work_unit: str
    name: str
    shape: "Shape"
    phase: int
    last: datetime
    count: int = 0

    @property
    def topic(self) -> str:
        return f"factory/{self.work_unit}/sensors/{self.name}/{self.shape.leaf}"

    def times(self, now: datetime, count: int) -> list[datetime]:
        """`count` sample times, evenly after the last one and up to now."""
        step = max((now - self.last) / count, timedelta(microseconds=1))
        times = [self.last + step * (place + 1) for place in range(count)]
        self.last = times[-1]
        return times


Encode = Callable[[Sensor, str, datetime, random.Random], Payload]


@dataclass(frozen=True, slots=True)
class Shape:
    """How a kind of sensor writes. `timed`: the payload has a time of its own, so an exact repeat is a duplicate."""

    encode: Encode
    leaf: str = "data"
    timed: bool = True


def iso(time: datetime) -> str:
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def encoded(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _single(signal: Signal) -> Encode:
    def encode(sensor: Sensor, ident: str, now: datetime, chance: random.Random) -> Payload:
        (time,) = sensor.times(now, 1)
        value = signal.at(time, chance, phase=sensor.phase)
        quality = "uncertain" if chance.random() < 0.01 else "good"
        return Payload(
            encoded(
                {
                    "id": ident,
                    "timestamp": iso(time),
                    "metric": signal.metric,
                    "value": value,
                    "unit": signal.unit,
                    "quality": quality,
                }
            ),
            1,
        )

    return encode


def _wide(signals: Sequence[Signal], time_field: str, time_of: Callable[[datetime], Any]) -> Encode:
    def encode(sensor: Sensor, ident: str, now: datetime, chance: random.Random) -> Payload:
        (time,) = sensor.times(now, 1)
        metrics: dict[str, Any] = {}
        for signal in signals:
            group, _, leaf = signal.metric.rpartition(".")
            place = metrics.setdefault(group, {}) if group else metrics
            place[leaf] = signal.at(time, chance, phase=sensor.phase)
        return Payload(encoded({"id": ident, time_field: time_of(time), "metrics": metrics}), len(signals))

    return encode


def _counter(sensor: Sensor, ident: str, _now: datetime, _chance: random.Random) -> Payload:
    sensor.count += 1
    return Payload(encoded({"id": ident, "metric": "pieces", "value": sensor.count}), 1)


def _array(sensor: Sensor, ident: str, now: datetime, chance: random.Random) -> Payload:
    times = sensor.times(now, ARRAY_LENGTH)
    elements = [
        {"id": ident, "ts": iso(time), "metric": TORQUE.metric, "value": TORQUE.at(time, chance, phase=sensor.phase)}
        for time in times
    ]
    return Payload(encoded(elements), ARRAY_LENGTH)


def _csv(sensor: Sensor, ident: str, now: datetime, chance: random.Random) -> Payload:
    lines = ["id;timestamp;" + ";".join(signal.metric for signal in OVEN_ZONES)]
    for time in sensor.times(now, 2):
        cells = [str(signal.at(time, chance, phase=sensor.phase)) for signal in OVEN_ZONES]
        lines.append(";".join((ident, iso(time), *cells)))
    return Payload("\n".join(lines).encode(), 2 * len(OVEN_ZONES))


TEMPERATURES = Shape(_single(TEMPERATURE))
PRESSURES = Shape(_single(PRESSURE))
VIBRATIONS = Shape(_wide(VIBRATION, "timestamp", iso))
ENERGIES = Shape(_wide(ENERGY, "time", lambda time: round(time.timestamp() * 1e6)))
COUNTERS = Shape(_counter, timed=False)
TORQUES = Shape(_array)
OVENS = Shape(_csv, leaf="csv")


def with_one_bad_element(payload: Payload) -> Payload:
    """A partial message: its neighbours must get through."""
    elements = json.loads(payload.data)
    elements[len(elements) // 2]["value"] = "n/a"
    return Payload(encoded(elements), payload.readings)
