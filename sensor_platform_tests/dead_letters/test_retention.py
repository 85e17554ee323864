"""Bytes of old dead letters go; what the ledger counts of them stays, and a backfill leaves discards alone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.dead_letters import retention
from sensor_platform.dead_letters.retention import PrunedLetters, prune_letters
from sensor_platform.dead_letters.retry import retry
from sensor_platform.dead_letters.store import discard, show
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.readings import trace
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, routes, rows, stage, value

CLOSED = ("resolved", "discarded")
MESSAGES = "SELECT sequence, length(payload), bytes_deleted_at IS NOT NULL FROM dead_letter_message ORDER BY 1"
LETTERS = "SELECT sequence, state, closed_by FROM dead_letter ORDER BY 1"


@pytest.fixture
def loaded(database: Database, staging: LocalStaging) -> Database:
    """Message 1 is resolved by a retry, 2 is discarded, 3 is pending."""
    stage(staging, "a", [value("warm"), Message(b"rubbish"), Message(b"more rubbish")])
    load(staging, database)
    later = datetime.now(UTC) + timedelta(hours=1)
    assert retry(database, routes(", text: true"), settings=Settings(), now=later).states["resolved"] == 1
    ((second,),) = rows(database, "SELECT id FROM dead_letter WHERE sequence = 2")
    discard(database, [second], by="anna", why="rubbish")
    return database


def soon(days: int = 8) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def test_closed_letters_lose_their_bytes_and_open_ones_keep_them(loaded: Database) -> None:
    now = soon()
    would = prune_letters(loaded, days=7, states=CLOSED, now=now, dry_run=True)
    assert (would.messages, would.letters) == (2, 0)
    assert len(rows(loaded, LETTERS)) == 3
    done = prune_letters(loaded, days=7, states=CLOSED, now=now)
    assert done == PrunedLetters(now - timedelta(days=7), False, messages=2, letters=1)
    assert rows(loaded, MESSAGES) == [(1, 0, True), (2, 0, True), (3, 12, False)]
    assert rows(loaded, LETTERS) == [(2, "discarded", "anna"), (3, "pending", None)]
    assert mismatches(loaded) == []
    assert prune_letters(loaded, days=7, states=CLOSED, now=now).messages == 0


def test_what_is_young_or_kept_for_ever_stays(loaded: Database) -> None:
    assert prune_letters(loaded, days=0, states=CLOSED, now=soon(9999)) == PrunedLetters(None, False)
    assert prune_letters(loaded, days=30, states=CLOSED, now=soon()).messages == 0
    assert prune_letters(loaded, days=7, states=("resolved",), now=soon()).messages == 1
    assert rows(loaded, LETTERS)[0] == (2, "discarded", "anna")


def test_open_letters_go_where_the_settings_say_so_and_are_discarded_first(
    loaded: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK", 1)
    done = prune_letters(loaded, days=7, states=(*CLOSED, "pending", "exhausted"), now=soon())
    assert (done.messages, done.discarded) == (3, 1)
    assert rows(loaded, LETTERS) == [(2, "discarded", "anna"), (3, "discarded", "retention")]
    assert mismatches(loaded) == []


def test_a_letter_that_is_refused_anew_while_it_is_chosen_keeps_its_bytes(
    loaded: Database, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = retention._old_messages

    def load_meanwhile(*asked: Any) -> Iterator[Any]:
        for old in chosen(*asked):
            load(staging, loaded, mode=Mode.AGAIN)  # text is not allowed now: message 1 is refused again
            yield old

    monkeypatch.setattr(retention, "_old_messages", load_meanwhile)
    assert prune_letters(loaded, days=7, states=CLOSED, now=soon()).messages == 1
    assert rows(loaded, LETTERS) == [(1, "pending", None), (2, "discarded", "anna"), (3, "pending", None)]
    assert rows(loaded, MESSAGES) == [(1, len(value("warm").bytes), False), (2, 0, True), (3, 12, False)]


def test_trace_finds_the_bytes_of_the_file_and_who_made_the_reading(loaded: Database, staging: LocalStaging) -> None:
    before = trace(loaded, staging, "p1", "value", HOUR)
    prune_letters(loaded, days=7, states=CLOSED, now=soon())
    assert trace(loaded, staging, "p1", "value", HOUR) == before


def test_a_backfill_leaves_a_discard_and_makes_a_letter_that_is_refused_again_whole(
    loaded: Database, staging: LocalStaging
) -> None:
    prune_letters(loaded, days=7, states=CLOSED, now=soon())
    load(staging, loaded, mode=Mode.AGAIN)  # text is not allowed now: message 1 is refused again
    assert rows(loaded, LETTERS) == [(1, "pending", None), (2, "discarded", "anna"), (3, "pending", None)]
    assert rows(loaded, MESSAGES) == [(1, len(value("warm").bytes), False), (2, 7, False), (3, 12, False)]
    assert mismatches(loaded) == []
    ((first,),) = rows(loaded, "SELECT id FROM dead_letter WHERE sequence = 1")
    assert show(loaded, first)["payload_base64"]
