"""What a message from the field needs before it, to become by itself what it became in its place."""

from datetime import timedelta
from typing import Any

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.store import message_of
from sensor_platform.pipeline.cases import became_of
from sensor_platform.pipeline.defining import Before, asks_for_definitions, messages_before
from sensor_platform.pipeline.explain import explain
from sensor_platform.pipeline.message import OneMessage, staged_message
from sensor_platform.routes.file import parse_routes
from sensor_platform.routes.model import Routes
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.defining import ROUTES, register, say, staged_at
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, routes, stage
from sensor_platform_tests.transformers import sparkplug

SPARKPLUG = parse_routes("routes: [{name: s, filter: spBv1.0/#, format: sparkplug}]\n")
SIZE = 1_000_000


@pytest.fixture(autouse=True)
def _format(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


def before(
    database: Database, staging: LocalStaging, name: str, sequence: int, using: Routes = ROUTES
) -> tuple[Before, dict[str, Any]]:
    """What stands before a staged message, and what it becomes with that alone."""
    message = staged_message(staging, name, sequence)
    found = messages_before(message, using, database, staging, max_payload_bytes=SIZE)
    return found, became_of(explain(message, using, max_payload_bytes=SIZE, before=found.messages))


def metrics(became: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(reading["metric"], reading.get("text", reading.get("value"))) for reading in became["readings"]]


def payloads(found: Before) -> list[bytes]:
    return [message.payload for message in found.messages]


def test_it_is_what_was_in_force_at_its_place(database: Database, staging: LocalStaging) -> None:
    staged_at(staging, 0, "+force", "+stroke", "a")
    staged_at(staging, 1, "b", "+speed", "c")
    staged_at(staging, 2, "+other")
    load(staging, database, using=ROUTES)
    assert metrics(before(database, staging, "a-0", 2)[1]) == [("stroke", "a")]
    found, became = before(database, staging, "a-1", 100)
    assert (payloads(found), metrics(became), found.notes) == ([b"+stroke"], [("stroke", "b")], ())
    assert found.messages[0].staged_at == ("a-0", 1)
    assert metrics(before(database, staging, "a-1", 102)[1]) == [("speed", "c")]


def test_one_that_says_itself_what_it_means_has_nothing_before_it(database: Database, staging: LocalStaging) -> None:
    staged_at(staging, 0, "+force", "+force", "a")
    load(staging, database, using=ROUTES)
    assert before(database, staging, "a-0", 1)[0] == Before()
    stage(staging, "b", [Message({"value": 1})])
    load(staging, database)
    message = staged_message(staging, "b", 1)
    assert not asks_for_definitions(message, routes(), max_payload_bytes=SIZE)
    assert messages_before(message, routes(), database, staging, max_payload_bytes=SIZE) == Before()


def test_a_dead_letter_that_waited_for_a_definition_is_as_it_was_then(
    database: Database, staging: LocalStaging
) -> None:
    staged_at(staging, 1, "b", "+stroke")
    load(staging, database, using=ROUTES)
    message = message_of(database, 1)
    assert message.staged_at == ("a-1", 100)
    assert messages_before(message, ROUTES, database, staging, max_payload_bytes=SIZE) == Before()
    staged_at(staging, 0, "+force")
    load(staging, database, using=ROUTES)
    found = messages_before(message, ROUTES, database, staging, max_payload_bytes=SIZE)
    assert payloads(found) == [b"+force"]


def test_what_cannot_be_read_any_more_is_said(database: Database, staging: LocalStaging) -> None:
    staged_at(staging, 0, "+force")
    staged_at(staging, 1, "b")
    load(staging, database, using=ROUTES)
    (file,) = staging.files(HOUR, HOUR + timedelta(hours=1))
    staging.delete(file)
    found, became = before(database, staging, "a-1", 100)
    assert became["refused"] == [{"ordinal": -1, "code": "invalid_frame"}]
    assert found.notes[0].startswith("a-0:0, which said what it means, cannot be read")
    assert found.notes[1].endswith("it does not become what it became: read the expectation")


def test_one_that_is_not_loaded_yet_says_so(database: Database, staging: LocalStaging) -> None:
    staged_at(staging, 0, "+force", "a")
    found, _ = before(database, staging, "a-0", 1)
    assert found == Before(notes=("a-0 is not loaded yet: what was said before its messages is not known so far",))


def test_data_of_a_sparkplug_device_needs_the_birth_of_that_device_alone(
    database: Database, staging: LocalStaging
) -> None:
    births = [
        sparkplug.birth("g/n", sparkplug.metric("power", 1, 10, double_value=1.5), bdseq=0),
        sparkplug.birth("g/n/other", sparkplug.metric("x", 3, 10, double_value=1.5), bdseq=0),
        sparkplug.birth("g/n/d", sparkplug.metric("force", 2, 10, unit="kN", double_value=2.5), bdseq=0),
    ]
    data = sparkplug.data("g/n/d", sparkplug.metric(None, 2, None, double_value=3.5))
    stage(staging, "a", [Message(payload, topic=topic) for topic, payload in births])
    stage(staging, "b", [Message(data[1], topic=data[0])], received_at=HOUR + timedelta(minutes=1), first_sequence=9)
    load(staging, database, using=SPARKPLUG)
    found, became = before(database, staging, "b", 9, SPARKPLUG)
    assert [message.topic_text for message in found.messages] == ["spBv1.0/g/DBIRTH/n/d"]
    assert [(row["metric"], row["value"], row["unit"]) for row in became["readings"]] == [("force", 3.5, "kN")]


def test_a_death_needs_every_birth_of_a_device(database: Database, staging: LocalStaging) -> None:
    messages = [
        sparkplug.birth("g/n", sparkplug.metric("power", 1, 10, double_value=1.5), bdseq=0),
        *(sparkplug.birth(f"g/n/{name}", sparkplug.metric("x", 3, 10, double_value=1.5), bdseq=0) for name in "abc"),
        sparkplug.death("g/n", bdseq=0),
    ]
    stage(staging, "a", [Message(payload, topic=topic) for topic, payload in messages])
    load(staging, database, using=SPARKPLUG)
    found, became = before(database, staging, "a", 5, SPARKPLUG)
    assert (len(found.messages), found.notes) == (3, ())
    assert sorted(reading["sensor"] for reading in became["readings"]) == ["n", "n/a", "n/b", "n/c"]


def test_before_is_no_part_of_what_it_becomes() -> None:
    at = HOUR
    messages = [OneMessage(each.topic.encode(), each.bytes, at) for each in say("+force", "a", "b")]
    *earlier, last = messages
    explained = explain(last, ROUTES, max_payload_bytes=SIZE, before=earlier)
    assert metrics(became_of(explained)) == [("force", "b")]
    assert explained.readings["message"].tolist() == [0]
    assert [step.step for step in explained.steps][:2] == ["before", "route"]
