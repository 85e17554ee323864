"""`trace`: from a number to its bytes, and from a message to what became of it."""

import pytest

from sensor_platform_tests.cli.shell import Shell
from sensor_platform_tests.pipeline.staged import HOUR


def test_trace(loaded: Shell) -> None:
    (found,) = loaded.json("trace", "p1", "value", HOUR.isoformat(), "--json")
    assert list(found) == [
        "reading",
        "micro_batch",
        "sequence",
        "received_at",
        "topic",
        "payload_base64",
        "route",
        "route_version",
        "contract_version",
        "transformer_version",
        "run_id",
        "committed_at",
        "calibration",
        "original",
    ]
    assert (found["micro_batch"], found["sequence"], found["reading"]["value"]) == ("a", 1, 1.5)
    assert "factory/press/sensors/p1/data" in loaded("trace", "p1", "value", HOUR.isoformat()).stdout
    assert loaded("trace", "p1", "value", "2026-11-23T11:00:00Z", "--json").exit_code == 1


def test_trace_of_a_message_says_what_became_of_it(loaded: Shell) -> None:
    found = loaded.json("trace", "--message", "a:3", "--json")
    assert (found["class"], found["readings"][0]["behind"]) == ("duplicate", {"micro_batch": "a", "sequence": 1})
    assert loaded.json("trace", "--message", "a:2", "--json")["dead_letters"][0]["code"] == "invalid_json"
    shown = loaded("trace", "--message", "a:3").stdout
    assert "each of its readings equals one that was received before it" in shown
    assert "a:1" in shown
    listed = loaded.json("trace", "--topic", "factory/+/sensors/#", "--from", HOUR.isoformat(), "--json")
    assert [(row["micro_batch"], row["sequence"], row["loaded"]) for row in listed] == [
        ("a", number, True) for number in (1, 2, 3)
    ]
    assert "a:2" in loaded("trace", "--topic", "#", "--from", HOUR.isoformat(), "--limit", "2").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["p1", "value"],
        ["p1", "value", HOUR.isoformat(), "--message", "a:1"],
        ["--message", "a"],
        ["--topic", "a/#/b", "--from", HOUR.isoformat()],
        ["--topic", "a"],
        ["--topic", "a", "--from", HOUR.isoformat(), "--to", HOUR.isoformat()],
    ],
)
def test_trace_goes_one_way_at_a_time(loaded: Shell, arguments: list[str]) -> None:
    assert loaded("trace", *arguments).exit_code == 2
