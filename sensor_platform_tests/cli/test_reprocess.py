"""`reprocess`: what making hours again would change."""

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.embedded.process import start_time
from sensor_platform.embedded.run_file import Running, write_run_file
from sensor_platform.errors import DagsterUnavailableError
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.cli.shell import Shell
from sensor_platform_tests.conftest import free_port
from sensor_platform_tests.pipeline.staged import HOUR, Message, stage, value

RANGE = ["--from", "2026-11-23T10:30:00Z", "--to", "2026-11-23T11:00:00Z"]
TEXTS = """
routes:
  - {name: press, filter: "factory/press/sensors/{sensor}/data", work_unit: press, format: json, text: true}
  - {name: data, filter: "factory/{work_unit}/sensors/{sensor}/data", format: json}
"""


@pytest.fixture
def changed(loaded: Shell, staging: LocalStaging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A text more, which the routes of now accept at the press alone."""
    stage(staging, "b", [value("warm"), Message({"value": "hot"}, "factory/oven/sensors/o1/data")], first_sequence=9)
    loaded.json("process", "--json")
    (tmp_path / "routes.yaml").write_text(TEXTS)
    monkeypatch.setitem(loaded.environment, "SENSOR_PLATFORM_ROUTES", str(tmp_path / "routes.yaml"))
    return loaded


def test_reprocess_says_what_would_change(changed: Shell) -> None:
    said = changed.json("reprocess", *RANGE, "--dry-run", "--json")
    assert (said["hours"], said["micro_batches"], said["messages"]) == (["2026-11-23T10:00:00Z"], 2, 5)
    assert (said["total"]["added"], said["total"]["newly_accepted"]) == (1, {"value_not_number": 1})
    assert said["routes"]["press"]["samples"]["added"][0]["after"] == {"value": None, "text": "warm", "quality": "good"}
    assert changed.json("metrics", "--sensor", "press/p1", "--json")[-1]["text"] is None
    shown = changed("reprocess", *RANGE, "--dry-run")
    assert "1 dead_lettered -> accepted" in shown.stdout
    assert "2 micro-batches with 5 messages of 1 hours were decoded again; nothing was changed." in shown.stderr


def test_reprocess_says_when_nothing_would_change(loaded: Shell) -> None:
    shown = loaded("reprocess", *RANGE, "--dry-run")
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert "nothing was changed. A backfill would change nothing." in shown.stderr


def test_reprocess_of_one_route_says_that_hours_are_whole(changed: Shell) -> None:
    said = changed.json("reprocess", *RANGE, "--dry-run", "--json", "--route", "data")
    assert (said["routes"], said["changes_of_other_routes"]) == ({}, ["press"])
    assert (
        "Hours are whole: messages of press change, too."
        in changed("reprocess", *RANGE, "--dry-run", "--route", "data").stderr
    )


def test_reprocess_refuses_a_route_that_never_was(changed: Shell) -> None:
    for more in (["--dry-run"], []):
        unknown = changed("reprocess", *RANGE, "--route", "pres", *more)
        assert (unknown.exit_code, unknown.stdout) == (2, "")
        assert 'there is no route "pres", and never was. Did you mean "press"? Known: ' in unknown.stderr


def test_a_long_dry_run_says_how_far_it_is(changed: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensor_platform.cli.reprocess.SAYS_EVERY_S", 0.0)
    said = changed("reprocess", *RANGE, "--dry-run", "--route", "press").stderr
    assert "2026-11-23 10:00 is looked through, hour 1 of 1 …" in said
    assert "2026-11-23 10:00 is decoded again, hour 1 of 1 …" in said


def test_reprocess_takes_the_routes_of_the_running_platform(changed: Shell, tmp_path: Path) -> None:
    """A shell without a route file forecasts with that of the platform; one with another says so."""
    home, file = Path(changed.environment["SENSOR_PLATFORM_HOME"]), str(tmp_path / "routes.yaml")
    write_run_file(home, running_with(file))
    changed.environment["SENSOR_PLATFORM_ROUTES"] = ""
    shown = changed("reprocess", *RANGE, "--dry-run")
    assert "1 dead_lettered -> accepted" in shown.stdout
    assert f"Routes of {file}, as the running platform." in shown.stderr
    assert changed.json("routes", "check", "--json")["file"] == file
    mine = tmp_path / "mine.yaml"
    mine.write_text(TEXTS.replace(", text: true", ""))
    changed.environment["SENSOR_PLATFORM_ROUTES"] = str(mine)
    other = changed("reprocess", *RANGE, "--dry-run")
    assert other.stdout == ""
    assert f"Routes of {mine}, while the running platform takes {file}." in other.stderr


def test_reprocess_says_that_the_platform_may_be_stopping(changed: Shell) -> None:
    home = Path(changed.environment["SENSOR_PLATFORM_HOME"])
    away = f"http://127.0.0.1:{free_port()}"
    write_run_file(home, replace(running_with(changed.environment["SENSOR_PLATFORM_ROUTES"]), dagster_url=away))
    said = str(changed("reprocess", *RANGE).exception)
    assert f"{away}: the Dagster webserver does not answer" in said
    assert f"The platform in {home} is stopping, or starts its webserver again" in said


def running_with(routes: str) -> Running:
    me = os.getpid()
    return Running(
        pid=me,
        started_at=start_time(me),
        mqtt_url="",
        mqtt_username=None,
        mqtt_password_file=None,
        database_url="",
        staging_url="",
        dagster_url="",
        api_url="",
        token_file="",
        routes=routes,
        folder="/",
    )


def test_reprocess_says_which_hours_are_made_again_with_those_that_it_names(
    changed: Shell, database: Database, staging: LocalStaging
) -> None:
    """The first partition stands for all hours before it, too: the launch takes those, and so does the forecast."""
    with database.begin() as connection:
        begun = {"hour": HOUR + timedelta(hours=1)}
        connection.execute(sa.text("UPDATE sensor_platform.installation SET first_hour = :hour"), begun)
    stage(staging, "c", [value(1, HOUR + timedelta(hours=1))], hour=HOUR + timedelta(hours=1), first_sequence=20)
    later = ["--from", "2026-11-23T11:00:00Z", "--to", "2026-11-23T12:00:00Z", "--dry-run"]
    said = changed.json("reprocess", *later, "--json")
    assert said["taken_with_them"] == ["2026-11-23T10:00:00Z"]
    assert (said["hours"], said["micro_batches"]) == (["2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z"], 3)
    assert said["total"]["newly_accepted"] == {"value_not_number": 1}
    assert (
        "1 more hours, 2026-11-23 10:00 to 2026-11-23 10:00, are made again with these"
        in changed("reprocess", *later).stderr
    )


def test_reprocess_of_a_route_that_was_renamed_says_where_its_changes_are(changed: Shell) -> None:
    shown = changed("reprocess", *RANGE, "--dry-run", "--route", "factory-json")
    assert shown.exit_code == 0
    assert "messages of press change, too" in shown.stderr
    assert "No route is called factory-json today: what it made is told under the routes of today." in shown.stderr


def test_reprocess_of_hours_that_hold_nothing_is_no_success(changed: Shell) -> None:
    for start, end in (("2026-11-23T11:00:00Z", "2026-11-23T12:00:00Z"), ("2199-01-01", "2199-01-02")):
        result = changed("reprocess", "--from", start, "--to", end, "--dry-run", "--json")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "has staged messages" in result.stderr
    assert changed("reprocess", "--from", RANGE[1], "--to", RANGE[1], "--dry-run").exit_code == 2


def test_reprocess_needs_a_running_dagster_and_a_time_that_goes_on(changed: Shell) -> None:
    result = changed("reprocess", *RANGE)
    assert isinstance(result.exception, DagsterUnavailableError)
    assert "sensor-platform up" in str(result.exception)
    away = changed("reprocess", *RANGE, "--dagster-url", f"http://127.0.0.1:{free_port()}")
    assert "does not answer" in str(away.exception)
    assert changed("reprocess", "--from", RANGE[3], "--to", RANGE[1], "--dry-run").exit_code == 2
