"""Plausible measurements: a level, a daily cycle, slow drift, noise, and now and then a spell of something wrong."""

import math
import random
from dataclasses import dataclass
from datetime import datetime

DAY_S = 86_400
SPELL_S = 20
#: One spell in so many is an anomaly.
SPELLS_PER_ANOMALY = 45


@dataclass(frozen=True, slots=True)
class Signal:
    """One metric of a sensor. `anomaly` is added while a spell lasts."""

    metric: str
    unit: str
    level: float
    daily: float = 0.0
    drift_per_day: float = 0.0
    noise: float = 0.0
    anomaly: float = 0.0
    decimals: int = 3

    def at(self, time: datetime, chance: random.Random, *, phase: int) -> float:
        """The value at a time. `phase` tells sensors of one kind apart."""
        seconds = time.timestamp()
        cycle = math.sin(2 * math.pi * (seconds % DAY_S) / DAY_S + phase)
        drift = self.drift_per_day * (seconds % (30 * DAY_S)) / DAY_S  # mended once a month
        value = self.level + self.daily * cycle + drift + chance.gauss(0, self.noise)
        return round(value + self.anomaly * is_anomalous(seconds, phase), self.decimals)


def is_anomalous(seconds: float, phase: int) -> bool:
    return (int(seconds // SPELL_S) + 7 * phase) % SPELLS_PER_ANOMALY == 0


TEMPERATURE = Signal("temperature", "degC", 71, daily=6, drift_per_day=0.1, noise=0.4, anomaly=14)
PRESSURE = Signal("pressure", "bar", 182, daily=3, noise=1.2, anomaly=-40)
VIBRATION = (
    Signal("rms.x", "mm/s", 2.1, noise=0.15, drift_per_day=0.02, anomaly=4),
    Signal("rms.y", "mm/s", 1.8, noise=0.12, drift_per_day=0.02, anomaly=3),
    Signal("rms.z", "mm/s", 2.9, noise=0.20, drift_per_day=0.03, anomaly=6),
    Signal("peak", "mm/s", 8.4, noise=0.90, anomaly=15),
)
ENERGY = (
    Signal("power", "kW", 48, daily=22, noise=2.5, decimals=2),
    Signal("voltage.l1", "V", 231, noise=0.7, decimals=1),
    Signal("voltage.l2", "V", 230, noise=0.7, decimals=1),
    Signal("voltage.l3", "V", 229, noise=0.7, decimals=1),
    Signal("power_factor", "1", 0.93, noise=0.01),
)
OVEN_ZONES = (
    Signal("zone_1", "degC", 140, noise=0.8, daily=2),
    Signal("zone_2", "degC", 165, noise=0.8, daily=2),
    Signal("zone_3", "degC", 160, noise=0.8, daily=2, anomaly=-25),
)
TORQUE = Signal("torque", "N.m", 32, noise=0.6, anomaly=-9, decimals=2)
