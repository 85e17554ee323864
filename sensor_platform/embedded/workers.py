"""Several collectors on one machine, as members of one share group: the broker gives each message to one of them.

A process each, since one core is what a collector can use; each with a client id, a staging folder and a redelivery
window of its own. What dies is started again under the same client id, and gets what the broker kept for it meanwhile.
"""

import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sensor_platform.embedded.process import Child, Command
from sensor_platform.embedded.secrets import private_folder
from sensor_platform.embedded.supervisor import Part, Supervisor
from sensor_platform.mqtt.client_id import DEFAULT_COLLECTOR, checked_name, client_id
from sensor_platform.mqtt.subscriptions import ASKED_FILE, GRANTED_FILE, SHARE
from sensor_platform.settings import MqttSettings, Settings
from sensor_platform.staging.place import staging_root
from sensor_platform.staging.store import OPEN_FOLDER

#: Who lives for so long has read its settings.
STARTED_S = 3.0
#: What a worker that ends itself after MQTT_STOP_TIMEOUT may take beyond it.
GRACE_S = 5.0


def names_of(count: int, name: str = DEFAULT_COLLECTOR) -> list[str]:
    """c0, c1, ...; NAME-0, NAME-1, ... where the machine has a name of its own."""
    return [checked_name(f"{_stem(name)}{number}") for number in range(count)]


def stop_within_s(settings: MqttSettings) -> float:
    """Of the collector part: the first worker is asked when the others are gone."""
    once_s = settings.stop_timeout_s + GRACE_S
    return once_s if settings.collector_workers == 1 else 2 * once_s + GRACE_S


def share_group(settings: Settings, name: str = DEFAULT_COLLECTOR) -> str:
    """The group of the settings, otherwise one that no other installation at the broker has."""
    return settings.mqtt.share_group or client_id(settings, names_of(1, name)[0])


class Workers:
    """`Workers(settings, 4).run()` until it is told to stop; `on_event` hears of deaths and starts."""

    def __init__(
        self,
        settings: Settings,
        count: int,
        *,
        name: str = DEFAULT_COLLECTOR,
        options: Sequence[str] = (),
        on_event: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._names = names_of(count, name)
        self._stem = _stem(name)
        self._group = share_group(settings, name)
        self._options = tuple(options)
        self._on_event = on_event
        self._logs = private_folder(private_folder(settings.home) / "logs")
        self._stop = threading.Event()
        # The first one goes last: of a group that stops as a whole the last keeps its session, and the first is
        # there again however many there are the next time.
        self._stop_within_s = settings.mqtt.stop_timeout_s + GRACE_S
        parts = [
            Part(each, self._command_of(each), _has_started, stop_within_s=self._stop_within_s) for each in self._names
        ]
        self._supervisor = Supervisor(
            parts,
            logs=self._logs,
            stop_order=(self._names[1:], self._names[:1]),
            on_event=on_event,
            on_change=lambda _: None,
        )

    def run(self) -> None:
        """In the main thread, whose end is the end of the workers. Raises PartFailedError, ConfigurationError."""
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._on_signal)
        self._on_event(f"{len(self._names)} collectors in the share group {self._group}; logs in {self._logs}")
        leaving = [self._send_away(each) for each in self._left_behind()]
        try:
            self._supervisor.run(self._stop)
        finally:
            for child in leaving:
                child.stop(grace_s=self._stop_within_s)

    def _on_signal(self, number: int, frame: object) -> None:
        if self._stop.is_set():  # the second signal: each worker hears its own second one, and ends at once
            for one in self._supervisor.parts.values():
                if one.child is not None:
                    one.child.hurry()
        self._stop.set()

    def _command_of(self, worker: str) -> Callable[[], Command]:
        return lambda: self._command(worker, *self._options)

    def _command(self, worker: str, *options: str) -> Command:
        environment = {"MQTT_SHARE_GROUP": self._group, "COLLECTOR_WORKERS": "1"}
        if self._settings.mqtt.client_id and worker != self._names[0]:
            environment["MQTT_CLIENT_ID"] = f"{self._settings.mqtt.client_id}-{worker}"
        command = (sys.executable, "-m", "sensor_platform.cli", "collect", "--collector", worker, *options)
        return Command(command, environment=environment)

    def _left_behind(self) -> list[str]:
        """Members of former times, when there were more of them: the broker still has a session for each."""
        found = []
        for folder in sorted((staging_root(self._settings) / OPEN_FOLDER).glob("*")):
            is_ours = re.fullmatch(re.escape(self._stem) + r"\d+", folder.name) and folder.name not in self._names
            if is_ours and any(self._names_group(folder / file) for file in (GRANTED_FILE, ASKED_FILE)):
                found.append(folder.name)
        return found

    def _names_group(self, file: Path) -> bool:
        try:
            return f'"{SHARE}{self._group}/' in file.read_text(encoding="utf-8")
        except OSError:
            return False

    def _send_away(self, worker: str) -> Child:
        self._on_event(f"{worker} is one too many: it takes what the broker has for it and leaves")
        return Child(self._command(worker, "--leave"), log=self._logs / f"{worker}.log")


def _stem(name: str) -> str:
    return "c" if name == DEFAULT_COLLECTOR else f"{checked_name(name)}-"


def _has_started(child: Child) -> bool:
    return time.time() - child.started_at > STARTED_S
