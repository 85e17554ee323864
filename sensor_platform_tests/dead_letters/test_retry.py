"""Dead letters tried again: what succeeds is resolved and counted anew, what fails waits longer."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.lease import LEASE
from sensor_platform.dead_letters.retry import retry
from sensor_platform.dead_letters.states import STEPS, State, UnknownLetterError, WrongStepError, check_step
from sensor_platform.dead_letters.store import counts, discard, list_letters, show
from sensor_platform.pipeline.accounting import mismatches, totals
from sensor_platform.pipeline.mode import Mode
from sensor_platform.settings import DeadLetterSettings, Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import (
    HOUR,
    Message,
    in_metric,
    load,
    routes,
    rows,
    stage,
    value,
)
from sensor_platform_tests.waiting import wait_until

TEXT = routes(", text: true")
SETTINGS = Settings(dead_letters=DeadLetterSettings(max_attempts=3, first_backoff_s=60))
EVERYTHING = "SELECT * FROM {} ORDER BY 1, 2, 3, 4"


@pytest.fixture
def loaded(database: Database, staging: LocalStaging) -> Database:
    """Three letters: a message of three readings with one bad, one with text alone, and rubbish."""
    readings = [{"value": 1, "timestamp": HOUR.isoformat()}, {"value": "warm"}, {"value": 2}]
    stage(staging, "a", [Message(readings), value("hot"), Message(b"rubbish"), value(7)])
    load(staging, database)
    return database


def now(**later: float) -> datetime:
    return datetime.now(UTC) + timedelta(**later)


def states(database: Database) -> list[tuple[Any, ...]]:
    return rows(database, "SELECT sequence, state, attempts FROM dead_letter ORDER BY sequence")


def test_success_inserts_the_readings_and_moves_the_messages(loaded: Database) -> None:
    report = retry(loaded, TEXT, settings=SETTINGS, now=now(hours=1))
    assert (report.letters, report.messages) == (3, 3)
    assert report.states == {"resolved": 2, "pending": 1}
    assert [text for _, text, _ in in_metric(loaded) if text] == ["warm", "hot"]
    messages, readings, waiting = totals(loaded)
    assert (messages.accepted, messages.partial, messages.dead_lettered) == (3, 0, 1)
    assert (readings.decoded, readings.inserted, readings.refused, waiting) == (5, 5, 0, 1)
    assert mismatches(loaded) == []
    assert states(loaded) == [(1, "resolved", 0), (2, "resolved", 0), (3, "pending", 1)]


def test_a_retry_of_one_letter_leaves_the_other_messages_alone(loaded: Database) -> None:
    (letter,) = (one["id"] for one in list_letters(loaded) if one["sequence"] == 2)
    assert retry(loaded, TEXT, settings=SETTINGS, ids=[letter]).inserted == 1
    assert states(loaded) == [(1, "pending", 0), (2, "resolved", 0), (3, "pending", 0)]
    assert mismatches(loaded) == []


def test_a_fresh_letter_waits_and_each_failure_waits_twice_as_long_until_exhausted(loaded: Database) -> None:
    assert retry(loaded, TEXT, settings=SETTINGS).letters == 0
    at = now(seconds=61)
    waits = []
    for _ in range(2):
        retry(loaded, routes(), settings=SETTINGS, codes=["invalid_json"], now=at)
        (after,) = rows(loaded, "SELECT next_attempt_at FROM dead_letter WHERE code = 'invalid_json'")[0]
        waits.append((after - at).total_seconds())
        assert retry(loaded, routes(), settings=SETTINGS, codes=["invalid_json"], now=at).letters == 0
        at = after
    assert waits == [120, 240]
    retry(loaded, routes(), settings=SETTINGS, codes=["invalid_json"], now=at)
    assert states(loaded)[2] == (3, "exhausted", 3)
    assert retry(loaded, routes(), settings=SETTINGS, codes=["invalid_json"], now=now(days=99)).letters == 0


def test_an_exhausted_one_is_tried_when_a_person_names_it(loaded: Database) -> None:
    with loaded.begin() as connection:
        connection.execute(sa.text("UPDATE sensor_platform.dead_letter SET state = 'exhausted'"))
    ids = [one["id"] for one in list_letters(loaded, codes=["invalid_json"])]
    report = retry(loaded, routes(), settings=SETTINGS, ids=ids)
    assert report.states == {"pending": 1}
    assert states(loaded)[0] == (1, "exhausted", 0)


def test_a_dry_run_says_what_would_be_and_changes_nothing(loaded: Database) -> None:
    tables = ["dead_letter", "dead_letter_message", "metric", "metric_duplicate", "ledger", "series", "changed_bucket"]
    before = [rows(loaded, EVERYTHING.format(table)) for table in tables]
    report = retry(loaded, TEXT, settings=SETTINGS, dry_run=True, now=now(hours=1))
    assert report.dry_run
    assert report.states == {"resolved": 2, "pending": 1}
    assert report.inserted == 4
    assert [rows(loaded, EVERYTHING.format(table)) for table in tables] == before


def test_a_dry_run_beside_a_load_of_the_same_letters_waits_for_it(loaded: Database) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with ThreadPoolExecutor(1) as thread, loaded.begin() as connection:
        locks.take(connection, locks.LOAD)
        report = thread.submit(retry, loaded, TEXT, settings=SETTINGS, dry_run=True, now=now(hours=1))
        wait_until(lambda: rows(loaded, waiting) == [(1,)], "the dry run to wait")
        connection.execute(sa.text("UPDATE sensor_platform.dead_letter SET detail = 'refused again'"))
        connection.commit()
        assert report.result().letters == 3


def test_a_dry_run_registers_no_series_and_makes_no_partition(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value("warm", HOUR - timedelta(days=400))])
    load(staging, database)
    report = retry(database, TEXT, settings=SETTINGS, dry_run=True, now=now(hours=1))
    assert report.states == {"resolved": 1}
    assert rows(database, "SELECT * FROM series") == []
    assert rows(database, "SELECT * FROM pg_class WHERE relispartition") == []


def test_a_dry_run_blames_the_reading_that_the_database_refuses_and_no_other(
    database: Database, staging: LocalStaging
) -> None:
    """In a month of which the partition is not there yet: what a dry run makes, only its own transaction sees."""
    month_ago = HOUR - timedelta(days=31)
    stage(staging, "a", [value("warm", month_ago), value("cursed", month_ago), value("hot", month_ago)])
    load(staging, database)
    with database.begin() as connection:
        connection.execute(sa.text("ALTER TABLE sensor_platform.metric ADD CHECK (text <> 'cursed')"))
    due = {"settings": SETTINGS, "now": now(hours=1)}
    would = retry(database, TEXT, dry_run=True, **due)
    assert (would.inserted, would.states) == (2, {"resolved": 2, "pending": 1})
    assert [one["code"] for one in would.outcomes if one["state"] == "pending"] == ["refused_by_database"]
    assert rows(database, "SELECT * FROM pg_class WHERE relispartition") == []
    done = retry(database, TEXT, **due)
    assert (done.inserted, done.states) == (would.inserted, would.states)


def test_the_original_bytes_are_kept(loaded: Database) -> None:
    before = rows(loaded, "SELECT sequence, topic, payload FROM dead_letter_message ORDER BY 1")
    retry(loaded, TEXT, settings=SETTINGS, now=now(hours=1))
    assert rows(loaded, "SELECT sequence, topic, payload FROM dead_letter_message ORDER BY 1") == before
    assert before[2][2] == b"rubbish"


def test_a_message_with_user_properties_is_tried_again(database: Database, staging: LocalStaging) -> None:
    pairs = [[("line", "4"), ("line", "ü")], [], None]
    stage(staging, "a", [Message({"value": "warm"}, user_properties=each) for each in pairs])
    load(staging, database)
    kept = "SELECT user_properties FROM dead_letter_message ORDER BY sequence"
    assert rows(database, kept) == [([["line", "4"], ["line", "ü"]],), ([],), (None,)]
    assert retry(database, TEXT, settings=SETTINGS, now=now(hours=1)).states == {"resolved": 3}


def test_a_success_may_be_a_duplicate(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value("warm")])
    load(staging, database)
    stage(staging, "b", [value("warm")], first_sequence=2)
    load(staging, database, using=TEXT)
    report = retry(database, TEXT, settings=SETTINGS, now=now(hours=1))
    # The retried one was received first: it stands, and the other one is aside.
    assert (report.inserted, report.duplicate) == (1, 0)
    assert in_metric(database) == [(None, "warm", 1)]
    assert rows(database, "SELECT name, accepted, duplicate FROM ledger ORDER BY name") == [("a", 1, 0), ("b", 0, 1)]
    assert mismatches(database) == []


def test_another_reading_of_the_message_is_refused_now(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [Message([{"value": "warm"}, {"value": None}, {"value": 3}])])
    load(staging, database)
    report = retry(database, TEXT, settings=SETTINGS, now=now(hours=1))
    assert report.states == {"resolved": 1, "pending": 1}
    assert rows(database, "SELECT partial, inserted, refused FROM ledger") == [(1, 2, 1)]


def test_a_message_that_the_route_has_come_to_ignore_is_resolved_and_counted_so(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "a", [Message({"action": "single"}), value(1)])
    load(staging, database)
    retry(database, routes(", no_readings: ignore"), settings=Settings(), now=now(hours=1))
    assert states(database) == [(1, "resolved", 0)]
    messages, *_ = totals(database)
    assert (messages.accepted, messages.ignored, messages.dead_lettered) == (1, 1, 0)
    assert mismatches(database) == []


def test_filters_narrow_what_is_due(loaded: Database) -> None:
    due = {"settings": SETTINGS, "now": now(hours=1), "dry_run": True}
    assert retry(loaded, routes(), codes=["value_not_number"], **due).letters == 2
    assert retry(loaded, routes(), stages=["route"], **due).letters == 0
    assert retry(loaded, routes(), routes_only=["data"], **due).letters == 3
    assert retry(loaded, routes(), routes_only=["other"], **due).letters == 0
    assert retry(loaded, routes(), limit=1, **due).letters == 1


def test_one_that_was_taken_by_a_dead_retry_is_due_when_its_lease_is_over(loaded: Database) -> None:
    until = now() + LEASE
    with loaded.begin() as connection:
        statement = sa.text("UPDATE sensor_platform.dead_letter SET state = 'retrying', next_attempt_at = :until")
        connection.execute(statement, {"until": until})
    assert retry(loaded, TEXT, settings=SETTINGS, now=until - timedelta(seconds=1)).letters == 0
    letter = list_letters(loaded)[0]["id"]
    with pytest.raises(WrongStepError, match="is retrying and cannot become retrying"):
        retry(loaded, TEXT, settings=SETTINGS, ids=[letter], now=until - timedelta(seconds=1))
    assert retry(loaded, TEXT, settings=SETTINGS, now=until).letters == 3


def test_discarding_keeps_the_bytes_and_who_and_why(loaded: Database) -> None:
    letter = list_letters(loaded, codes=["invalid_json"])[0]["id"]
    assert discard(loaded, [letter], by="ann", why="a test message") == 1
    found = show(loaded, letter)
    assert (found["state"], found["closed_by"], found["closed_why"]) == ("discarded", "ann", "a test message")
    assert found["payload_base64"] == "cnViYmlzaA=="
    assert found["closed_at"] is not None
    assert counts(loaded) == {"pending": 2, "retrying": 0, "resolved": 0, "exhausted": 0, "discarded": 1}
    with pytest.raises(WrongStepError, match="is discarded"):
        retry(loaded, TEXT, settings=SETTINGS, ids=[letter])
    assert retry(loaded, TEXT, settings=SETTINGS, now=now(hours=1)).letters == 2
    assert mismatches(loaded) == []


def test_discarding_is_all_or_nothing(loaded: Database) -> None:
    first, *_ = (one["id"] for one in list_letters(loaded))
    with pytest.raises(UnknownLetterError, match="4711"):
        discard(loaded, [first, 4711], by="ann", why="typo")
    assert counts(loaded)["discarded"] == 0


def test_a_backfill_after_a_retry_forgets_what_the_retry_was_made_by(loaded: Database, staging: LocalStaging) -> None:
    retry(loaded, TEXT, settings=SETTINGS, now=now(hours=1), by="run 7")
    made_by = "SELECT made_by ->> 'run_id' FROM dead_letter_message ORDER BY sequence"
    assert rows(loaded, made_by) == [("run 7",)] * 3
    load(staging, loaded, mode=Mode.AGAIN, using=TEXT)
    assert rows(loaded, made_by) == [(None,)] * 3


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("wanted", State)
def test_only_the_steps_of_the_table_are_allowed(state: State, wanted: State) -> None:
    if wanted in STEPS[state]:
        check_step(1, state, wanted)
    else:
        with pytest.raises(WrongStepError, match=f"is {state} and cannot become {wanted}"):
            check_step(1, state, wanted)


def test_a_letter_is_told_once_however_many_portions_a_retry_takes(
    loaded: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sensor_platform.dead_letters.chunks.CHUNK_MESSAGES", 1)
    expected = {"resolved": 2, "pending": 1}
    assert retry(loaded, TEXT, settings=SETTINGS, now=now(hours=1), dry_run=True).states == expected
    report = retry(loaded, TEXT, settings=SETTINGS, now=now(hours=1))
    assert (report.states, len(report.outcomes)) == (expected, 3)
