"""run.json: found while its platform lives, private, and second to explicit settings."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from sensor_platform.embedded.environment import environment_of, password_file_of
from sensor_platform.embedded.process import start_time
from sensor_platform.embedded.run_file import (
    Running,
    RunningPart,
    read_run_file,
    remove_run_file,
    resolved,
    write_run_file,
)
from sensor_platform.routes.file import load_routes
from sensor_platform.routes.place import PACKAGED
from sensor_platform.settings import MqttSettings, Settings, load_settings


@pytest.fixture
def running(home: Path) -> Running:
    password = home / "password"
    password.write_text("s3cret\n")
    return Running(
        pid=os.getpid(),
        started_at=start_time(os.getpid()),
        mqtt_url="mqtt://127.0.0.1:1884",
        mqtt_username="plant",
        mqtt_password_file=str(password),
        database_url="postgresql://u:p@127.0.0.1:5433/d",
        staging_url=(home / "staging").as_uri(),
        dagster_url="http://127.0.0.1:3000",
        api_url="http://127.0.0.1:8080",
        token_file=str(home / "token"),
        parts={"collector": RunningPart(pid=1, state="running", restarts=2)},
    )


def test_it_comes_back_as_it_was_written_and_is_private(home: Path, running: Running) -> None:
    write_run_file(home, running)
    assert read_run_file(home) == running
    assert (home / "run.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in home.glob("run.json*")] == ["run.json"]
    remove_run_file(home)
    assert read_run_file(home) is None
    remove_run_file(home)


def test_one_of_a_dead_platform_does_not_count(home: Path, running: Running) -> None:
    write_run_file(home, replace(running, started_at=running.started_at - 100))
    assert read_run_file(home) is None
    assert resolved(Settings(home=home)).database_url is None


def test_half_a_file_is_no_platform(home: Path) -> None:
    (home / "run.json").write_text('{"pid": 1')
    assert read_run_file(home) is None


def test_open_settings_are_filled_in(home: Path, running: Running) -> None:
    write_run_file(home, running)
    found = resolved(Settings(home=home))
    assert found.mqtt.broker_url == "mqtt://127.0.0.1:1884"
    assert found.mqtt.username == "plant"
    assert found.mqtt.password == SecretStr("s3cret")
    assert found.database_url == SecretStr("postgresql://u:p@127.0.0.1:5433/d")
    assert found.staging_url == (home / "staging").as_uri()


def test_routes_are_those_that_the_platform_takes_now(home: Path, running: Running) -> None:
    def taken(routes: str | None = None, folder: str | None = str(home)) -> Path | None:
        write_run_file(home, replace(running, routes=routes, folder=folder))
        return resolved(Settings(home=home)).routes_file

    assert taken("/plant/r.yaml") == Path("/plant/r.yaml")
    assert taken() == PACKAGED
    assert load_routes(resolved(Settings(home=home))).source == "default.yaml"
    (home / "routes.yaml").write_text("routes: []")
    assert taken() == home / "routes.yaml"
    assert resolved(Settings(home=home, routes_file=Path("mine.yaml"))).routes_file == Path("mine.yaml")
    assert taken(folder=None) is None


def test_explicit_settings_win(home: Path, running: Running) -> None:
    write_run_file(home, running)
    ours = Settings(
        home=home,
        database_url=SecretStr("postgresql://mine/db"),
        staging_url="file:///mine",
        mqtt=MqttSettings(broker_url="mqtt://mine"),
    )
    assert resolved(ours) == ours


def test_settings_survive_the_way_through_an_environment(home: Path) -> None:
    ours = Settings(
        home=home,
        database_url=SecretStr("postgresql://u:p%40ss@h/d"),
        mqtt=MqttSettings(broker_url="mqtts://h:8883", password=SecretStr("a b'c"), tls_enabled=True, linger_ms=7),
    )
    assert load_settings(environment_of(ours), env_file=None) == ours


def test_a_password_given_by_value_gets_a_private_file(home: Path) -> None:
    (home / "secrets").mkdir()
    assert password_file_of(Settings(home=home)) is None
    path = password_file_of(Settings(home=home, mqtt=MqttSettings(password=SecretStr("geheim"))))
    assert path is not None
    assert path.read_text() == "geheim"
    assert path.stat().st_mode & 0o777 == 0o600
