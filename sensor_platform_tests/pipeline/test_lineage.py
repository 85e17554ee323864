"""What became of a message, and which messages came in on a topic."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.retry import retry
from sensor_platform.errors import BytesDeletedError, MissingMicroBatchError
from sensor_platform.pipeline.lineage import became
from sensor_platform.pipeline.readings import trace
from sensor_platform.pipeline.received import received
from sensor_platform.pipeline.registry import set_sensor
from sensor_platform.pipeline.retention import prune
from sensor_platform.routes.filters import parse_filter
from sensor_platform.routes.model import Routes
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, routes, stage, value

SECOND = timedelta(seconds=1)
THINNING = routes(", report_by_exception: {'*': {deadband: 1, longest_silence_s: 3600}}")


def of(
    database: Database, staging: LocalStaging, sequence: int, *, micro_batch: str = "a", using: Routes | None = None
) -> dict[str, Any]:
    return became(database, staging, using or routes(), micro_batch, sequence, settings=Settings())


def test_an_accepted_message_shows_its_readings_and_what_made_them(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [Message({"timestamp": HOUR.isoformat(), "metrics": {"force": 1, "stroke": 2}})])
    load(staging, database, run_id="run 1")
    found = of(database, staging, 1)
    assert (found["class"], found["run_id"], found["attempt"]) == ("accepted", "run 1", 1)
    data = routes()["data"]
    assert (found["route"], found["route_version"], found["transformer_version"]) == ("data", data.version, "1")
    assert [(one["metric"], one["value"], one["stands"], one["behind"]) for one in found["readings"]] == [
        ("force", 1.0, True, None),
        ("stroke", 2.0, True, None),
    ]
    assert base64.b64decode(found["payload_base64"]).startswith(b'{"timestamp"')
    assert found["why"] == "readings: 2 stand, 0 equal ones that were received before"
    assert found["made_as_today"] is True
    assert of(database, staging, 1, using=routes(", text: true"))["made_as_today"] is False


def test_a_duplicate_names_the_message_that_it_stands_behind(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1), value(1)])
    stage(staging, "b", [value(1)], first_sequence=9)
    load(staging, database)
    for micro_batch, sequence in (("a", 2), ("b", 9)):
        found = of(database, staging, sequence, micro_batch=micro_batch)
        assert (found["class"], found["readings"][0]["stands"]) == ("duplicate", False)
        assert found["readings"][0]["behind"] == {"micro_batch": "a", "sequence": 1}


@pytest.mark.parametrize("named", [{"unit": "bar"}, {}], ids=["named", "unnamed"])
def test_both_ways_tell_the_same_value_that_was_sent(
    database: Database, staging: LocalStaging, named: dict[str, str]
) -> None:
    stage(staging, "a", [value(5, HOUR - SECOND, unit="bar"), value(2, **named)])
    load(staging, database)
    set_sensor(database, "p1", metric="value", unit="kPa")
    (traced,) = trace(database, staging, "p1", "value", HOUR)
    (reading,) = of(database, staging, 2)["readings"]
    assert (reading["value"], reading["unit"]) == (200.0, "kPa")
    assert reading["original"] == traced["original"] == {"value": 2.0, "unit": "bar"}


def test_a_redelivery_names_the_message_that_it_repeats(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1), Message(value(1).payload, redelivery_of=1)])
    load(staging, database)
    found = of(database, staging, 2)
    assert (found["class"], found["redelivery_of"], found["readings"]) == ("duplicate", 1, [])
    assert found["why"] == "the collector knew it as message 1, which the broker sent once more"


def test_refused_messages_show_their_dead_letters_and_the_states(database: Database, staging: LocalStaging) -> None:
    both = Message([{"value": 1, "timestamp": HOUR.isoformat()}, {"value": "warm", "timestamp": HOUR.isoformat()}])
    stage(staging, "a", [both, Message(b"rubbish"), value("hot")])
    load(staging, database, run_id="run 1")
    partial, refused = of(database, staging, 1), of(database, staging, 2)
    assert (partial["class"], len(partial["readings"])) == ("partial", 1)
    assert [(one["state"], one["ordinal"]) for one in partial["dead_letters"]] == [("pending", 1)]
    assert (refused["class"], refused["dead_letters"][0]["code"]) == ("dead_lettered", "invalid_json")
    assert refused["why"].endswith("refused: invalid_json")
    text = routes(", text: true")
    retry(database, text, settings=Settings(), now=datetime.now(UTC) + timedelta(hours=1), by="run 2")
    mended = of(database, staging, 3, using=text)
    assert (mended["class"], mended["run_id"], mended["dead_letters"][0]["state"]) == ("accepted", "run 2", "resolved")


@pytest.mark.parametrize(
    ("options", "message", "why"),
    [
        (", ignore: true", value(1), "the route says ignore"),
        ("", Message({"value": 1}, retain=True), "retained, without a time of its own"),
        (", no_readings: ignore", Message({}), "without readings: ignored"),
    ],
)
def test_an_ignored_message_says_why(
    database: Database, staging: LocalStaging, options: str, message: Message, why: str
) -> None:
    stage(staging, "a", [message])
    load(staging, database, using=routes(options))
    found = of(database, staging, 1, using=routes(options))
    assert found["class"] == "ignored"
    assert why in found["why"]


def test_thinned_readings_are_told_though_nobody_wrote_them_down(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(10 + n / 10, HOUR + n * SECOND) for n in range(3)])
    load(staging, database, using=THINNING)
    assert of(database, staging, 1, using=THINNING)["class"] == "accepted"
    found = of(database, staging, 2, using=THINNING)
    assert (found["class"], found["why"]) == ("ignored", "all of its readings were thinned")
    (thinned,) = found["thinned"]
    assert (thinned["metric"], thinned["value"], thinned["time"]) == ("value", 10.1, HOUR + SECOND)


def test_what_is_not_loaded_is_pending_and_what_is_gone_is_said(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1), Message(b"rubbish")])
    assert (of(database, staging, 1)["class"], of(database, staging, 1)["run_id"]) == ("pending", None)
    with pytest.raises(MissingMicroBatchError, match="no sealed micro-batch b"):
        of(database, staging, 1, micro_batch="b")
    with pytest.raises(MissingMicroBatchError, match="a has no message 7: it holds 1 to 2"):
        of(database, staging, 7)
    load(staging, database)
    prune(staging, database, days=1, now=HOUR + timedelta(days=3))
    with pytest.raises(BytesDeletedError):
        of(database, staging, 1)
    # A message with a dead letter has its bytes in the database, too.
    assert base64.b64decode(of(database, staging, 2)["payload_base64"]) == b"rubbish"


def test_messages_are_found_by_topic_and_time(database: Database, staging: LocalStaging) -> None:
    other = "factory/oven/sensors/o1/data"
    stage(staging, "b", [value(1), Message({"value": 2}, other), value(3)])
    stage(staging, "a", [value(4)], received_at=HOUR + SECOND, first_sequence=7)
    stage(staging, "c", [value(5)], hour=HOUR + timedelta(hours=1))
    load(staging, database, hour=HOUR)

    def found(topic: str, start: datetime, end: datetime, limit: int = 10) -> list[tuple[Any, ...]]:
        rows = received(database, staging, parse_filter(topic), start=start, end=end, limit=limit)
        return [(row["micro_batch"], row["sequence"], row["loaded"]) for row in rows]

    late = HOUR + timedelta(hours=2)
    own = [("b", 1, True), ("a", 7, True), ("b", 3, True), ("c", 1, False)]
    assert found("factory/press/sensors/p1/data", HOUR, late) == own
    assert found("factory/press/#", HOUR, late, limit=2) == own[:2]
    assert found("factory/+/sensors/+/data", HOUR + SECOND, HOUR + 2 * SECOND) == [("a", 7, True), ("b", 2, True)]
    assert found(other, HOUR + 2 * SECOND, late) == []
