"""Formats of one's own run in a process that may hang, grow and crash: that costs the guilty messages alone."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from sensor_platform.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    SensorPlatformError,
    WorkerUnavailableError,
)
from sensor_platform.pipeline.decode import DecodedMessages, decode
from sensor_platform.routes.model import Routes
from sensor_platform.settings import TransformerSettings
from sensor_platform.transformers import custom
from sensor_platform.transformers import worker as worker_module
from sensor_platform.transformers.contract import READING_COLUMNS
from sensor_platform.transformers.definitions import Definition, Definitions, Find
from sensor_platform.transformers.keeping import no_readings
from sensor_platform.transformers.worker import Worker, call_worker, stop_worker
from sensor_platform_tests.transformers.decoding import codes, table_of
from sensor_platform_tests.transformers.formats import TROUBLE, routes_of
from sensor_platform_tests.waiting import wait_until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder, so that one warm worker serves these tests."""
    return tmp_path_factory.mktemp("formats")


@pytest.fixture(scope="module", autouse=True)
def _no_worker_is_left() -> object:
    yield
    stop_worker()


def decoded_by(routes: Routes, *payloads: bytes) -> DecodedMessages:
    return decode(table_of(payloads, topic="p/line1/press"), routes, max_payload_bytes=1_000_000)


def worker_pid(routes: Routes) -> int:
    return int(decoded_by(routes, b"pid").readings["value"][0])


def assert_types_of_the_contract(decoded: DecodedMessages) -> None:
    assert len(decoded.readings) == 2
    assert decoded.readings[list(READING_COLUMNS)].dtypes.to_dict() == no_readings().dtypes.to_dict()


def test_a_format_of_ones_own_runs_in_another_process_that_stays(folder: Path) -> None:
    routes = routes_of(folder, "trouble")
    first = worker_pid(routes)
    assert first != os.getpid()
    assert "plant_formats" not in sys.modules
    assert worker_pid(routes) == first
    assert_types_of_the_contract(decoded_by(routes, b"1", b"2"))
    assert decoded_by(routes, b"12").transformer_versions == {"trouble": "3"}


#: Payload, and what becomes of it: code, and how the detail starts.
TROUBLES = [
    (b"hang", "transformer_timeout", "killed after 2"),
    (b"grow", "transformer_out_of_memory", "it needed more than TRANSFORMER_MEMORY_BYTES=200000000"),
    (b"segfault", "transformer_crashed", "the worker process was ended by SIGSEGV"),
    (b"killed", "transformer_crashed", "the worker process was ended by SIGKILL"),
    (b"exit", "transformer_crashed", "the worker process ended with exit code 3"),
    (b"sys.exit", "transformer_crashed", "the worker process ended with exit code 4"),
    (b"raise", "transformer_failed", 'ValueError: "no such force" (plant_formats.py:'),
]


def test_messages_that_hang_grow_crash_and_raise_are_refused_alone(folder: Path) -> None:
    bad = [payload for payload, _, _ in TROUBLES]
    decoded = decoded_by(routes_of(folder, "trouble"), b"1", *bad, b"9")
    assert codes(decoded) == [(place, -1, code) for place, (_, code, _) in enumerate(TROUBLES, start=1)]
    for refusal, (_, _, detail) in zip(decoded.refusals, TROUBLES, strict=True):
        assert refusal.detail.startswith(detail)
        assert refusal.stage == "decode"
    assert decoded.readings[["message", "value"]].values.tolist() == [[0, 1.0], [8, 9.0]]


def test_a_column_that_hangs_is_halved_until_the_guilty_message_stands_alone(folder: Path) -> None:
    decoded = decoded_by(routes_of(folder, "column-trouble"), b"1", b"2", b"hang", b"4")
    assert codes(decoded) == [(2, -1, "transformer_timeout")]
    assert decoded.readings[["message", "value"]].values.tolist() == [[0, 1.0], [1, 2.0], [3, 4.0]]


def test_a_worker_that_was_killed_is_gone_and_another_one_takes_over(folder: Path) -> None:
    routes = routes_of(folder, "trouble")
    first = worker_pid(routes)
    decoded_by(routes, b"exit")
    assert worker_pid(routes) != first
    assert not psutil.pid_exists(first)


def test_what_a_transformer_prints_goes_to_standard_error(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stop_worker()  # one that is started now writes to where we look
    decoded = decoded_by(routes_of(folder, "trouble"), b"print")
    printed = capfd.readouterr()
    assert decoded.readings["value"].tolist() == [0.5]
    assert printed.out == ""
    assert printed.err == "words of a transformer\nand more of them"
    stop_worker()


def test_a_transformer_that_ends_on_everything_is_given_up_within_bounds(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custom, "MAX_ENDS", 2)
    decoded = decoded_by(routes_of(folder, "trouble"), *[b"exit"] * 5)
    assert [code for _, _, code in codes(decoded)] == ["transformer_crashed"] * 2 + ["transformer_timeout"] * 3
    assert decoded.refusals[-1].detail.endswith("took the time that there is for all: retry it")


def test_a_group_is_sent_in_pieces_and_comes_back_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custom, "PIECE_MESSAGES", 3)
    monkeypatch.setattr(custom, "PIECE_BYTES", 4)
    assert_types_of_the_contract(decoded_by(routes_of(folder, "column-trouble"), b"1", b"2"))
    decoded = decoded_by(routes_of(folder, "column-trouble"), b"0", b"11", b"22", b"3", b"444444", b"5", b"6", b"8")
    assert decoded.readings["value"].tolist() == [0, 11, 22, 3, 444444, 5, 6, 8]
    assert decoded.refusals == []


def test_definitions_reach_a_format_of_ones_own_in_received_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custom, "PIECE_MESSAGES", 3)
    payloads = [b"2", b"scale 10", b"2", b"scale 100", b"exit", b"3", b"4"]
    asked: list[list[str]] = []

    def known(keys: Collection[str]) -> dict[str, list[Definition]]:
        asked.append(list(keys))
        return {"scale": [Definition(0, "scale", {"scale": 5.0})]}

    decoded = decode(
        table_of(payloads, topic="p/line1/press"),
        routes_of(folder, "scaled"),
        max_payload_bytes=1000,
        definitions_of=lambda _format: Definitions(known),
    )
    assert decoded.readings[["message", "value"]].values.tolist() == [[0, 10], [2, 20], [5, 300], [6, 400]]
    assert codes(decoded) == [(4, -1, "transformer_crashed")]
    assert np.flatnonzero(decoded.ignored).tolist() == [1, 3]
    assert [(one.message, one.content) for one in decoded.definitions["scaled"]] == [
        (1, {"scale": 10.0}),
        (3, {"scale": 100.0}),
    ]
    assert asked == [["scale"]]


def scaled_by(routes: Routes, find: Find, *payloads: bytes) -> list[float]:
    decoded = decode(
        table_of(payloads, topic="p/line1/press"),
        routes,
        max_payload_bytes=1000,
        definitions_of=lambda _format: Definitions(find),
    )
    assert decoded.refusals == []
    return list(decoded.readings["value"])


def test_a_group_whose_definitions_cannot_be_had_leaves_no_answer_to_the_next(folder: Path) -> None:
    answers: list[Any] = [DatabaseUnavailableError("away"), {"scale": [Definition(0, "scale", {"scale": 1.0})]}]

    def known(_keys: Collection[str]) -> dict[str, list[Definition]]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    routes = routes_of(folder, "scaled")
    with pytest.raises(SensorPlatformError, match="away"):
        scaled_by(routes, known, b"1", b"2", b"3")
    assert scaled_by(routes, known, b"100", b"200", b"300") == [100, 200, 300]


@pytest.mark.parametrize(
    ("header", "detail"),
    [(b'{"readings": 1}', "answered what was not asked"), (b'{"a": ' * 100_000, "sent what is no frame")],
    ids=["another answer", "too deep"],
)
def test_what_a_transformer_sends_in_the_workers_name_is_no_answer(header: bytes, detail: str, tmp_path: Path) -> None:
    code = (
        "import socket, struct, sys\nfrom sensor_platform import transformer\n\n\n"
        "@transformer('sending')\ndef sending(payload, topic, received_at):\n"
        "    connection = socket.socket(fileno=int(sys.argv[3]))\n"
        "    connection.sendall(struct.pack('<II', len(payload), 0) + payload)\n"
        "    while True: pass\n"
    )
    refusals = decoded_by(routes_of(tmp_path, "sending", code=code), header).refusals
    assert [(each.code, each.detail) for each in refusals] == [("transformer_crashed", f"the worker process {detail}")]


ENDED_ONCE = """
import os, signal
from pathlib import Path
from sensor_platform import transformer
from sensor_platform.transformers import worker_main

sent = worker_main.to_bytes
ended = Path(__file__).with_name("ended")


def end_once(decoded):
    if not ended.exists():
        ended.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return sent(decoded)


worker_main.to_bytes = end_once


@transformer("harmless")
def harmless(payload, topic, received_at):
    return [{"value": int(payload)}]
"""


def test_a_worker_that_is_ended_while_it_calls_nothing_costs_no_message(tmp_path: Path) -> None:
    decoded = decoded_by(routes_of(tmp_path, "harmless", code=ENDED_ONCE), b"5")
    assert (tmp_path / "ended").exists()
    assert decoded.refusals == []
    assert decoded.readings["value"].tolist() == [5]


def test_a_worker_that_cannot_be_started_costs_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = routes_of(tmp_path, "trouble")
    stop_worker()
    python, started = tmp_path / "python", tmp_path / "started"
    python.write_text(f'#!/bin/sh\n[ -e "{started}" ] && exit 9\ntouch "{started}"\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(WorkerUnavailableError, match=r"did not start, try again later: .* ended with exit code 9"):
        decoded_by(routes, b"exit", b"1")


def test_a_worker_for_which_there_is_no_process_costs_no_message(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = routes_of(folder, "trouble")
    stop_worker()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(tmp_path / "gone"))
        with pytest.raises(WorkerUnavailableError, match=r"cannot be started, try again later: .*No such file") as said:
            decoded_by(routes, b"1")
    assert said.value.retryable
    assert decoded_by(routes, b"1").readings["value"].tolist() == [1]


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


def test_an_interrupted_start_is_not_waited_for(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = routes_of(folder, "trouble")
    stop_worker()
    python, started = tmp_path / "python", tmp_path / "started"
    python.write_text(f'#!/bin/sh\necho $$ > "{started}.new"\nmv "{started}.new" "{started}"\nexec sleep 1000\n')
    python.chmod(0o755)
    with monkeypatch.context() as patched, interrupted_when(started.exists, "the worker to start"):
        patched.setattr(sys, "executable", str(python))
        decoded_by(routes, b"1")
    assert decoded_by(routes, b"1").readings["value"].tolist() == [1]
    assert not psutil.pid_exists(int(started.read_text()))


def test_who_is_interrupted_while_waiting_for_its_turn_leaves_the_worker_to_others(folder: Path) -> None:
    routes = routes_of(folder, "trouble")
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
        waits = worker_module._owner._thread._work_queue
        with interrupted_when(lambda: waits.qsize() > 0, "somebody to wait for the worker"):
            decoded_by(routes, b"1")
        go_on.set()
        assert other.result(timeout=60) is None
    assert worker_pid(routes) == pid


def test_a_name_that_is_no_text_refuses_its_reading(folder: Path) -> None:
    decoded = decoded_by(routes_of(folder, "column-trouble"), b"1", b"7")
    assert codes(decoded) == [(1, 0, "invalid_reading")]
    assert decoded.refusals[0].detail == "the sensor 7 is not a text"
    assert decoded.readings[["sensor", "unit", "text"]].values.tolist() == [["press", "kN", None]]


def test_a_worker_outlives_the_thread_that_needed_it_first(folder: Path) -> None:
    routes = routes_of(folder, "trouble")
    stop_worker()
    found: list[int] = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: found.append(worker_pid(routes)))
        thread.start()
        thread.join()
    assert found == [worker_pid(routes)] * 2


SCRIPT = """
import os, sys
from pathlib import Path
from sensor_platform_tests.transformers.formats import routes_of
from sensor_platform_tests.transformers.test_worker import decoded_by, worker_pid
routes = routes_of(Path({folder!r}), "trouble")
print(worker_pid(routes), flush=True)
{then}
"""


def run_script(folder: Path, then: str) -> "subprocess.Popen[str]":
    script = SCRIPT.format(folder=str(folder), then=then)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


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


def test_a_forked_process_has_a_worker_of_its_own(tmp_path: Path) -> None:
    then = "pid = os.fork()\nprint(worker_pid(routes), flush=True)\nif pid: os.waitpid(pid, 0)\nelse: os._exit(0)"
    with run_script(tmp_path, then) as parent:
        assert parent.stdout is not None
        first, *others = parent.stdout.read().split()
    assert len(others) == 2
    assert first in others
    assert len(set(others)) == 2


def test_a_function_that_no_other_process_can_import_is_called_here() -> None:
    from sensor_platform_tests.transformers.decoding import decode_payloads

    def own_pid(payload: bytes, topic: str, received_at: object) -> list[dict[str, object]]:
        return [{"value": os.getpid()}]

    with registered("only-here", own_pid):
        assert decode_payloads(b"x", format_="only-here").readings["value"].tolist() == [os.getpid()]


@contextlib.contextmanager
def registered(name: str, function: Callable[..., object]):  # type: ignore[no-untyped-def]
    from sensor_platform.transformers import registry

    registry.transformer(name)(function)
    try:
        yield
    finally:
        del registry._registered[name]


def test_a_module_that_this_process_has_imported_runs_in_the_worker_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    from sensor_platform.transformers import registry
    from sensor_platform_tests.transformers.decoding import decode_payloads

    (tmp_path / "imported_formats.py").write_text(TROUBLE.replace('"trouble"', '"imported"'), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_registered", {})
    importlib.import_module("imported_formats")
    decoded = decode_payloads(b"pid", format_="imported")
    assert decoded.refusals == []
    assert decoded.readings["value"][0] != os.getpid()


def test_a_module_that_never_comes_to_an_end_is_said_with_its_line(tmp_path: Path) -> None:
    limits = TransformerSettings(timeout_s=0.2)
    with pytest.raises(ConfigurationError) as refused:
        routes_of(tmp_path, "trouble", code="while True: pass", limits=limits)
    assert str(refused.value).startswith(
        'routes.yaml:1: transformers: module "plant_formats" cannot be imported: killed after 1.2'
    )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise RuntimeError('no licence')", 'module "plant_formats" cannot be imported: RuntimeError: no licence'),
        ("import os; os._exit(1)", "cannot be imported: the worker process ended with exit code 1"),
        ("", 'route "r": unknown format "trouble". Known: '),
    ],
)
def test_a_module_that_brings_no_format_is_said_with_its_line(code: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        routes_of(tmp_path, "trouble", code=code)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_options_of_a_format_are_checked_where_it_runs(tmp_path: Path) -> None:
    code = (
        "from sensor_platform import transformer\n"
        "from sensor_platform.transformers.registry import FormatOptions\n\n\n"
        "class Options(FormatOptions):\n    order: str\n\n\n"
        "@transformer('trouble', options=Options)\ndef f(payload, topic, received_at):\n    return []\n"
    )
    with pytest.raises(ConfigurationError, match=r'routes\.yaml:2: route "r": options\.order is missing'):
        routes_of(tmp_path, "trouble", code=code)


def _is_over(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
