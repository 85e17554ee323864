"""Sparkplug sequences: what is missing is seen once, and nothing else looks like it."""

from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.retry import retry
from sensor_platform.defs.ingest.describe import describe_readings
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.process import process
from sensor_platform.pipeline.sequences import Heard, follow
from sensor_platform.routes.file import parse_routes
from sensor_platform.settings import MqttSettings, Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, rows, stage
from sensor_platform_tests.transformers.sparkplug import death, metric, payload, topic

ROUTES = parse_routes("routes: [{name: sparkplug, filter: '#', format: sparkplug}]")
NODE = "spBv1.0/g/NCMD/n"


def say(type_: str, seq: int | None, who: str = "g/n", **staged: Any) -> Message:
    return Message(payload(metric("a", None, 10, double_value=1.0), seq=seq), topic=topic(type_, who), **staged)


def gaps(staging: LocalStaging, database: Database, name: str, *messages: Message, minute: int = 0) -> list[Any]:
    """(node, expected, found) that the load of a micro-batch says."""
    stage(staging, name, messages, received_at=HOUR + timedelta(minutes=minute), first_sequence=minute * 1000)
    with capture_logs() as lines:
        load(staging, database, using=ROUTES)
    return [(line["node"], line["expected"], line["found"]) for line in lines if line["event"] == "sparkplug_gap"]


def stands(database: Database) -> list[tuple[Any, ...]]:
    return rows(database, "SELECT topic, seq, gaps, gap_at IS NOT NULL FROM sparkplug_node ORDER BY topic")


def test_a_node_and_its_devices_share_one_sequence(database: Database, staging: LocalStaging) -> None:
    said = [
        say("BIRTH", 0),
        say("BIRTH", 1, "g/n/d"),
        say("DATA", 2),
        say("DATA", 3, "g/n/d"),
        say("DEATH", 4, "g/n/d"),
    ]
    assert gaps(staging, database, "a", *said) == []
    assert stands(database) == [(NODE, 4, 0, False)]


def test_a_gap_between_two_loads_is_said_and_counted(database: Database, staging: LocalStaging) -> None:
    assert gaps(staging, database, "a", say("BIRTH", 0), say("DATA", 1), say("BIRTH", 0, "g/other")) == []
    assert gaps(staging, database, "b", say("DATA", 5), say("DATA", 1, "g/other"), minute=1) == [(NODE, 2, 5)]
    assert stands(database) == [(NODE, 5, 1, True), ("spBv1.0/g/NCMD/other", 1, 0, False)]
    received = HOUR + timedelta(minutes=1)
    assert rows(database, "SELECT received_at, gap_at FROM sparkplug_node WHERE gaps = 1") == [(received, received)]


def test_a_birth_begins_anew(database: Database, staging: LocalStaging) -> None:
    said = [say("DATA", 7), say("DATA", 9), say("BIRTH", 0), say("DATA", 1)]
    assert gaps(staging, database, "a", *said) == [(NODE, 8, 9)]
    assert stands(database) == [(NODE, 1, 1, False)]


def test_after_255_comes_0_which_some_leave_out(database: Database, staging: LocalStaging) -> None:
    assert gaps(staging, database, "a", say("DATA", 255), say("DATA", None), say("DATA", 1)) == []


@pytest.mark.parametrize(
    "again",
    [
        say("DATA", 7),  # the same number again
        say("DATA", 5),  # what was in flight is sent again
        say("DATA", 200, redelivery_of=1),
        say("BIRTH", 0, retain=True),
        Message(b"\xff", topic=topic("DATA", "g/n")),
        say("DATA", 300),
        Message(payload(seq=99), topic="spBv1.0/g/NCMD/n"),
        Message(payload(seq=99), topic="elsewhere/g/NDATA/n"),
        Message(death("g/n")[1], topic=topic("DEATH", "g/n")),
    ],
)
def test_what_continues_no_sequence_interrupts_none(database: Database, staging: LocalStaging, again: Message) -> None:
    assert gaps(staging, database, "a", say("DATA", 6), say("DATA", 7), again, say("DATA", 8)) == []
    assert stands(database) == [(NODE, 8, 0, False)]


def test_messages_of_another_format_are_left_alone(database: Database, staging: LocalStaging) -> None:
    other = parse_routes("routes: [{name: j, filter: 'spBv1.0/{work_unit}/+/{sensor}', format: json}]")
    stage(staging, "a", [say("DATA", 1), say("DATA", 9)])
    assert load(staging, database, using=other).sparkplug_gaps == 0
    assert stands(database) == []


def test_what_is_made_again_or_retried_is_no_gap(database: Database, staging: LocalStaging) -> None:
    unknown = Message(payload(metric(None, 1, None, double_value=1.0), seq=1), topic=topic("DATA", "g/n"))
    gaps(staging, database, "a", unknown, say("DATA", 100), say("DATA", 200))
    before = stands(database)
    with capture_logs() as lines:
        report = load(staging, database, using=ROUTES, mode=Mode.AGAIN)
        retry(database, ROUTES, settings=Settings(), ids=[1])
    assert (report.messages.staged, report.sparkplug_gaps, stands(database)) == (3, 0, before)
    assert "sparkplug_gap" not in [line["event"] for line in lines]


def test_what_is_new_in_an_hour_made_again_continues_the_sequence(database: Database, staging: LocalStaging) -> None:
    assert gaps(staging, database, "a", say("DATA", 1)) == []
    stage(staging, "b", [say("DATA", 2), say("DATA", 3)], received_at=HOUR + timedelta(minutes=1), first_sequence=10)
    load(staging, database, using=ROUTES, mode=Mode.AGAIN)
    assert gaps(staging, database, "c", say("DATA", 4), minute=2) == []


def test_what_is_made_again_begins_no_sequence(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [say("DATA", 1)])
    load(staging, database, using=ROUTES, mode=Mode.AGAIN)
    assert stands(database) == []


def test_a_late_upload_is_no_gap(database: Database, staging: LocalStaging) -> None:
    assert gaps(staging, database, "b", say("DATA", 200), minute=1) == []
    assert gaps(staging, database, "a", say("DATA", 100), say("DATA", 101)) == []
    assert gaps(staging, database, "c", say("DATA", 201), minute=2) == []


def test_collectors_that_share_the_messages_know_no_order(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [say("DATA", 1), say("DATA", 9)])
    shared = Settings(mqtt=MqttSettings(share_group="plant"))
    assert process(staging, database, ROUTES, settings=shared).sparkplug_gaps == 0
    assert stands(database) == []


def test_the_report_counts_each_and_the_log_names_a_node_once(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [say("DATA", number) for number in (1, 3, 5, 6)])
    with capture_logs() as lines:
        report = load(staging, database, using=ROUTES)
    (line,) = [line for line in lines if line["event"] == "sparkplug_gap"]
    assert (line["node"], line["expected"], line["found"], line["gaps"]) == (NODE, 2, 3, 2)
    assert describe_readings(report, mode="new")["sparkplug_gaps"] == 2


@pytest.mark.parametrize(("lost", "seen"), [(0, 0), (1, 1), (235, 1), (236, 0), (255, 0)])
def test_how_many_may_be_lost_and_still_be_seen(lost: int, seen: int) -> None:
    heard = [Heard(NODE, False, 10, received_at=1), Heard(NODE, False, (11 + lost) % 256, received_at=2)]
    assert len(follow(heard, {})[1]) == seen
