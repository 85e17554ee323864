"""What is compacted is what the ledger has of hours long over; everything that reads it says the same as before."""

from datetime import UTC, datetime, timedelta

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.embedded.status import count
from sensor_platform.pipeline.accounted import accounted
from sensor_platform.pipeline.compaction import compact
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.process import pending
from sensor_platform.pipeline.readings import trace
from sensor_platform.pipeline.retention import prune
from sensor_platform.staging.compacted_area import CompactedName
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, in_metric, load, rows, stage, value

NEXT_HOUR = HOUR + timedelta(hours=1)
#: When HOUR has been over for a day, and the next one has not.
NOW = HOUR + timedelta(days=1, hours=1, minutes=59)


def own(staging: LocalStaging) -> list[str]:
    return [file.name for file in staging.files() if not file.compacted]


def inside(staging: LocalStaging) -> list[list[str]]:
    return [[each.name for each in file.micro_batches] for file in staging.files() if file.compacted]


def test_what_is_long_over_and_processed_is_compacted(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1), value(2)])
    stage(staging, "b", [value(3)], first_sequence=3)
    stage(staging, "young", [value(4)], hour=NEXT_HOUR, first_sequence=4)
    load(staging, database)
    stage(staging, "unprocessed", [value(5)], first_sequence=5)
    done = compact(staging, database, after_hours=24, now=NOW)
    assert (done.before, done.hours, done.compacted.micro_batches, done.compacted.messages) == (NEXT_HOUR, 1, 2, 3)
    assert (own(staging), inside(staging)) == (["unprocessed", "young"], [["a", "b"]])
    assert [each.name for each in pending(staging, database)] == ["unprocessed"]
    assert compact(staging, database, after_hours=24, now=NOW).hours == 0


def test_switched_off_or_told_to_stop_it_leaves_everything(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1)])
    load(staging, database)
    assert compact(staging, database, after_hours=0, now=NOW).before is None
    assert compact(staging, database, after_hours=1, now=NOW, should_stop=lambda: True).hours == 0
    assert own(staging) == ["a"]


def test_a_backfill_a_trace_and_a_late_micro_batch_find_what_they_would_have_found(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "a", [value(1), value("warm", HOUR + timedelta(minutes=1))])
    stage(staging, "b", [value(1), value(2, HOUR + timedelta(minutes=2))], first_sequence=10)
    load(staging, database)
    ledger = "SELECT name, staged, accepted, dead_lettered, duplicate, inserted FROM ledger ORDER BY name"
    before, counted, traced = in_metric(database), rows(database, ledger), trace(database, staging, "p1", "value", HOUR)
    compact(staging, database, after_hours=1, now=NOW)
    assert trace(database, staging, "p1", "value", HOUR) == traced
    stage(staging, "late", [value(3, HOUR + timedelta(minutes=3))], first_sequence=20)
    assert load(staging, database, mode=Mode.AGAIN).micro_batches == 3
    assert in_metric(database) == [*before, (3.0, None, 20)]
    assert rows(database, ledger)[:2] == counted
    compact(staging, database, after_hours=1, now=NOW)
    assert sorted(inside(staging)) == [["a", "b"], ["late"]]
    assert load(staging, database, mode=Mode.AGAIN).micro_batches == 3


def test_retention_deletes_a_compacted_file_as_a_whole_and_the_ledger_says_when(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "a", [value(1)])
    stage(staging, "b", [value(2, HOUR + timedelta(minutes=1))], first_sequence=2)
    load(staging, database)
    compact(staging, database, after_hours=1, now=NOW)
    would = prune(staging, database, days=1, now=NOW, dry_run=True)
    assert (would.micro_batches, would.messages) == (2, 2)
    assert inside(staging) == [["a", "b"]]
    done = prune(staging, database, days=1, now=NOW)
    assert (done.micro_batches, done.messages, done.unprocessed) == (2, 2, 0)
    assert staging.files() == []
    assert rows(database, "SELECT bytes_deleted_at FROM ledger") == [(NOW,), (NOW,)]
    assert load(staging, database, mode=Mode.AGAIN).bytes_deleted == 2


def test_a_compacted_file_of_which_a_new_database_knows_only_a_part_is_kept(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "a", [value(1)])
    stage(staging, "b", [value(2, HOUR + timedelta(minutes=1))], first_sequence=2)
    load(staging, database)
    compact(staging, database, after_hours=1, now=NOW)
    with database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM sensor_platform.ledger WHERE name = 'b'")
        connection.exec_driver_sql("DELETE FROM sensor_platform.compacted_file")  # as a backup of before
    kept = prune(staging, database, days=1, now=NOW)
    assert (kept.micro_batches, kept.unprocessed) == (0, 1)
    assert inside(staging) == [["a", "b"]]
    assert rows(database, "SELECT bytes_deleted_at FROM ledger") == [(None,)]
    assert [each.name for each in pending(staging, database)] == ["b"]


def test_compacted_files_of_which_the_ledger_has_everything_are_not_opened_to_find_what_is_pending(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "a", [value(1)])
    stage(staging, "b", [value(2)], first_sequence=2)
    load(staging, database)
    compact(staging, database, after_hours=1, now=NOW)
    (file,) = [file for file in staging.files() if file.compacted]
    assert {(noted.hour, noted.name) for noted in accounted(database)} == {(file.hour, file.name)}
    (staging.root / CompactedName(file.hour, file.name).key).write_bytes(b"not even Parquet")
    staging = LocalStaging(staging.root)  # that has opened none of them
    assert pending(staging, database) == []
    assert count(staging, database).messages.staged == 2
    stage(staging, "late", [value(3)], first_sequence=3)
    assert [each.name for each in pending(staging, database)] == ["late"]
    with database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM sensor_platform.compacted_file")
    assert [each.name for each in pending(staging, database)] == sorted([file.name, "late"])


def test_bytes_that_retention_is_about_to_delete_are_not_compacted(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1)])
    load(staging, database)
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE sensor_platform.ledger SET bytes_deleted_at = now()")
    assert compact(staging, database, after_hours=1, now=NOW).hours == 0
    assert own(staging) == ["a"]


@pytest.mark.parametrize("hours", [1.0, 0.5])
def test_an_hour_that_is_not_over_is_left_alone(database: Database, staging: LocalStaging, hours: float) -> None:
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    stage(staging, "a", [value(1, this_hour)], hour=this_hour)
    load(staging, database)
    assert compact(staging, database, after_hours=hours, now=this_hour + timedelta(minutes=59)).hours == 0
