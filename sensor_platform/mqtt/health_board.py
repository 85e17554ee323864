"""How a collector is, for whoever looks: its state, what stands in its way, and snapshots of all figures."""

import time

from sensor_platform.errors import SensorPlatformError
from sensor_platform.log import get_logger
from sensor_platform.mqtt.control import Witness
from sensor_platform.mqtt.health import CollectorHealth, Figures
from sensor_platform.mqtt.probe import BrokerProbe
from sensor_platform.mqtt.states import State
from sensor_platform.mqtt.warnings import Warnings
from sensor_platform.staging.uploader import Uploader
from sensor_platform.staging.writer import StagingWriter

#: Between two snapshots while messages come: one costs what several messages do.
HEALTH_EVERY_S = 0.02


class HealthBoard:
    """The collector's thread calls everything; `health`, a frozen snapshot, may be read from any."""

    def __init__(self, figures: Figures, warnings: Warnings, writer: StagingWriter) -> None:
        self._figures = figures
        self._warnings = warnings
        self._writer = writer
        self.probe: BrokerProbe | None = None
        self.uploader: Uploader | None = None
        self.witness: Witness | None = None
        self.health: CollectorHealth = figures.snapshot()
        self._shown_at_s, self._is_old = time.monotonic(), False

    def go(self, state: State) -> None:
        if self._figures.go(state):
            get_logger().info("collector_state", state=str(state))
        self.publish()

    def tell(self, err: SensorPlatformError) -> None:
        if self._figures.trouble(err):  # once, not at each attempt
            get_logger().error("cannot_collect", kind=err.kind, error=str(err))

    def due_in_s(self, due_s: float) -> float:
        """How long the loop, which may sleep for `due_s`, may sleep if the snapshot is not to stay old."""
        return min(due_s, HEALTH_EVERY_S) if self._is_old else due_s

    def publish(self, *, at_once: bool = True) -> None:
        """Shows a new snapshot; unless `at_once`, only where the last one is HEALTH_EVERY_S old."""
        now_s = time.monotonic()
        self._is_old = not at_once and now_s - self._shown_at_s < HEALTH_EVERY_S
        if self._is_old:
            return
        self._shown_at_s = now_s
        self._warnings.of_clock(self._writer.clock, database_off_s=self.witness.clock_off_s if self.witness else 0.0)
        self._warnings.look_around(self.probe)
        self._figures.open_messages = self._writer.open_messages
        if self.uploader is not None:
            self._figures.uploads = self.uploader.backlog
        self.health = self._figures.snapshot()
