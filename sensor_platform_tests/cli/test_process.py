"""`process` and `rollups`: what is done without Dagster, and what they say of it."""

import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.cli.shell import Shell
from sensor_platform_tests.pipeline.staged import Message, stage, value


def test_process_says_what_became_of_the_messages(shell: Shell, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1), Message(b"rubbish"), value(1)])
    messages = {
        "staged": 3,
        "pending": 0,
        "accepted": 1,
        "partial": 0,
        "dead_lettered": 1,
        "duplicate": 1,
        "ignored": 0,
    }
    readings = {"decoded": 2, "inserted": 1, "duplicate": 1, "refused": 0, "thinned": 0, "expired": 0}
    assert shell.json("process", "--json") == {"messages": messages, "readings": readings}
    assert shell.json("process", "--json")["messages"]["staged"] == 0


def test_rollups_of_changed_days_and_of_days_again(loaded: Shell, database: Database) -> None:
    first = loaded.json("rollups", "--json")
    assert (first["differences"], len(first["days"])) == ([], 1)
    assert first["days"] == [{"date": "2026-11-23", "minute": 1, "hour": 1, "day": 1}]
    assert loaded.json("rollups", "--json")["days"] == []
    before = loaded.json("rollups", "--from", "2026-11-22", "--to", "2026-11-23", "--json")
    assert [day["date"] for day in before["days"]] == ["2026-11-22"]
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE sensor_platform.metrics_daily SET max = 9"))
    again = ("--from", "2026-11-22", "--to", "2026-11-23T00:00:00.000001Z")
    assert loaded("rollups", *again).stdout.splitlines()[-1].split() == ["2026-11-23", "1", "1", "1"]
    assert loaded.json("metrics", "--sensor", "p1", "--level", "day", "--json")[0]["max"] == 1.5
    assert loaded("rollups", "--to", "2026-11-23").exit_code == 2
    assert loaded("rollups", "--from", "2026-11-23", "--to", "2026-11-23").exit_code == 2


def test_rollups_that_differ_from_their_readings_are_said(loaded: Shell, database: Database) -> None:
    loaded("rollups")
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE sensor_platform.metrics_daily SET max = 9"))
    found = loaded("rollups", "--from", "2026-11-21")
    assert found.exit_code == 1
    assert "press/p1 value on 2026-11-23: max: metrics_daily says 9.0, the readings 1.5" in found.stderr
