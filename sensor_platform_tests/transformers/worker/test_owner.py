"""One warm worker serves a process: whoever asks, whoever is interrupted, until it is killed."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from sensor_platform.transformers.worker import owner
from sensor_platform.transformers.worker.owner import call_worker, stop_worker
from sensor_platform.transformers.worker.requests import Worker
from sensor_platform_tests.transformers.formats import decoded_by, routes_of, worker_pid
from sensor_platform_tests.transformers.worker.parents import run_script
from sensor_platform_tests.waiting import wait_until


def test_a_worker_that_was_killed_is_gone_and_another_one_takes_over(formats_folder: Path) -> None:
    routes = routes_of(formats_folder, "trouble")
    first = worker_pid(routes)
    decoded_by(routes, b"exit")
    assert worker_pid(routes) != first
    assert not psutil.pid_exists(first)


@contextlib.contextmanager
def interrupted_when(condition: Callable[[], object], what: str) -> Iterator[None]:
    """Ctrl-C for the main thread, which is this one, once `condition` holds."""
    main = threading.get_ident()

    def interrupt() -> None:
        wait_until(condition, what, timeout_s=60)
        signal.pthread_kill(main, signal.SIGINT)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            yield
        waiting.result(timeout=60)


def test_an_interrupted_start_is_not_waited_for(
    formats_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = routes_of(formats_folder, "trouble")
    stop_worker()
    python, started = tmp_path / "python", tmp_path / "started"
    python.write_text(f'#!/bin/sh\necho $$ > "{started}.new"\nmv "{started}.new" "{started}"\nexec sleep 1000\n')
    python.chmod(0o755)
    with monkeypatch.context() as patched, interrupted_when(started.exists, "the worker to start"):
        patched.setattr(sys, "executable", str(python))
        decoded_by(routes, b"1")
    assert decoded_by(routes, b"1").readings["value"].tolist() == [1]
    assert not psutil.pid_exists(int(started.read_text()))


def test_who_is_interrupted_while_waiting_for_its_turn_leaves_the_worker_to_others(formats_folder: Path) -> None:
    routes = routes_of(formats_folder, "trouble")
    pid = worker_pid(routes)
    sources = next(iter(routes)).sources
    began, go_on = threading.Event(), threading.Event()

    def busy(worker: Worker) -> str | None:
        began.set()
        assert go_on.wait(60)
        return worker.describe("trouble").error

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(call_worker, sources, busy)
        assert began.wait(60)
        waits = owner._owner._thread._work_queue
        with interrupted_when(lambda: waits.qsize() > 0, "somebody to wait for the worker"):
            decoded_by(routes, b"1")
        go_on.set()
        assert other.result(timeout=60) is None
    assert worker_pid(routes) == pid


def test_a_worker_outlives_the_thread_that_needed_it_first(formats_folder: Path) -> None:
    routes = routes_of(formats_folder, "trouble")
    stop_worker()
    found: list[int] = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: found.append(worker_pid(routes)))
        thread.start()
        thread.join()
    assert found == [worker_pid(routes)] * 2


def test_a_forked_process_has_a_worker_of_its_own(tmp_path: Path) -> None:
    then = "pid = os.fork()\nprint(worker_pid(routes), flush=True)\nif pid: os.waitpid(pid, 0)\nelse: os._exit(0)"
    with run_script(tmp_path, then) as parent:
        assert parent.stdout is not None
        first, *others = parent.stdout.read().split()
    assert len(others) == 2
    assert first in others
    assert len(set(others)) == 2
