"""Dagster's code server, whose runs are forked from a process that has imported everything already.

`dagster api grpc` starts a new interpreter for each run: seconds of imports on two cores, most of what a row waits for.
A fork server that has done the imports starts the same run in a fraction of a second. The context that the server makes
its run processes with is a private name of Dagster's: it is replaced here and nowhere else, a test holds it, and where
an upgrade takes it away the server goes on as it comes, slower.
"""

import multiprocessing
import sys
import threading
from typing import Any

from sensor_platform.log import get_logger, set_up_logging

#: What a run imports. The fork server stays single-threaded: nothing here may start a thread or open a connection.
PRELOAD = [
    "dagster._grpc.impl",
    "dagster_postgres",
    "pandas",
    "pandera.pandas",
    "pyarrow.compute",
    "psycopg",
    "sensor_platform.definitions",
    "sensor_platform.dead_letters.retry",
    "sensor_platform.pipeline.accounting",
    "sensor_platform.pipeline.process",
    "sensor_platform.pipeline.rollups",
    "sensor_platform.transformers.csv",
    "sensor_platform.transformers.json",
]
CONTEXT = "_mp_ctx"


def fork_runs() -> None:
    """Makes every code server of this process fork its runs."""
    from dagster._grpc.server import DagsterApiServer

    set_up = DagsterApiServer.__init__

    def set_up_with_fork_server(self: DagsterApiServer, *args: Any, **options: Any) -> None:
        set_up(self, *args, **options)
        if not hasattr(self, CONTEXT):
            get_logger().warning("runs_are_not_forked", reason="this Dagster makes its run processes in another way")
            return
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
        setattr(self, CONTEXT, context)
        # The first run should not wait for the imports either. Starting any process starts the fork server.
        threading.Thread(target=context.Process(target=int).start, name="fork-server-start").start()

    DagsterApiServer.__init__ = set_up_with_fork_server  # type: ignore[method-assign]


def main() -> None:
    """`python -m sensor_platform.embedded.code_server api grpc ...`: Dagster's command, with forked runs."""
    from dagster._cli import cli

    set_up_logging()
    fork_runs()
    cli(sys.argv[1:], prog_name="dagster")


if __name__ == "__main__":
    main()
