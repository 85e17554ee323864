"""The one worker of this process: started when needed, kept warm, replaced when it was killed.

One thread drives it, which lives as long as it does: Linux ties the death signal to the thread that starts a process,
not to its parent process.
"""

import atexit
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sensor_platform.routes.sources import FormatSources
from sensor_platform.transformers.worker.requests import Worker

T = TypeVar("T")


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
                    self._worker.process.interrupt()
            raise

    def stop(self) -> None:
        """Ends the worker, which is at nothing."""
        worker = self._worker
        if worker is not None:
            worker.process.kill()

    def _run(self, sources: FormatSources, job: Callable[[Worker], T], given_up: threading.Event) -> T:
        with self._lock:
            self._at = given_up
        try:
            return job(self._living(sources, given_up))
        finally:
            with self._lock:
                self._at = None

    def _living(self, sources: FormatSources, given_up: threading.Event) -> Worker:
        if self._worker is not None and (self._worker.sources != sources or not self._worker.process.is_alive):
            self._forget()
        if self._worker is None:
            worker = Worker(sources)
            with self._lock:
                self._worker = worker
                if given_up.is_set():
                    worker.process.interrupt()
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
            worker.process.kill()


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


def _leave_to_parent() -> None:
    """In a forked child: worker and thread are the parent's."""
    global _owner  # noqa: PLW0603
    _of_parents.append(_owner)  # not collected: that would look for its process
    _owner = _Owner()


os.register_at_fork(after_in_child=_leave_to_parent)
atexit.register(stop_worker)
