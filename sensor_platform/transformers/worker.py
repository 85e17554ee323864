"""The parent's side of the process that runs formats of your own: started when needed, kept warm, killed at a limit.

One worker a process, driven by one thread that lives as long as it does: Linux ties the death signal to the thread that
starts a process, not to its parent process. Not a fork: a process with threads that forks may hang in its child. Not
multiprocessing: it unpickles what comes back, and imports the main script again.
"""

import atexit
import contextlib
import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import psutil

from sensor_platform.errors import ConfigurationError, WorkerUnavailableError
from sensor_platform.routes.sources import FormatSources
from sensor_platform.transformers.framing import PROGRESS_BYTES, Progress, frame, take_frame

#: Of a call's limit, for each of its messages: a group of 10,000 has ten seconds more than a message alone.
SHARE_S = 0.001
POLL_S = 0.02
START_TIMEOUT_S = 120.0
EXIT_OUT_OF_MEMORY = 86  # of worker_main
_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]);"
    "from sensor_platform.transformers.worker_main import main; main()"
)

#: Keys -> what a worker unpickles as their definitions.
Find = Callable[[list[str]], object]
T = TypeVar("T")


class WorkerEndedError(Exception):
    """The worker was killed, or ended by itself, before it answered.

    code: of the dead letters that it makes. first, count: the messages that it was at; None where it was at none.
    """

    def __init__(self, code: str, detail: str, suspects: tuple[int, int] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.suspects = suspects


class FormatSourceError(ConfigurationError):
    """A module or folder that cannot be imported. module: the one of the route file, if it is one."""

    def __init__(self, problem: str, *, module: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.module = module


@dataclass(frozen=True, slots=True)
class Format:
    """What a worker says of one of its formats. error: why it cannot be used."""

    version: str = ""
    checks_options: bool = False
    error: str | None = None


class Worker:
    """A worker process that imports `sources`. All its methods but `interrupt` are called by one thread.

    Raises:
        WorkerUnavailableError: the system does not start a process: too many of them, or of open files, no memory.
    """

    def __init__(self, sources: FormatSources) -> None:
        self.sources = sources
        self.registered: list[str] = []
        self._formats: dict[str, Format] = {}
        with contextlib.ExitStack() as opened:
            try:
                self._start(opened)
            except OSError as err:
                problem = f"the process for transformers of your own cannot be started, try again later: {err}"
                raise WorkerUnavailableError(problem) from err
            opened.pop_all()
        self._ending = threading.Lock()
        self._received = bytearray()
        self._number = 0  # of the request that is being answered; the first answer, to none, has 0
        self._memory_at_start = sys.maxsize  # what our own imports take is not the transformers'

    def _start(self, opened: contextlib.ExitStack) -> None:
        """The process, and what we share with it, which `opened` closes if it does not come to that."""
        self._connection, theirs = socket.socketpair()
        opened.callback(self._connection.close)
        with theirs, tempfile.TemporaryFile() as shared:
            shared.truncate(PROGRESS_BYTES)
            self._progress = Progress(shared.fileno())
            opened.callback(self._progress.close)
            inherited = (theirs.fileno(), shared.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, json.dumps(sys.path), *map(str, (os.getpid(), *inherited))],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a transformer prints goes where errors go: stdout of a command is data
                pass_fds=inherited,
                process_group=0,  # Ctrl-C is for us; and what it starts is killed with it
            )

    def begin(self) -> None:
        """Waits until it runs, and has it import the sources.

        Raises:
            WorkerUnavailableError: it does not come to that.
            FormatSourceError: the sources cannot be imported.
        """
        self._await_start()
        self._memory_at_start = self._memory_bytes()
        self.registered = self._load()

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None and not self._is_over()

    def describe(self, name: str) -> Format:
        """The format of this name; asked once."""
        if name not in self._formats:
            try:
                said, _ = self._ask("describe", name, self.sources.load_timeout_s)
                self._formats[name] = Format(**said)
            except WorkerEndedError as ended:
                return Format(error=f"it cannot be imported: {ended.detail}")
        return self._formats[name]

    def check_options(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        """The first problem that the format has with these options, and the names that it knows; {}: none."""
        try:
            return self._ask("check_options", (name, options), self.sources.load_timeout_s)[0]
        except WorkerEndedError as ended:
            raise FormatSourceError(f'format "{name}": its options cannot be checked: {ended.detail}') from ended

    def decode(
        self, definition: bytes, column: object, find: Find, *, limit_s: float, call_limit_s: float
    ) -> tuple[dict[str, Any], bytes]:
        """What a column became, as `wire.from_bytes` takes it.

        Args:
            definition: the pickled definition of the route.
            find: asked for what other messages defined; its time is not counted.
            limit_s: for all of it.
            call_limit_s: for one call of the transformer, beside SHARE_S for each of its messages.

        Raises:
            WorkerEndedError: a limit was reached, or the process crashed.
        """
        self._progress.began(0, 0)
        return self._ask("decode", (definition, column), limit_s, call_limit_s, find)

    def interrupt(self) -> None:
        """From any thread: ends the process and all that it started. Who waits for its answer notices at once."""
        with self._ending:
            if self._process.returncode is None:  # until it is waited for, nobody else has its number
                with contextlib.suppress(OSError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Ends the process, whatever it is at, and all that it started."""
        self.interrupt()
        with self._ending:
            self._process.wait()
        self._connection.close()
        self._progress.close()

    def _await_start(self) -> None:
        try:
            self._await(START_TIMEOUT_S, START_TIMEOUT_S)
        except WorkerEndedError as ended:
            problem = f"the process for transformers of your own did not start, try again later: {ended.detail}"
            raise WorkerUnavailableError(problem) from ended

    def _load(self) -> list[str]:
        """Imports the sources; the names of the formats that they bring."""
        self._progress.began(0, 0)
        try:
            said, _ = self._ask("load", self.sources, self.sources.load_timeout_s)
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

    def _ask(
        self, what: str, asked: object, limit_s: float, call_limit_s: float | None = None, find: Find | None = None
    ) -> tuple[dict[str, Any], bytes]:
        self._number += 1
        try:
            self._send(frame({"ask": what, "number": self._number}, pickle.dumps(asked)), limit_s)
            return self._await(limit_s, limit_s if call_limit_s is None else call_limit_s, find)
        except WorkerEndedError:
            raise
        except BaseException:  # of `find`, for one: a worker in the middle of an answer takes no other request
            self.kill()
            raise

    def _send(self, request: bytes, limit_s: float) -> None:
        self._connection.settimeout(limit_s)
        try:
            self._connection.sendall(request)
        except TimeoutError:
            raise self._killed("transformer_timeout", f"the worker process took no request for {limit_s:g} s") from None
        except OSError:
            raise self._ended() from None

    def _await(self, limit_s: float, call_limit_s: float, find: Find | None = None) -> tuple[dict[str, Any], bytes]:
        """The answer, watched over."""
        began_s = call_began_s = time.monotonic()
        at_call = -1
        while True:
            if select.select([self._connection], [], [], POLL_S)[0]:
                found = self._receive()
                if found is not None and find is not None and "find" in found[0]:
                    asked_s = time.monotonic()
                    self._send(frame({}, pickle.dumps(find(found[0]["find"]))), limit_s)
                    began_s += time.monotonic() - asked_s
                    call_began_s += time.monotonic() - asked_s
                elif found is not None:
                    return self._checked(found)
            now_s = time.monotonic()
            calls, _, count = self._progress.read()
            if calls != at_call:
                at_call, call_began_s = calls, now_s
            # Our own part of the work, count 0, has the whole limit.
            allowed_s = call_limit_s + count * SHARE_S if count else limit_s
            if now_s - call_began_s > allowed_s or now_s - began_s > limit_s:
                took_s = allowed_s if now_s - call_began_s > allowed_s else limit_s
                raise self._killed("transformer_timeout", f"killed after {took_s:g} s")
            self._check_memory()

    def _checked(self, answer: tuple[dict[str, Any], bytes]) -> tuple[dict[str, Any], bytes]:
        """The answer, without its number, which is that of the request."""
        if answer[0].pop("number", None) != self._number:
            raise self._killed("transformer_crashed", "the worker process answered what was not asked")
        return answer

    def _receive(self) -> tuple[dict[str, Any], bytes] | None:
        """What has arrived, if that is all of an answer."""
        try:
            chunk = self._connection.recv(1 << 20)
        except OSError:
            chunk = b""
        if not chunk:
            raise self._ended()
        self._received += chunk
        try:
            found = take_frame(self._received)
        except (ValueError, RecursionError):
            raise self._killed("transformer_crashed", "the worker process sent what is no frame") from None
        if found is not None:
            self._received.clear()
        return found

    def _check_memory(self) -> None:
        if self._memory_bytes() - self._memory_at_start > self.sources.memory_bytes:
            raise self._killed("transformer_out_of_memory", _memory_detail(self.sources))

    def _memory_bytes(self) -> int:
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def _killed(self, code: str, detail: str) -> WorkerEndedError:
        suspects = self._suspects()
        self.kill()
        return WorkerEndedError(code, detail, suspects)

    def _ended(self) -> WorkerEndedError:
        """It ended by itself, or was ended by another: how."""
        deadline = time.monotonic() + 5
        while not self._is_over() and time.monotonic() < deadline:
            time.sleep(0.001)  # it has closed its connection on its way out
        is_over = self._is_over()
        ended = self._killed("transformer_crashed", "the worker process closed its connection")
        status = self._process.returncode
        if is_over and status == EXIT_OUT_OF_MEMORY:
            return WorkerEndedError("transformer_out_of_memory", _memory_detail(self.sources), ended.suspects)
        if is_over:
            how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit code {status}"
            return WorkerEndedError(ended.code, f"the worker process {how}", ended.suspects)
        return ended

    def _is_over(self) -> bool:
        """Whether it has ended, without waiting for it: its number, and that of its group, stay its own."""
        try:
            return psutil.Process(self._process.pid).status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            return True

    def _suspects(self) -> tuple[int, int] | None:
        _, first, count = self._progress.read()
        return (first, count) if count > 0 and first >= 0 else None


class _Owner:
    """The one worker of this process, and the thread that drives it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="transformer-worker")
        self._worker: Worker | None = None
        self._lock = threading.Lock()  # for what is next
        self._at: threading.Event | None = None  # of the call that the thread is at: whether it is given up

    def call(self, sources: FormatSources, job: Callable[[Worker], T]) -> T:
        """`job` with a living worker of these sources, in the thread. When we are interrupted, the worker is killed if
        it is at our job, or starts for it; one that is at somebody else's is left alone."""
        given_up = threading.Event()
        future = self._thread.submit(self._run, sources, job, given_up)
        try:
            return future.result()
        except Exception:
            raise
        except BaseException:
            future.cancel()
            with self._lock:
                given_up.set()
                if self._at is given_up and self._worker is not None:
                    self._worker.interrupt()
            raise

    def stop(self) -> None:
        """Ends the worker, which is at nothing."""
        worker = self._worker
        if worker is not None:
            worker.kill()

    def _run(self, sources: FormatSources, job: Callable[[Worker], T], given_up: threading.Event) -> T:
        with self._lock:
            self._at = given_up
        try:
            return job(self._living(sources, given_up))
        finally:
            with self._lock:
                self._at = None

    def _living(self, sources: FormatSources, given_up: threading.Event) -> Worker:
        if self._worker is not None and (self._worker.sources != sources or not self._worker.is_alive):
            self._forget()
        if self._worker is None:
            worker = Worker(sources)
            with self._lock:
                self._worker = worker
                if given_up.is_set():
                    worker.interrupt()
            try:
                worker.begin()
            except BaseException:
                self._forget()
                raise
        return self._worker

    def _forget(self) -> None:
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()


_owner = _Owner()
_of_parents: list[_Owner] = []


def call_worker(sources: FormatSources, job: Callable[[Worker], T]) -> T:
    """`job` with this process's worker for `sources`. Calls from several threads follow one another.

    Raises:
        FormatSourceError: the sources cannot be imported.
        WorkerUnavailableError: the worker cannot be started; it may be retried.
        WorkerEndedError: the worker was killed at a limit or crashed; the next call starts another one.
    """
    return _owner.call(sources, job)


def stop_worker() -> None:
    """Ends the worker of this process, if there is one."""
    _owner.stop()


def _memory_detail(sources: FormatSources) -> str:
    return f"it needed more than TRANSFORMER_MEMORY_BYTES={sources.memory_bytes}"


def _forget() -> None:
    """In a forked child: worker and thread are the parent's."""
    global _owner  # noqa: PLW0603
    _of_parents.append(_owner)  # not collected: that would look for its process
    _owner = _Owner()


os.register_at_fork(after_in_child=_forget)
atexit.register(stop_worker)
