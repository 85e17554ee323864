"""What a collector warns of, by where it was found: settings, CONNACK, `$SYS`, session, status topic, clock.

A source that looks again replaces what it found before. News is logged once; all of it stands in the health figures.
"""

from collections.abc import Iterable
from typing import Any

from sensor_platform.log import get_logger
from sensor_platform.mqtt import findings
from sensor_platform.mqtt.broker_facts import SysFindings, of_connack
from sensor_platform.mqtt.findings import Finding, of_settings
from sensor_platform.mqtt.health import Figures
from sensor_platform.mqtt.presence import Presence
from sensor_platform.mqtt.probe import BrokerProbe
from sensor_platform.mqtt.session import Session
from sensor_platform.settings import MqttSettings
from sensor_platform.staging.clock import ReceivedClock


class Warnings:
    """The collector's thread calls everything."""

    def __init__(self, figures: Figures, settings: MqttSettings, presence: Presence) -> None:
        self._figures = figures
        self._settings = settings
        self._presence = presence
        self._findings: dict[str, tuple[Finding, ...]] = {}
        self._sys = SysFindings()
        self._seen: dict[str, Any] = {}
        self.found("settings", of_settings(settings))

    def found(self, source: str, found: Iterable[Finding]) -> None:
        """Warnings of one source, instead of those that it had."""
        before = {finding.kind for finding in self._figures.warnings}
        self._findings[source] = tuple(found)
        self._figures.warnings = tuple(finding for each in self._findings.values() for finding in each)
        for finding in self._findings[source]:
            if finding.kind not in before:
                get_logger().warning(finding.kind, detail=finding.detail)

    def of_connack(self, session: Session, wanted: Iterable[str]) -> None:
        """What the broker would lose, as far as its CONNACK shows it."""
        self._figures.broker = {**(self._figures.broker or {}), **session.granted}
        self.found("connack", of_connack(session.granted, self._settings, wanted))

    def look_around(self, probe: BrokerProbe | None) -> None:
        """What the probe and the status topic have to say, when that is new."""
        if probe is not None and probe.found is not self._seen:
            self._seen = probe.found
            self._figures.broker = {**(self._figures.broker or {}), **self._seen}
            self.found("sys", self._sys.take(self._seen))
        said = (self._presence.finding,) if self._presence.finding is not None else ()
        if said != self._findings.get("presence", ()):
            self.found("presence", said)

    def of_clock(self, clock: ReceivedClock, *, database_off_s: float) -> None:
        """Beside the others: it comes and goes with the time."""
        found = findings.of_clock(clock, database_off_s=database_off_s)
        if found is not None and found.kind != (self._figures.clock and self._figures.clock.kind):
            get_logger().warning(found.kind, detail=found.detail)
        self._figures.clock = found
