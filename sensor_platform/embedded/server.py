"""A server that comes along, as a child of this process; `up` starts it under its supervisor instead."""

import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from sensor_platform.embedded import process
from sensor_platform.embedded.secrets import private_folder
from sensor_platform.errors import SensorPlatformError

POLL_S = 0.02


class EmbeddedServer(ABC):
    """A context manager: inside, the server answers."""

    name: ClassVar[str]  # for people
    log_name: ClassVar[str]
    start_timeout_s: ClassVar[float]
    stop_grace_s: ClassVar[float]
    unavailable: ClassVar[type[SensorPlatformError]]  # raised where it does not start

    def __init__(self, home: Path) -> None:
        self.home = home
        self._child: process.Child | None = None

    @abstractmethod
    def command(self) -> process.Command:
        """Makes ready what it needs, and gives the command to run."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers."""

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Starts it as a child of this process, and returns when it answers."""
        private_folder(private_folder(self.home) / "logs")
        self._child = child = process.Child(self.command(), log=self.home / "logs" / self.log_name)
        deadline = time.monotonic() + self.start_timeout_s
        while not self.is_ready():
            if child.exit_code() is not None or time.monotonic() > deadline:
                words = child.last_words()
                self.stop()
                raise self.unavailable(f"the embedded {self.name} did not start: {words}. See {child.log}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """A clean stop; what takes longer than `stop_grace_s` is killed."""
        if self._child is not None:
            self._child.stop(grace_s=self.stop_grace_s)
            self._child = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
