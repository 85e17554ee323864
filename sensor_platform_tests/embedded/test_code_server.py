"""Runs are forked from a process that has imported everything: the private name of Dagster that this needs is there."""

import multiprocessing
import subprocess
import sys

from dagster._grpc.server import DagsterApiServer

from sensor_platform.embedded.code_server import CONTEXT, PRELOAD

IMPORTS = f"import importlib, threading\nfor name in {PRELOAD}: importlib.import_module(name)\n"


def test_dagster_makes_its_run_processes_with_the_context_that_we_replace() -> None:
    code = DagsterApiServer.StartRun.__code__
    assert CONTEXT in DagsterApiServer.__init__.__code__.co_names
    assert CONTEXT in code.co_names
    assert {"Queue", "Event", "Process"} <= set(dir(multiprocessing.get_context("forkserver")))


def test_what_is_imported_before_the_fork_starts_no_thread() -> None:
    said = subprocess.run(
        [sys.executable, "-c", IMPORTS + "print(threading.active_count())"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert said.stdout.strip() == "1"
