"""What messages say of later ones: kept across micro-batches, told again, and found at the place of a message."""

from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.retry import retry
from sensor_platform.errors import DefinitionsUnavailableError
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.pipeline.decode import decode
from sensor_platform.pipeline.definitions import latest
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.outdated import outdated
from sensor_platform.routes.model import Route, Routes
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform_tests.pipeline.defining import HOURS, ROUTES, decode_defining, register, say, staged_at, told
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, rows, stage
from sensor_platform_tests.transformers.decoding import table_of


@pytest.fixture(autouse=True)
def _format(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


def test_a_definition_holds_in_the_micro_batches_after_it(database: Database, staging: LocalStaging) -> None:
    staged_at(staging, 0, "+force", "a")
    load(staging, database, using=ROUTES)
    staged_at(staging, 1, "b", "+stroke", "c")
    report = load(staging, database, using=ROUTES)
    assert told(database) == [("force", "a"), ("force", "b"), ("stroke", "c")]
    # A message that only defines is neither lost nor a dead letter.
    assert (report.messages.accepted, report.messages.ignored) == (2, 1)
    assert latest(database, "defining", ["p1", "p2"]) == {"p1": {"name": "stroke"}}


@pytest.mark.parametrize("size", [1, 3, 6])
def test_routes_of_a_format_share_a_timeline_however_their_messages_are_grouped(
    database: Database, staging: LocalStaging, size: int
) -> None:
    said = [("data", "a"), ("meta", "+force"), ("data", "b"), ("data", "c"), ("meta", "+stroke"), ("data", "d")]
    routes = Routes(
        [Route(name=n, filter=f"factory/{{work_unit}}/{{sensor}}/{n}", format="defining") for n in ("data", "meta")]
    )
    messages = [Message(text.encode(), topic=f"factory/press/p1/{name}") for name, text in said]
    for first in range(0, len(said), size):
        at = HOUR + timedelta(seconds=first)
        stage(staging, f"a-{first}", messages[first : first + size], first_sequence=1 + first, received_at=at)
        load(staging, database, using=routes)
    assert told(database) == [("force", "b"), ("force", "c"), ("stroke", "d")]
    assert rows(database, "SELECT sequence, code FROM dead_letter") == [(1, "invalid_frame")]
    assert mismatches(database) == []


def test_an_hour_made_again_uses_what_was_in_force_then(database: Database, staging: LocalStaging) -> None:
    for number, texts in enumerate([("+force", "a"), ("b",), ("+stroke", "c"), ("d",)]):
        staged_at(staging, number, *texts)
    load(staging, database, using=ROUTES)
    expected = [("force", "a"), ("force", "b"), ("stroke", "c"), ("stroke", "d")]
    assert told(database) == expected
    for hour in (HOURS[1], HOURS[0], HOURS[3]):
        load(staging, database, using=ROUTES, mode=Mode.AGAIN, hour=hour)
    assert told(database) == expected
    assert outdated(database) == {}
    assert len(rows(database, "SELECT FROM definition")) == 2
    assert mismatches(database) == []


def test_data_that_came_first_waits_and_is_retried_with_what_was_in_force_at_its_place(
    database: Database, staging: LocalStaging
) -> None:
    staged_at(staging, 1, "b", "+stroke", "c")
    load(staging, database, using=ROUTES)
    assert told(database) == [("stroke", "c")]
    staged_at(staging, 0, "+force", "a")
    load(staging, database, using=ROUTES)
    # The ledger says who was decoded without it.
    assert outdated(database) == {HOURS[1]: 1}
    retried = retry(database, ROUTES, settings=Settings(), ids=[1])
    assert retried.states == {"resolved": 1}
    assert told(database) == [("force", "a"), ("force", "b"), ("stroke", "c")]


def test_what_an_older_definition_decoded_is_marked_and_mended_by_making_it_again(
    database: Database, staging: LocalStaging
) -> None:
    for number, texts in ((0, ("+force", "a")), (2, ("c",)), (3, ("+speed", "d"))):
        staged_at(staging, number, *texts)
    load(staging, database, using=ROUTES)
    staged_at(staging, 1, "+stroke", "b")
    load(staging, database, using=ROUTES)
    assert told(database) == [("force", "a"), ("stroke", "b"), ("force", "c"), ("speed", "d")]
    # Hour 3 holds the next definition: what comes after that is right.
    assert outdated(database) == {HOURS[2]: 1, HOURS[3]: 1}
    for hour in outdated(database):
        load(staging, database, using=ROUTES, mode=Mode.AGAIN, hour=hour)
    assert told(database) == [("force", "a"), ("stroke", "b"), ("stroke", "c"), ("speed", "d")]
    assert outdated(database) == {}


def test_what_cannot_be_made_again_is_not_asked_for(database: Database, staging: LocalStaging) -> None:
    staged_at(staging, 1, "b")
    load(staging, database, using=ROUTES)
    staged_at(staging, 0, "+force")
    load(staging, database, using=ROUTES)
    assert outdated(database) == {HOURS[1]: 1}
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE sensor_platform.ledger SET bytes_deleted_at = now()"))
    assert outdated(database) == {}


def test_what_a_retry_decoded_by_another_route_than_the_load_is_marked_too(
    database: Database, staging: LocalStaging
) -> None:
    staged_at(staging, 2, "c")
    load(staging, database, using=Routes([]))
    staged_at(staging, 0, "+force")
    load(staging, database, using=ROUTES)
    assert retry(database, ROUTES, settings=Settings(), ids=[1]).states == {"resolved": 1}
    assert told(database) == [("force", "c")]
    assert outdated(database) == {}
    staged_at(staging, 1, "+stroke")
    load(staging, database, using=ROUTES)
    assert outdated(database) == {HOURS[2]: 1}


def test_one_that_says_what_was_in_force_marks_nothing(database: Database, staging: LocalStaging) -> None:
    staged_at(staging, 0, "+force", "a")
    staged_at(staging, 2, "c")
    load(staging, database, using=ROUTES)
    staged_at(staging, 1, "+force")
    load(staging, database, using=ROUTES)
    assert outdated(database) == {}
    assert len(rows(database, "SELECT FROM definition")) == 2
    assert len(rows(database, "SELECT FROM definition_content")) == 1


def test_one_that_is_said_twice_in_a_load_marks_what_stands_after_both(
    database: Database, staging: LocalStaging
) -> None:
    staged_at(staging, 0, "+force", "a")
    staged_at(staging, 3, "d")
    load(staging, database, using=ROUTES)
    staged_at(staging, 1, "+stroke")
    staged_at(staging, 2, "+stroke")
    load(staging, database, using=ROUTES)
    assert outdated(database) == {HOURS[3]: 1}


def test_a_mended_definition_marks_what_comes_after_whatever_its_neighbours_say_by_then(
    database: Database, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, texts in enumerate([("+force",), ("+force",), ("c",)]):
        staged_at(staging, number, *texts)
    load(staging, database, using=ROUTES)

    def mended(column: PayloadColumn, route: Route) -> Decoded:
        payloads = [payload.replace(b"+force", b"+stroke") for payload in column.payloads]
        return decode_defining(replace(column, payloads=payloads), route)

    register(monkeypatch, mended, version="2")
    for hour in HOURS[:2]:
        load(staging, database, using=ROUTES, mode=Mode.AGAIN, hour=hour)
    assert outdated(database) == {HOURS[2]: 1}
    load(staging, database, using=ROUTES, mode=Mode.AGAIN, hour=HOURS[2])
    assert (told(database), outdated(database)) == ([("stroke", "c")], {})


def test_micro_batches_that_interleave_share_one_timeline(database: Database, staging: LocalStaging) -> None:
    """A group that is made again stands around a micro-batch that is not in it."""
    minute = timedelta(minutes=1)
    stage(staging, "a", say("+force", "a"), first_sequence=1)
    stage(staging, "b", say("b", "+stroke"), first_sequence=1, received_at=HOUR + minute)
    stage(staging, "c", say("c"), first_sequence=10, received_at=HOUR + 2 * minute)
    load(staging, database, using=ROUTES)
    (staging.path(next(each for each in staging.micro_batches() if each.name == "b"))).unlink()
    load(staging, database, using=ROUTES, mode=Mode.AGAIN)
    assert told(database) == [("force", "a"), ("force", "b"), ("stroke", "c")]


def test_while_the_database_cannot_say_what_was_defined_nothing_is_refused(
    database: Database, staging: LocalStaging
) -> None:
    staged_at(staging, 0, "+force", "a")
    load(staging, database, using=ROUTES)
    staged_at(staging, 1, "b", "c")
    with database.begin() as connection:
        connection.execute(sa.text("ALTER TABLE sensor_platform.definition RENAME TO away"))
    with pytest.raises(DefinitionsUnavailableError, match=r'relation "sensor_platform\.definition" does not exist'):
        load(staging, database, using=ROUTES)
    with database.begin() as connection:
        connection.execute(sa.text("ALTER TABLE sensor_platform.away RENAME TO definition"))
    load(staging, database, using=ROUTES)
    assert told(database) == [("force", "a"), ("force", "b"), ("force", "c")]
    assert rows(database, "SELECT FROM dead_letter") == []


def test_a_failed_load_leaves_no_definition(database: Database, staging: LocalStaging) -> None:
    staged_at(staging, 0, "+force", "a")
    with database.begin() as connection:
        connection.execute(sa.text("ALTER TABLE sensor_platform.ledger ADD CONSTRAINT none_today CHECK (staged < 2)"))
    with pytest.raises(Exception, match="none_today"):
        load(staging, database, using=ROUTES)
    assert rows(database, "SELECT FROM definition") == []


def test_a_column_that_is_halved_keeps_its_timeline() -> None:
    table = table_of([b"+force", b"a", b"raise", b"b", b"+stroke", b"c"])
    decoded = decode(table, ROUTES, max_payload_bytes=1000)
    assert decoded.readings["metric"].tolist() == ["force", "force", "force", "stroke"]
    assert [one.message for one in decoded.definitions["defining"]] == [0, 4]
    assert decoded.ignored.tolist() == [True, False, False, False, True, False]


def test_definitions_of_several_routes_stand_in_received_order() -> None:
    """Who keeps the last one of a key, as the live page does, keeps the newest."""
    routes = Routes([Route(name=n, filter=f"{n}/{{work_unit}}/{{sensor}}", format="defining") for n in ("one", "two")])
    said = [("one", b"+force"), ("two", b"+stroke"), ("one", b"+speed"), ("two", b"a")]
    messages = pa.concat_tables(table_of([payload], topic=f"{name}/press/p1") for name, payload in said)
    decoded = decode(messages, routes, max_payload_bytes=1000)
    assert [(one.message, one.content["name"]) for one in decoded.definitions["defining"]] == [
        (0, "force"),
        (1, "stroke"),
        (2, "speed"),
    ]
    assert decoded.readings["metric"].tolist() == ["speed"]
