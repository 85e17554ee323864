"""The command as people and scripts meet it: help that is quick to load, errors in one line, the right exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sensor_platform.cli import COMMANDS

HEAVY = ("pandas", "pandera", "dagster", "sqlalchemy", "fastapi")


def run(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sensor_platform.cli", *args]
    return subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False
    )


def imported_by(code: str) -> set[str]:
    said = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*(m for m in {HEAVY} if m in sys.modules))"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(said.stdout.split())


def test_help_imports_nothing_heavy() -> None:
    assert imported_by("import sensor_platform.cli") == set()
    assert run("--help").returncode == 0


@pytest.mark.parametrize("module", ["sensor_platform.cli.collect", "sensor_platform.mqtt.collector"])
def test_the_collector_imports_neither_pandas_nor_dagster(module: str) -> None:
    assert imported_by(f"import {module}") == set()


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
    assert done.stderr == ""


def test_a_bad_setting_is_one_line_and_exit_78(tmp_path: Path) -> None:
    done = run("status", SENSOR_PLATFORM_HOME=str(tmp_path), MQTT_BROKER_URL="http://x")
    assert done.returncode == 78
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("sensor-platform: MQTT_BROKER_URL=http://x: accepted: mqtt://")


def test_an_unknown_option_is_exit_2() -> None:
    assert run("status", "--nonsense").returncode == 2
