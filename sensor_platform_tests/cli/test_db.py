"""`db`: tables made and pruned, and how much room they take."""

import json
from pathlib import Path

import pytest

from sensor_platform.errors import ConfigurationError
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.cli.shell import Shell
from sensor_platform_tests.pipeline.staged import HOUR, stage, value


def test_db_upgrade_makes_the_tables(database_url: str, home: Path) -> None:
    shell = Shell({"DATABASE_URL": database_url, "SENSOR_PLATFORM_HOME": str(home)})
    assert shell("db", "upgrade").exit_code == 0
    assert shell.json("sensors", "list", "--json") == []


def test_without_any_database_the_error_says_what_to_do(home: Path) -> None:
    result = Shell({"SENSOR_PLATFORM_HOME": str(home)})("db", "upgrade")
    assert isinstance(result.exception, ConfigurationError)
    assert "sensor-platform up" in str(result.exception)


def test_db_prune_says_first_and_then_does(
    shell: Shell, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = HOUR.replace(year=2020)
    stage(staging, "old", [value(1, long_ago), value(2)])
    shell.json("process", "--json")
    kept = shell.json("db", "prune", "--json")
    assert (kept["partitions"], kept["kept_from"], kept["dead_letters"]["before"]) == ([], {}, None)
    monkeypatch.setitem(shell.environment, "METRIC_RETENTION_DAYS", "1000")
    would = shell.json("db", "prune", "--dry-run", "--json")
    assert (would["partitions"], would["readings"]) == (["metric_2020_11"], 0)
    said = shell("db", "prune").stderr
    assert "Partitions that were dropped: metric_2020_11.\n1 readings expired" in said
    assert json.loads(shell("status", "--json").stdout)["readings"]["expired"] == 1


def test_db_room_shows_each_table(shell: Shell) -> None:
    rooms = {row["name"]: row for row in shell.json("db", "room", "--json")}
    assert rooms["ledger"]["table_bytes"] > 0
    assert set(rooms["metric"]) == {"name", "table_bytes", "index_bytes", "rows", "partitions"}
    assert "metrics_minute" in shell("db", "room").stdout
