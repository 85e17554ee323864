"""`routes discover` on a real broker: the file that it prints passes `routes check` and decodes what was seen."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from sensor_platform.cli.discover import Duration
from sensor_platform_tests.conftest import Broker
from sensor_platform_tests.mqtt.collecting import publish, publisher
from sensor_platform_tests.simulator.test_commands import Commands

MESSAGES = [
    ("factory/line-1/sensors/press-3/data", b'{"timestamp": "2026-01-01T00:00:00Z", "value": 1.5, "unit": "kN"}'),
    ("factory/line-2/sensors/press-4/data", b'{"timestamp": "2026-01-01T00:00:00Z", "metrics": {"force": 2}}'),
    ("factory/line-1/sensors/press-3/csv", b"time,force\n2026-01-01T00:00:00Z,1.5\n"),
    ("tele/hall/SENSOR", b'{"Time": "2025-10-31T18:55:09", "ENERGY": {"Power": 21.5}, "Switch1": "ON"}'),
    ("tele/yard/SENSOR", b'{"Time": "2025-10-31T18:55:19", "ENERGY": {"Power": 1.5}, "Switch1": "OFF"}'),
    ("tele/hall/LWT", b"Online"),
    ("zigbee2mqtt/lamp", b'{"state": "ON", "brightness": 50, "linkquality": 99}'),
    ("zigbee2mqtt/thermometer", b'{"temperature": 21.5, "battery": 80, "linkquality": 70}'),
    ("rubbish/of/bytes", b"\xff\xfe\x00\x01\xf8"),
    ("rubbish/of/words", b"nothing to see here"),
]


@pytest.fixture
def commands(fresh_broker: Broker, home: Path) -> Commands:
    with publisher(fresh_broker) as client:
        publish(client, MESSAGES, retain=True)
    return Commands(fresh_broker, home)


def discover(commands: Commands, *more: str, exit_code: int = 0) -> Any:
    return commands.json("routes", "discover", "--for", "60s", "--max-messages", "10", *more, exit_code=exit_code)


def test_a_proposal_is_a_route_file_that_reads_what_was_seen(commands: Commands, home: Path) -> None:
    told = discover(commands, "--output", "routes.yaml")
    assert (told["messages"], told["topics"], told["not_kept"]) == (10, 10, 0)
    assert [(each["filter"], each["format"], each["confidence"]) for each in told["routes"]] == [
        ("factory/{work_unit}/sensors/{sensor}/csv", "csv", 1.0),
        ("factory/{work_unit}/sensors/{sensor}/data", "json", 1.0),
        ("tele/{sensor}/SENSOR", "json", 1.0),
        ("tele/hall/LWT", "value", 1.0),
        ("zigbee2mqtt/{sensor}", "json", 1.0),
    ]
    assert [each["topic"] for each in told["unrecognised"]] == ["rubbish/of/bytes", "rubbish/of/words"]
    assert (home / "routes.yaml").read_text() == told["yaml"]
    assert len(commands.json("routes", "check")["routes"]) == 5
    decoded = commands.json("decode", "--topic", "tele/hall/SENSOR", stdin=MESSAGES[3][1])
    assert [(each["sensor"], each["metric"], each["time"], each["value"]) for each in decoded["readings"]] == [
        ("hall", "ENERGY.Power", "2025-10-31T18:55:09.000000Z", 21.5),
        ("hall", "Switch1", "2025-10-31T18:55:09.000000Z", 1.0),
    ]
    again = commands.run("routes", "discover", "--output", "routes.yaml")
    assert (again.returncode, b"nothing is written over" in again.stderr) == (1, True)


def test_the_yaml_is_data_and_the_rest_is_words(commands: Commands) -> None:
    done = commands.run("routes", "discover", "--max-messages", "10")
    assert done.returncode == 0
    text = done.stdout.decode()
    assert text.startswith("# Proposed by `sensor-platform routes discover` from 10 messages on 10 topics of #.\n")
    assert "  # confidence 100%: the share of its samples that decode; 2 messages on 2 topics\n" in text
    assert "  # time: Time, ISO 8601, without an offset: read as UTC\n" in text
    assert "#   rubbish/of/words (1): words that no format reads as numbers: nothing to see here\n" in text
    assert b"5 routes proposed, 2 topics not recognised" in done.stderr


def test_nothing_that_is_recognised_is_exit_1(commands: Commands) -> None:
    told = commands.json(
        "routes", "discover", "--filter", "rubbish/#", "--for", "60s", "--max-messages", "2", exit_code=1
    )
    assert (told["routes"], len(told["unrecognised"])) == ([], 2)


@pytest.mark.parametrize("arguments", [["--for", "soon"], ["--for", "0s"], ["--filter", "a/#/b"]])
def test_what_makes_no_sense_is_a_usage_error(commands: Commands, arguments: list[str]) -> None:
    done: subprocess.CompletedProcess[bytes] = commands.run("routes", "discover", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")


def test_durations() -> None:
    assert [Duration().convert(text, None, None) for text in ("60s", "1.5m", "1h", "500ms", "7")] == [
        60,
        90,
        3600,
        0.5,
        7,
    ]
