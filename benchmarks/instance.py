"""A Dagster instance in this process, as `up` makes it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def dagster_instance(home: Path, url: str) -> Iterator[Any]:
    """On the PostgreSQL of `url`. Definitions are imported after this: they ask for the home."""
    from sensor_platform.embedded.parts import dagster_home, write_dagster_home

    write_dagster_home(home, code_server_port=1)  # nobody asks it

    os.environ |= {"SENSOR_PLATFORM_HOME": str(home), "DATABASE_URL": url, "DAGSTER_HOME": str(dagster_home(home))}
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        yield instance
