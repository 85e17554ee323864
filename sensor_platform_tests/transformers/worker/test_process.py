"""A worker starts or says why not, prints to standard error, and ends with its parent."""

import sys
from pathlib import Path

import psutil
import pytest

from sensor_platform.errors import WorkerUnavailableError
from sensor_platform.transformers.worker.owner import stop_worker
from sensor_platform_tests.transformers.formats import decoded_by, routes_of
from sensor_platform_tests.transformers.worker.parents import run_script
from sensor_platform_tests.waiting import wait_until


def test_what_a_transformer_prints_goes_to_standard_error(
    formats_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stop_worker()  # one that is started now writes to where we look
    decoded = decoded_by(routes_of(formats_folder, "trouble"), b"print")
    printed = capfd.readouterr()
    assert decoded.readings["value"].tolist() == [0.5]
    assert printed.out == ""
    assert printed.err == "words of a transformer\nand more of them"
    stop_worker()


def test_a_worker_for_which_there_is_no_process_costs_no_message(
    formats_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = routes_of(formats_folder, "trouble")
    stop_worker()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(tmp_path / "gone"))
        with pytest.raises(WorkerUnavailableError, match=r"cannot be started, try again later: .*No such file") as said:
            decoded_by(routes, b"1")
    assert said.value.retryable
    assert decoded_by(routes, b"1").readings["value"].tolist() == [1]


def test_a_worker_that_hangs_ends_with_its_parent(tmp_path: Path) -> None:
    with run_script(tmp_path, 'decoded_by(routes, b"hang")') as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    wait_until(lambda: _is_over(worker), "the worker to end")


def test_a_worker_ends_with_a_parent_that_is_done(tmp_path: Path) -> None:
    with run_script(tmp_path, "") as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.read())
    assert parent.returncode == 0
    wait_until(lambda: not psutil.pid_exists(pid) or _is_over(psutil.Process(pid)), "the worker to end")


def _is_over(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
