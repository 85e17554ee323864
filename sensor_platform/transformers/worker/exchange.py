"""One request and its answer after another, watched over: the worker is killed at a limit of time or memory."""

import pickle
import select
import signal
import sys
import time
from collections.abc import Callable

from sensor_platform.errors import WorkerUnavailableError
from sensor_platform.transformers.worker.framing import EXIT_OUT_OF_MEMORY, Frame, frame, take_frame
from sensor_platform.transformers.worker.limits import TimeLimits
from sensor_platform.transformers.worker.process import WorkerProcess

POLL_S = 0.02
START_TIMEOUT_S = 120.0
#: For a process to end that has closed its connection on its way out.
ENDING_S = 5.0

#: Keys -> what a worker unpickles as their definitions.
Find = Callable[[list[str]], object]


class WorkerEndedError(Exception):
    """The worker was killed, or ended by itself, before it answered.

    code: of the dead letters that it makes. suspects: place of the first message that it was at, and how many; None
    where it was at none.
    """

    def __init__(self, code: str, detail: str, suspects: tuple[int, int] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.suspects = suspects


class Exchange:
    """What is said between us and one worker process. memory_bytes: what it may use beyond what it starts with."""

    def __init__(self, process: WorkerProcess, *, memory_bytes: int) -> None:
        self._process = process
        self._memory_bytes = memory_bytes
        self._memory_at_start = sys.maxsize  # what our own imports take is not the transformers'
        self._received = bytearray()
        self._number = 0  # of the request that is being answered; the first answer, to none, has 0

    def begin(self) -> None:
        """Waits until the process says that it is ready.

        Raises:
            WorkerUnavailableError: it does not come to that.
        """
        try:
            self._await(START_TIMEOUT_S, START_TIMEOUT_S)
        except WorkerEndedError as ended:
            problem = f"the process for transformers of your own did not start, try again later: {ended.detail}"
            raise WorkerUnavailableError(problem) from ended
        self._memory_at_start = self._process.memory_bytes()

    def ask(
        self, what: str, asked: object, *, limit_s: float, call_limit_s: float | None = None, find: Find | None = None
    ) -> Frame:
        """The answer. Limits: see `TimeLimits`. find: asked for what other messages defined; its time is not counted.

        Raises:
            WorkerEndedError: a limit was reached, or the process crashed.
        """
        self._number += 1
        self._process.progress.began(0, 0)
        try:
            self._send(frame({"ask": what, "number": self._number}, pickle.dumps(asked)), limit_s)
            return self._await(limit_s, limit_s if call_limit_s is None else call_limit_s, find)
        except WorkerEndedError:
            raise
        except BaseException:  # of `find`, for one: a worker in the middle of an answer takes no other request
            self._process.kill()
            raise

    def _send(self, request: bytes, limit_s: float) -> None:
        self._process.connection.settimeout(limit_s)
        try:
            self._process.connection.sendall(request)
        except TimeoutError:
            raise self._killed("transformer_timeout", f"the worker process took no request for {limit_s:g} s") from None
        except OSError:
            raise self._ended() from None

    def _await(self, limit_s: float, call_limit_s: float, find: Find | None = None) -> Frame:
        limits = TimeLimits(limit_s, call_limit_s, now_s=time.monotonic())
        while True:
            arrived = self._receive()
            if arrived is not None and find is not None and "find" in arrived[0]:
                began_s = time.monotonic()
                self._send(frame({}, pickle.dumps(find(arrived[0]["find"]))), limit_s)
                limits.leave_out(time.monotonic() - began_s)
            elif arrived is not None:
                return self._checked(arrived)
            self._check_time(limits)
            self._check_memory()

    def _receive(self) -> Frame | None:
        """What arrives soon, if that is the rest of a frame."""
        connection = self._process.connection
        if not select.select([connection], [], [], POLL_S)[0]:
            return None
        try:
            chunk = connection.recv(1 << 20)
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

    def _checked(self, answer: Frame) -> Frame:
        """The answer, without its number, which is that of the request."""
        if answer[0].pop("number", None) != self._number:
            raise self._killed("transformer_crashed", "the worker process answered what was not asked")
        return answer

    def _check_time(self, limits: TimeLimits) -> None:
        call, _, count = self._process.progress.read()
        reached_s = limits.reached_s(call, count, now_s=time.monotonic())
        if reached_s is not None:
            raise self._killed("transformer_timeout", f"killed after {reached_s:g} s")

    def _check_memory(self) -> None:
        if self._process.memory_bytes() - self._memory_at_start > self._memory_bytes:
            raise self._killed("transformer_out_of_memory", self._memory_detail())

    def _memory_detail(self) -> str:
        return f"it needed more than TRANSFORMER_MEMORY_BYTES={self._memory_bytes}"

    def _killed(self, code: str, detail: str) -> WorkerEndedError:
        suspects = self._suspects()
        self._process.kill()
        return WorkerEndedError(code, detail, suspects)

    def _ended(self) -> WorkerEndedError:
        """It ended by itself, or was ended by another: how."""
        is_over = self._process.is_over_within(ENDING_S)
        ended = self._killed("transformer_crashed", "the worker process closed its connection")
        status = self._process.exit_status
        if not is_over or status is None:
            return ended
        if status == EXIT_OUT_OF_MEMORY:
            return WorkerEndedError("transformer_out_of_memory", self._memory_detail(), ended.suspects)
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit code {status}"
        return WorkerEndedError(ended.code, f"the worker process {how}", ended.suspects)

    def _suspects(self) -> tuple[int, int] | None:
        _, first, count = self._process.progress.read()
        return (first, count) if count > 0 and first >= 0 else None
