"""A shell on a database and a staging area of its own."""

from pathlib import Path

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.cli.shell import Shell
from sensor_platform_tests.pipeline.staged import Message, stage, value


@pytest.fixture
def shell(database: Database, staging: LocalStaging, home: Path) -> Shell:
    return Shell(
        {
            "DATABASE_URL": database.url,
            "STAGING_URL": staging.root.as_uri(),
            "SENSOR_PLATFORM_HOME": str(home),
        }
    )


@pytest.fixture
def loaded(shell: Shell, staging: LocalStaging) -> Shell:
    stage(staging, "a", [value(1.5, unit="bar"), Message(b"rubbish"), value(1.5)])
    shell.json("process", "--json")
    return shell
