"""What `process` takes, in which portions, and what it does when something cannot be read or loaded."""

from datetime import timedelta

import psycopg
import pytest
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.errors import AccountingError
from sensor_platform.pipeline import process as module
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.process import DamagedMicroBatchesError, pending, process
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, in_metric, load, routes, rows, stage, value

SECOND = timedelta(seconds=1)


def stage_hours(staging: LocalStaging, count: int) -> None:
    for number in range(count):
        hour = HOUR + timedelta(hours=number)
        stage(staging, f"a-{number}", [value(number, hour)], hour=hour, first_sequence=number)


def test_hours_are_half_open(database: Database, staging: LocalStaging) -> None:
    stage_hours(staging, 3)
    hours = (HOUR, HOUR + timedelta(hours=2))
    assert process(staging, database, routes(), settings=Settings(), hours=hours).micro_batches == 2
    assert [micro_batch.name for micro_batch in pending(staging, database)] == ["a-2"]


def test_a_stop_is_obeyed_between_groups(
    database: Database, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GROUP_MICRO_BATCHES", 2)
    stage_hours(staging, 5)
    report = process(staging, database, routes(), settings=Settings(), should_stop=lambda: True)
    assert report.micro_batches == 2
    assert len(pending(staging, database)) == 3


@pytest.mark.parametrize("limit", ["GROUP_MICRO_BATCHES", "GROUP_MESSAGES", "GROUP_BYTES"])
def test_groups_are_bounded_and_their_reports_add_up(
    database: Database, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(module, limit, 1)
    stage_hours(staging, 3)
    report = load(staging, database)
    assert (report.micro_batches, report.messages.staged, report.readings.inserted) == (3, 3, 3)
    assert (report.least_time, report.greatest_time) == (HOUR, HOUR + timedelta(hours=2))
    assert set(report.seconds) == {"read", "decode", "validate", "load"}
    assert len(rows(database, "SELECT DISTINCT committed_at FROM ledger")) == 3


def test_a_damaged_micro_batch_is_named_and_the_others_are_in(database: Database, staging: LocalStaging) -> None:
    stage_hours(staging, 2)
    damaged = stage(staging, "broken", [value(9)])
    path = staging.path(damaged)
    content = bytearray(path.read_bytes())
    at = content.index(b'"value"')
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedMicroBatchesError, match="broken") as caught:
        load(staging, database)
    assert caught.value.names == ["broken"]
    assert caught.value.report.micro_batches == 2
    assert len(in_metric(database)) == 2
    assert pending(staging, database) == [damaged]


def test_a_reading_that_postgresql_refuses_is_a_dead_letter_and_its_neighbours_are_in(
    database: Database, staging: LocalStaging
) -> None:
    with database.begin() as connection:
        connection.execute(
            sa.text("ALTER TABLE sensor_platform.metric ADD CONSTRAINT unlucky CHECK (value NOT IN (13, 666))")
        )
    numbers = [*range(20), 666, 20]
    stage(staging, "a", [value(number, HOUR + place * SECOND) for place, number in enumerate(numbers)])
    report = load(staging, database)
    assert report.refused_by_code == {"refused_by_database": 2}
    assert report.messages.accepted == 20
    assert sorted(number for number, *_ in in_metric(database)) == [n for n in range(21) if n != 13]
    letters = rows(database, "SELECT sequence, ordinal, stage, code, detail FROM dead_letter ORDER BY sequence")
    assert [letter[:4] for letter in letters] == [
        (14, 0, "schema", "refused_by_database"),
        (21, 0, "schema", "refused_by_database"),
    ]
    assert "unlucky" in letters[0][4]
    assert mismatches(database) == []


def test_tables_that_were_upgraded_under_a_load_refuse_it_and_none_of_its_readings(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "a", [value(1)])
    with database.begin() as connection:
        connection.execute(sa.text("DROP VIEW sensor_platform.reading, sensor_platform.last_reading CASCADE"))
        connection.execute(sa.text("ALTER TABLE sensor_platform.metric ALTER sequence TYPE integer"))
    with pytest.raises(psycopg.errors.InvalidBinaryRepresentation):
        load(staging, database)
    assert rows(database, "SELECT count(*) FROM ledger") == rows(database, "SELECT count(*) FROM dead_letter") == [(0,)]


def test_an_error_that_is_of_no_reading_commits_nothing(database: Database, staging: LocalStaging) -> None:
    with database.begin() as connection:
        connection.execute(sa.text("ALTER TABLE sensor_platform.ledger ADD CONSTRAINT never CHECK (inserted = 0)"))
    stage(staging, "a", [value(1)])
    with pytest.raises(AccountingError, match="never"):
        load(staging, database)
    assert in_metric(database) == []
    assert len(pending(staging, database)) == 1


def test_mismatches_are_found_where_they_are(database: Database, staging: LocalStaging) -> None:
    stage_hours(staging, 3)
    stage(staging, "b", [value("no"), value(1, HOUR + SECOND), value(1, HOUR + SECOND)], first_sequence=10)
    load(staging, database)
    assert mismatches(database) == []
    with database.begin() as connection:
        connection.execute(sa.text("SET LOCAL search_path TO sensor_platform"))
        connection.execute(sa.text("DELETE FROM metric WHERE value = 2"))
        connection.execute(sa.text("DELETE FROM metric_duplicate"))
        connection.execute(sa.text("UPDATE dead_letter SET state = 'resolved'"))
    assert mismatches(database) == [
        "b: messages with dead letters: the ledger says 1, the tables have 0",
        "b: readings duplicate: the ledger says 1, the tables have 0",
        "b: readings refused: the ledger says 1, the tables have 0",
        "a-2: readings inserted: the ledger says 1, the tables have 0",
    ]
    assert len(mismatches(database, since=HOUR + timedelta(hours=1))) == 1


def test_an_empty_micro_batch_is_accounted_for(database: Database, staging: LocalStaging) -> None:
    stage(staging, "empty", [])
    assert load(staging, database).micro_batches == 1
    assert load(staging, database, mode=Mode.AGAIN).messages.staged == 0
    assert pending(staging, database) == []
