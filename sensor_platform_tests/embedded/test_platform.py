"""The whole of `up`: refusals that need no part to start, and one real start."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from sensor_platform.embedded.leftovers import PlatformRunningError, platform_lock
from sensor_platform.embedded.platform import Platform
from sensor_platform.errors import DatabaseUnavailableError
from sensor_platform.settings import ApiSettings, MqttSettings, Settings
from sensor_platform_tests.conftest import Broker, free_port


def test_a_second_platform_on_a_home_is_refused(home: Path) -> None:
    said: list[str] = []
    refused = pytest.raises(PlatformRunningError, match="Stop it first, or set SENSOR_PLATFORM_HOME")
    with platform_lock(home), refused, Platform(Settings(home=home), on_event=said.append):
        pass
    assert said == []


def test_a_database_that_does_not_answer_is_said_before_anything_starts(home: Path) -> None:
    url = SecretStr(f"postgresql://u:p@127.0.0.1:{free_port()}/d")
    settings = Settings(home=home, database_url=url)
    with pytest.raises(DatabaseUnavailableError, match="does not answer"), Platform(settings):
        pass
    assert not (home / "processes.json").exists()
    with platform_lock(home):  # and it was let go
        assert not (home / "run.json").exists()


@pytest.mark.slow
def test_with_a_database_and_a_broker_of_ones_own_only_the_rest_is_started(
    home: Path, database_url: str, fresh_broker: Broker
) -> None:
    settings = Settings(
        home=home,
        database_url=SecretStr(database_url.replace("postgresql://", "postgres://")),
        mqtt=MqttSettings(
            broker_url=fresh_broker.url, username=fresh_broker.username, password=SecretStr(fresh_broker.password)
        ),
        api=ApiSettings(port=free_port(), dagster_port=free_port()),
    )
    with Platform(settings, on_event=lambda _: None) as platform:
        assert platform.wait_ready(timeout_s=240)
        running = platform.running
        assert sorted(running.parts) == ["api", "code_server", "collector", "daemon", "webserver"]
        assert (running.routes, running.folder) == (None, str(Path.cwd()))
        assert json.loads((home / "run.json").read_text())["database_url"] == database_url
        assert Path(running.mqtt_password_file or "").read_text() == fresh_broker.password
        command = [sys.executable, "-m", "sensor_platform.cli", "status", "--json"]
        environ = {"SENSOR_PLATFORM_HOME": str(home), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False, cwd=home)
        assert (done.returncode, json.loads(done.stdout)["ready"]) == (0, True), done.stderr
        children = psutil.Process().children(recursive=True)
        parts = [child for child in children if child.pid in {part.pid for part in running.parts.values()}]
        assert len(parts) == 5
    assert not any(part.is_running() for part in parts)
    assert sorted(path.name for path in home.glob("*.json")) == []
