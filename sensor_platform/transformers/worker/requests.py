"""What a worker can be asked, from its parent's side; `main` has the answers."""

from dataclasses import dataclass
from typing import Any

from sensor_platform.errors import FormatSourceError
from sensor_platform.routes.sources import FormatSources
from sensor_platform.transformers.worker.exchange import Exchange, Find, WorkerEndedError
from sensor_platform.transformers.worker.framing import Frame
from sensor_platform.transformers.worker.process import WorkerProcess


@dataclass(frozen=True, slots=True)
class Format:
    """What a worker says of one of its formats. error: why it cannot be used."""

    version: str = ""
    checks_options: bool = False
    error: str | None = None


class Worker:
    """A worker process that imports `sources`, once it has begun. Its methods are called by one thread.

    Raises:
        WorkerUnavailableError: the system does not start a process.
    """

    def __init__(self, sources: FormatSources) -> None:
        self.sources = sources
        self.registered: list[str] = []
        self.process = WorkerProcess()
        self._exchange = Exchange(self.process, memory_bytes=sources.memory_bytes)
        self._formats: dict[str, Format] = {}

    def begin(self) -> None:
        """Waits until it runs, and has it import the sources.

        Raises:
            WorkerUnavailableError: it does not come to that.
            FormatSourceError: the sources cannot be imported.
        """
        self._exchange.begin()
        self.registered = self._load()

    def _load(self) -> list[str]:
        """Imports the sources; the names of the formats that they bring."""
        try:
            said, _ = self._exchange.ask("load", self.sources, limit_s=self.sources.load_timeout_s)
        except WorkerEndedError as ended:
            module = self.sources.modules[ended.suspects[0]] if ended.suspects else None
            what = f'module "{module}"' if module else f"the files of {self.sources.folder}"
            problem = f"transformers: {what} cannot be imported: {ended.detail}"
            raise FormatSourceError(problem, module=module) from ended
        if "module" in said:
            problem = f'transformers: module "{said["module"]}" cannot be imported: {said["error"]}'
            raise FormatSourceError(problem, module=said["module"])
        if "error" in said:
            raise FormatSourceError(said["error"])
        return list(said["formats"])

    def describe(self, name: str) -> Format:
        """The format of this name; asked once."""
        if name not in self._formats:
            try:
                said, _ = self._exchange.ask("describe", name, limit_s=self.sources.load_timeout_s)
                self._formats[name] = Format(**said)
            except WorkerEndedError as ended:
                return Format(error=f"it cannot be imported: {ended.detail}")
        return self._formats[name]

    def check_options(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        """The first problem that the format has with these options, and the names that it knows; {}: none.

        Raises:
            FormatSourceError: the worker ended over it.
        """
        try:
            return self._exchange.ask("check_options", (name, options), limit_s=self.sources.load_timeout_s)[0]
        except WorkerEndedError as ended:
            raise FormatSourceError(f'format "{name}": its options cannot be checked: {ended.detail}') from ended

    def decode(self, definition: bytes, column: object, find: Find, *, limit_s: float, call_limit_s: float) -> Frame:
        """What a column became, as `wire.from_bytes` takes it.

        Args:
            definition: the pickled definition of the route.
            find: asked for what other messages defined; its time is not counted.
            limit_s: for all of it.
            call_limit_s: for one call of the transformer, beside `limits.SHARE_S` for each of its messages.

        Raises:
            WorkerEndedError: a limit was reached, or the process crashed.
        """
        return self._exchange.ask("decode", (definition, column), limit_s=limit_s, call_limit_s=call_limit_s, find=find)
