"""`connections`: whole for programs, readable in a narrow terminal."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.tables import collector_connection

BROKER = "plant-broker.example:8883"
REASON = f"broker {BROKER}: no connection: Connection refused. Is it running, and is MQTT_BROKER_URL right?"


def test_it_is_readable_at_80_columns(database: Database, home: Path) -> None:
    at = datetime(2026, 3, 1, 12, 30, 59, 123456, tzinfo=UTC)
    common = {"collector": "press-hall-2", "broker": BROKER, "protocol": "5", "pid": 4711}
    failed = {"at": at, "event": "failed", "kind": "unreachable", "reason": REASON, "session_present": None}
    connected = {"at": at + timedelta(seconds=1), "event": "connected", "session_present": True}
    with database.begin() as connection:
        for row in (failed, connected):
            connection.execute(sa.insert(collector_connection).values({**common, **row}))
    environment = {"DATABASE_URL": database.url, "SENSOR_PLATFORM_HOME": str(home)}
    assert terminal(environment, "connections") == [
        "at                    collector     event      what",
        "2026-03-01 12:31:00Z  press-hall-2  connected  plant-broker.example:8883, MQTT",
        "                                               5, session present",
        "2026-03-01 12:30:59Z  press-hall-2  failed     unreachable: broker",
        "                                               plant-broker.example:8883: no",
        "                                               connection: Connection refused.",
        "                                               Is it running, and is",
        "                                               MQTT_BROKER_URL right?",
    ]
    found = json.loads("\n".join(terminal(environment, "connections", "--json")))
    assert [(row["event"], row["reason"], row["pid"]) for row in found] == [
        ("connected", None, 4711),
        ("failed", REASON, 4711),
    ]


def terminal(environment: dict[str, str], *command: str) -> list[str]:
    """The lines that a command writes on a terminal of 80 columns."""
    ours, theirs = os.openpty()
    narrow = {"COLUMNS": "80", "LINES": "25", "TERM": "dumb", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "sensor_platform.cli", *command],
        env={**os.environ, **environment, **narrow},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    written = b""
    try:
        while data := os.read(ours, 65536):
            written += data
    except OSError:  # how Linux says that nobody holds the other side any more
        pass
    finally:
        os.close(ours)
    assert process.wait(30) == 0
    return [line.rstrip() for line in written.decode().splitlines()]
