"""One trial: a broker of its own, a link that can be hurt, a collector process, a publisher; in the end the figures.

The publisher talks to the broker itself, so that a hurt link leaves its log whole.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform.staging.kill_points import VARIABLE
from sensor_platform_tests.faults.figures import Figures, account, originals, staged_rows
from sensor_platform_tests.faults.load import Load
from sensor_platform_tests.faults.proxy import Proxy
from sensor_platform_tests.faults.tap import Tap
from sensor_platform_tests.mqtt.collecting import collector_process, make_settings
from sensor_platform_tests.waiting import wait_until

ROOT = "trial"
CLIENT_ID = f"collector-{ROOT}"
KEEP_ALIVE_S = 5
#: The long form hangs for 240 s, and runs on either protocol; in the short one six keep-alives show the same.
HANG_S = float(os.environ.get("SENSOR_PLATFORM_TEST_HANG_S", "30"))
LONG = HANG_S >= 240


class Trial:
    """`with Trial(broker, home, "5") as trial: …; figures = trial.settled()`. The collector is at work at once."""

    def __init__(self, broker: EmbeddedBroker, home: Path, protocol: str, *, rate: float = 500, **mqtt: Any) -> None:
        self.broker = broker
        self.home = home
        self.tap = Tap()
        self.link = Proxy(broker.port, observer=self.tap)
        self.load = Load(broker, f"{ROOT}/a/b", rate=rate)
        self.process: subprocess.Popen[bytes]
        self._connections_before = 0
        self._protocol = protocol
        self._mqtt = {"keep_alive_s": KEEP_ALIVE_S, "connect_timeout_s": 5, **mqtt}
        self._stack = ExitStack()
        self._doomed = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.link)
            url = {"broker_url": self.link.url, "protocol": self._protocol}
            self.settings = make_settings(self.broker, self.home, ROOT, **{**url, **self._mqtt})
            stack.enter_context(self._doomed)
            self.start_collector()
            wait_until(self.is_granted, "granted filters", 60)
            stack.enter_context(self.load)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def is_connected(self) -> bool:
        """Whether the broker took a connection of this very process."""
        return len(self.tap.connections) > self._connections_before

    def is_granted(self) -> bool:
        """Whether the broker keeps what is published from now on."""
        return next(self.home.glob("staging/_open/c0/subscriptions"), None) is not None

    def start_collector(self, **environment: str) -> None:
        self._doomed.close()
        self._connections_before = len(self.tap.connections)
        self.process = self._doomed.enter_context(collector_process(self.settings, **environment))

    def kill_collector(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait(10) == -signal.SIGKILL

    def die_at(self, point: str) -> None:
        """A collector that is started and dies there by its own hand; see `staging.kill_points`."""
        self.start_collector(**{VARIABLE: point})
        assert self.process.wait(60) == -signal.SIGKILL, f"{point} was not passed"

    def stop_collector(self) -> None:
        """Cleanly; it must have lived until now."""
        assert self.process.poll() is None, (self.home / "collector.log").read_text()[-2000:]
        self.process.terminate()
        assert self.process.wait(60) == 0

    def connect(self, count: int, *, timeout_s: float = 60) -> None:
        """Until the broker took so many connections through the link, from the first one on."""
        wait_until(lambda: len(self.tap.connections) >= count, f"connection {count}", timeout_s)

    def confirm(self, count: int, *, timeout_s: float = 60) -> None:
        """Until so many more messages are confirmed."""
        goal = len(self.load.confirmed) + count
        wait_until(lambda: len(self.load.confirmed) >= goal, f"{count} confirmations", timeout_s)

    def stage(self, count: int = 1, *, timeout_s: float = 60) -> None:
        """Until so many messages are staged that were confirmed after this call."""
        before = len(self.load.confirmed)
        self.confirm(count, timeout_s=timeout_s)
        wait_until(
            lambda: len(set(self.load.confirmed[before:]).intersection(self.staged())) >= count,
            f"{count} messages that are confirmed now to be staged",
            timeout_s,
            every_s=0.25,
        )

    def staged(self) -> list[bytes]:
        return originals(staged_rows(self.home))

    def settled(self, *, timeout_s: float = 60) -> Figures:
        """Ends the load, gives the collector time for what is confirmed, stops it, and counts."""
        self.load.stop()
        confirmed = set(self.load.confirmed)
        with suppress(pytest.fail.Exception):  # the figures say how many are missing
            wait_until(lambda: confirmed <= set(self.staged()), "every confirmed message", timeout_s, every_s=0.5)
        self.stop_collector()
        return self.figures()

    def figures(self) -> Figures:
        return account(staged_rows(self.home), [self.load], connections=connections(self.broker))


def connections(broker: EmbeddedBroker, client_id: str = CLIENT_ID) -> int:
    """How often a client of that id connected, as the broker's log has it."""
    log = (broker.home / "logs" / "broker.log").read_text(errors="replace")
    return sum(1 for line in log.splitlines() if "New client connected" in line and f" as {client_id} (" in line)


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """The process stands still, its sockets open."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
