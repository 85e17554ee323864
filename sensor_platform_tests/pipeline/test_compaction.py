"""What is compacted is what the ledger has of hours long over; everything that reads it says the same as before."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.retry import retry
from sensor_platform.embedded.status import count
from sensor_platform.pipeline.accounted import accounted
from sensor_platform.pipeline.compaction import compact
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.process import pending
from sensor_platform.pipeline.readings import trace
from sensor_platform.pipeline.retention import prune
from sensor_platform.pipeline.room import staging_room
from sensor_platform.settings import Settings
from sensor_platform.staging.compacted_area import CompactedName
from sensor_platform.staging.format import MicroBatch, StagedFile
from sensor_platform.staging.read import Sealed
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, in_metric, load, routes, rows, stage, value
from sensor_platform_tests.staging.failing_disk import FailingDisk

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


class Differing(LocalStaging):
    """What is read of `a` is never twice the same: a disk, or a memory, that lies."""

    reads = 0

    def read_sealed(self, micro_batch: MicroBatch) -> Sealed:
        sealed = super().read_sealed(micro_batch)
        self.reads += 1
        return replace(sealed, metadata={"read": str(self.reads)}) if micro_batch.name == "a" else sealed


def test_an_hour_that_does_not_go_through_is_told_and_holds_up_no_other(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "a", [value(1)])
    stage(staging, "b", [value(2)], hour=NEXT_HOUR, first_sequence=2)
    load(staging, database)
    later = NOW + timedelta(hours=1)
    done = compact(Differing(staging.root), database, after_hours=24, now=later)
    assert (done.hours, done.compacted.micro_batches) == (1, 1)
    (failed,) = done.failed
    assert failed.startswith("2026-11-23 10:00 UTC: ")
    assert "a: what was compacted is not what its own file has. Nothing was deleted" in failed
    assert (own(staging), inside(staging)) == (["a"], [["b"]])
    again = compact(staging, database, after_hours=24, now=later)
    assert (again.hours, again.failed) == (1, ())


def test_a_full_disk_ends_the_call_and_the_next_goes_on(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1)])
    stage(staging, "b", [value(2)], hour=NEXT_HOUR, first_sequence=2)
    load(staging, database)
    later = NOW + timedelta(hours=1)
    with FailingDisk(staging.root, fails_at=0, for_more=1000)():
        done = compact(staging, database, after_hours=24, now=later)
    (failed,) = done.failed
    assert "No space left on device. Nothing is lost" in failed
    assert own(staging) == ["a", "b"]
    assert compact(staging, database, after_hours=24, now=later).hours == 2


class Counting(LocalStaging):
    """Tells of which hours compacted files were opened."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.opened: set[datetime] = set()
        real = self.compacted._opened
        self.compacted._opened = lambda file: self.opened.add(file.hour) or real(file)


def test_a_night_opens_compacted_files_of_the_hours_that_it_compacts_alone(
    database: Database, staging: LocalStaging
) -> None:
    for place, hour in enumerate((HOUR, NEXT_HOUR)):
        stage(staging, f"m{place}", [value(place)], hour=hour, first_sequence=1 + place)
        load(staging, database)
        compact(staging, database, after_hours=24, now=NOW + timedelta(hours=place))
    stage(staging, "new", [value(3)], hour=NEXT_HOUR, first_sequence=3)
    load(staging, database)
    counting = Counting(staging.root)
    assert compact(counting, database, after_hours=24, now=NOW + timedelta(hours=1)).hours == 1
    room = staging_room(counting)
    assert counting.opened == {NEXT_HOUR}
    sizes = [file.size_bytes for file in staging.files()]
    assert (room.files, room.bytes, room.compacted_files, room.compacted_bytes) == (0, 0, 3, sum(sizes))


def test_what_died_before_it_was_noted_is_noted_by_the_next_call(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1)])
    load(staging, database)
    compact(staging, database, after_hours=1, now=NOW)
    noted = accounted(database)
    with database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM sensor_platform.compacted_file")
    assert compact(staging, database, after_hours=1, now=NOW).hours == 0
    assert accounted(database) == noted
    assert len(noted) == 1


class Watched(LocalStaging):
    """Others look as soon as the file has its name, and as each original has gone."""

    def __init__(self, root: Path, look: Callable[[], None]) -> None:
        super().__init__(root)
        self._look = look

    def keep(self, path: Path, name: CompactedName) -> None:
        super().keep(path, name)
        self._look()

    def delete(self, file: StagedFile) -> None:
        super().delete(file)
        self._look()


def test_a_backfill_a_trace_and_a_retry_at_each_step_find_what_they_would_have_found(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "a", [value(1), value("warm", HOUR + timedelta(minutes=1))])
    stage(staging, "b", [value(2, HOUR + timedelta(minutes=2))], first_sequence=10)
    load(staging, database)
    before, traced = in_metric(database), trace(database, staging, "p1", "value", HOUR)
    bytes_of_letter = "SELECT payload FROM dead_letter_message"
    letters = rows(database, bytes_of_letter)
    looks: list[tuple[object, ...]] = []

    def look() -> None:
        later = datetime.now(UTC) + timedelta(days=1 + len(looks))
        report = load(LocalStaging(staging.root), database, mode=Mode.AGAIN)
        found = trace(database, LocalStaging(staging.root), "p1", "value", HOUR)
        retried = retry(database, routes(), settings=Settings(), now=later)
        stands = in_metric(database), rows(database, bytes_of_letter), [one["payload_base64"] for one in found]
        looks.append((report.micro_batches, sum(retried.states.values()), *stands))

    done = compact(Watched(staging.root, look), database, after_hours=1, now=NOW)
    assert (done.failed, done.compacted.micro_batches) == ((), 2)
    assert looks == [(2, 1, before, letters, [one["payload_base64"] for one in traced])] * 3


class CompactedAsRead(LocalStaging):
    """A staging area that is compacted between the listing and the first read."""

    database: Database

    def read(self, micro_batch: MicroBatch) -> pa.Table:
        compact(LocalStaging(self.root), self.database, after_hours=1, now=NOW)
        return super().read(micro_batch)


def test_a_backfill_that_listed_before_reads_what_was_compacted_since(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "a", [value(1)])
    stage(staging, "b", [value(2, HOUR + timedelta(minutes=2))], first_sequence=10)
    load(staging, database)
    before = in_metric(database)
    reading = CompactedAsRead(staging.root)
    reading.database = database
    assert load(reading, database, mode=Mode.AGAIN).micro_batches == 2
    assert (own(staging), inside(staging)) == ([], [["a", "b"]])
    assert in_metric(database) == before
