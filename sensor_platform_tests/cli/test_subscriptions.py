"""`subscriptions add|remove|list`: what stands on stdout and stderr, and the exit codes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sensor_platform.cli import sensor_platform
from sensor_platform.database.engine import Database
from sensor_platform.errors import InvalidSubscriptionError


class Shell:
    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def __call__(self, *command: str) -> Result:
        return CliRunner(env=self._environment).invoke(sensor_platform, ["subscriptions", *command])


@pytest.fixture
def shell(database: Database, home: Path) -> Shell:
    return Shell({"DATABASE_URL": database.url, "SENSOR_PLATFORM_HOME": str(home)})


def test_a_batch_is_added_listed_and_removed(shell: Shell) -> None:
    added = shell("add", "plant/+/x", "plant/+/y", "plant/+/x", "--json")
    assert added.exit_code == 0
    assert json.loads(added.stdout)["added"] == ["plant/+/x", "plant/+/y"]
    assert "plant/+/x has no route" in added.stderr
    listed = {each["filter"]: each for each in json.loads(shell("list", "--json").stdout)}
    assert set(listed) == {"factory/+/sensors/+/data", "factory/+/sensors/+/csv", "plant/+/x", "plant/+/y"}
    assert (listed["plant/+/x"]["origin"], listed["factory/+/sensors/+/csv"]["origin"]) == ("added", "route")
    assert listed["plant/+/x"]["added_by"]
    assert listed["plant/+/x"]["added_at"].endswith("Z")
    assert listed["plant/+/x"]["collectors"] == []
    removed = shell("remove", "plant/+/x", "plant/+/y", "--json")
    assert json.loads(removed.stdout) == {"removed": ["plant/+/x", "plant/+/y"], "notes": []}
    assert "plant" not in shell("list").stdout


def test_what_is_refused_ends_with_the_reason_and_exit_1(shell: Shell) -> None:
    refused = shell("add", "good", "ba#d")
    assert isinstance(refused.exception, InvalidSubscriptionError)
    assert refused.exception.exit_code == 1
    assert "good" not in shell("list", "--json").stdout
    assert isinstance(shell("remove", "factory/+/sensors/+/data").exception, InvalidSubscriptionError)
    assert shell("add").exit_code == 2
