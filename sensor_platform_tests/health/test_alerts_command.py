"""`sensor-platform alerts list`."""

import json
from datetime import UTC, datetime

from click.testing import CliRunner

from sensor_platform.cli import sensor_platform
from sensor_platform.database.engine import Database
from sensor_platform.health.alerts import evaluate
from sensor_platform.health.rules import Condition
from sensor_platform.settings import Settings

T0 = datetime(2026, 3, 1, tzinfo=UTC)


def alerts(database: Database, *options: str) -> str:
    command = ["alerts", "list", *options]
    result = CliRunner().invoke(sensor_platform, command, env={"DATABASE_URL": database.url}, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def check(database: Database, subject: str, *, firing: bool) -> None:
    found = [Condition("check", subject, 3, 0, firing, "3 messages are missing")]
    evaluate(database, Settings(), now=T0, figures=[], conditions=found)


def test_open_alerts_are_listed_and_with_all_those_that_ended(database: Database) -> None:
    assert json.loads(alerts(database, "--json")) == []
    check(database, "a", firing=True)
    check(database, "b", firing=True)
    check(database, "a", firing=False)
    (alert,) = json.loads(alerts(database, "--json"))
    assert (alert["rule"], alert["subject"], alert["state"], alert["value"]) == ("check", "b", "firing", 3)
    assert alert["fired_at"] == "2026-03-01T00:00:00Z"
    every = json.loads(alerts(database, "--json", "--all"))
    assert sorted((a["subject"], a["state"]) for a in every) == [("a", "resolved"), ("b", "firing")]
    assert "firing" in alerts(database)
