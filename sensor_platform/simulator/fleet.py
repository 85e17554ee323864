"""A small plant, message by message: the same seed and clock give the same bytes.

The mix is by place, not by chance: of each hundred messages so many are rubbish, partial or exact repeats, and the
first twenty have one of each. What a short demo proves, it proves every time.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sensor_platform.simulator import payloads
from sensor_platform.simulator.payloads import Payload, Sensor, Shape
from sensor_platform.simulator.rubbish import RUBBISH

#: Places in each hundred messages.
RUBBISH_PLACES = frozenset({3})
PARTIAL_PLACES = frozenset({9})
REPEAT_PLACES = frozenset({12, 63})
#: While a gateway is broken: a tenth is refused, enough for the error-rate alert.
BROKEN_PLACES = RUBBISH_PLACES | frozenset(range(18, 98, 10))

PLANT: dict[str, dict[str, Shape]] = {
    "press-shop": {
        "press-1-temperature": payloads.TEMPERATURES,
        "press-2-temperature": payloads.TEMPERATURES,
        "press-1-hydraulics": payloads.PRESSURES,
        "press-2-hydraulics": payloads.PRESSURES,
        "press-1-vibration": payloads.VIBRATIONS,
        "press-2-vibration": payloads.VIBRATIONS,
        "press-1-strokes": payloads.COUNTERS,
        "energy-meter": payloads.ENERGIES,
    },
    "paint-line": {
        "oven-logger": payloads.OVENS,
        "booth-temperature": payloads.TEMPERATURES,
        "booth-pressure": payloads.PRESSURES,
        "fan-vibration": payloads.VIBRATIONS,
        "energy-meter": payloads.ENERGIES,
    },
    "assembly": {
        "torque-tool-1": payloads.TORQUES,
        "torque-tool-2": payloads.TORQUES,
        "conveyor-vibration": payloads.VIBRATIONS,
        "station-4-pieces": payloads.COUNTERS,
        "hall-temperature": payloads.TEMPERATURES,
    },
}


@dataclass(frozen=True, slots=True)
class FleetMessage:
    """One message to publish. `number` is in its id; a repeat has the number, and the bytes, of what it repeats."""

    topic: str
    payload: bytes
    number: int
    readings: int
    timed: bool
    good: bool


class Fleet:
    """An endless stream of messages. `run` sets the ids of several streams into one home apart."""

    def __init__(
        self, *, seed: int = 0, run: str = "", clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._chance = random.Random(seed)  # noqa: S311 -- a simulation, not a secret
        self._clock = clock
        self._prefix = f"m-{run}-" if run else "m-"
        started = clock() - timedelta(milliseconds=100)
        names = [(work_unit, name, shape) for work_unit, unit in PLANT.items() for name, shape in unit.items()]
        self._sensors = [Sensor(*name, phase=phase, last=started) for phase, name in enumerate(names)]
        self._arrays = [sensor for sensor in self._sensors if sensor.shape is payloads.TORQUES]
        self._rubbish = 0
        #: True while a gateway of the plant is broken.
        self.broken = False

    def messages(self) -> Iterator[FleetMessage]:
        """Without end; two in a hundred repeat the last timed message, byte for byte."""
        last: FleetMessage | None = None
        place = number = 0
        while True:
            if place % 100 in REPEAT_PLACES and last is not None:
                yield last
            else:
                message = self._message(number, place % 100)
                number += 1
                yield message
                if message.timed:
                    last = message
            place += 1

    def _message(self, number: int, place: int) -> FleetMessage:
        ident, now = f"{self._prefix}{number:06d}", self._clock()
        if place in (BROKEN_PLACES if self.broken else RUBBISH_PLACES):
            return self._broken_message(number, ident, now)
        if place in PARTIAL_PLACES:
            sensor = self._chance.choice(self._arrays)
            payload = payloads.with_one_bad_element(sensor.shape.encode(sensor, ident, now, self._chance))
            return _message(sensor, payload, number, timed=False, good=False)
        sensor = self._chance.choice(self._sensors)
        payload = sensor.shape.encode(sensor, ident, now, self._chance)
        return _message(sensor, payload, number, timed=sensor.shape.timed, good=True)

    def _broken_message(self, number: int, ident: str, now: datetime) -> FleetMessage:
        leaf, make = list(RUBBISH.values())[self._rubbish % len(RUBBISH)]
        self._rubbish += 1
        sensor = self._chance.choice([sensor for sensor in self._sensors if sensor.shape.leaf == leaf])
        return _message(sensor, Payload(make(ident, now), 0), number, timed=False, good=False)


def _message(sensor: Sensor, payload: Payload, number: int, *, timed: bool, good: bool) -> FleetMessage:
    return FleetMessage(sensor.topic, payload.data, number, payload.readings, timed, good)
