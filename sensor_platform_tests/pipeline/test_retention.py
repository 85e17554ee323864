"""Old bytes go, and only they: nothing unprocessed, no reading, no dead letter; and the ledger says when."""

from collections.abc import Container
from datetime import UTC, datetime, timedelta

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.retry import retry
from sensor_platform.errors import BytesDeletedError
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.readings import trace
from sensor_platform.pipeline.retention import Pruned, prune
from sensor_platform.settings import Settings
from sensor_platform.staging.compacted_area import CompactedName
from sensor_platform.staging.format import MicroBatch, StagedFile
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, in_metric, load, routes, rows, stage, value

NEXT_HOUR = HOUR + timedelta(hours=1)
#: When HOUR has been over for two days, and the next one has not.
NOW = HOUR + timedelta(days=2, hours=1, minutes=59)


def names(staging: LocalStaging) -> list[str]:
    return [each.name for each in staging.micro_batches()]


def test_what_is_old_and_processed_is_deleted_and_the_ledger_says_when(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "old", [value(1), value(2)])
    stage(staging, "young", [value(3)], hour=NEXT_HOUR, first_sequence=3)
    load(staging, database)
    stage(staging, "unprocessed", [value(4)], first_sequence=4)
    would = prune(staging, database, days=2, now=NOW, dry_run=True)
    assert names(staging) == ["old", "unprocessed", "young"]
    assert rows(database, "SELECT count(bytes_deleted_at) FROM ledger") == [(0,)]
    done = prune(staging, database, days=2, now=NOW)
    assert would == Pruned(NEXT_HOUR, True, micro_batches=1, messages=2, unprocessed=1)
    assert done == Pruned(NEXT_HOUR, False, micro_batches=1, messages=2, unprocessed=1)
    assert names(staging) == ["unprocessed", "young"]
    assert rows(database, "SELECT name, bytes_deleted_at FROM ledger ORDER BY 1") == [("old", NOW), ("young", None)]


class TwoDaysCompacted(LocalStaging):
    """Besides what it has: 40 compacted hours, at a micro-batch each two seconds."""

    def files(
        self, start: datetime | None = None, end: datetime | None = None, *, compacted: bool = True
    ) -> list[StagedFile]:
        hours = [HOUR - timedelta(hours=n) for n in range(1, 41)]
        more = [tuple(MicroBatch(hour, f"c-{hour:%d%H}-{n}") for n in range(1800)) for hour in hours]
        inside = [StagedFile(each[0].hour, "some", each, 1, compacted=True) for each in more]
        return [*inside, *super().files(start, end, compacted=compacted)]


def test_compacted_files_of_more_micro_batches_than_a_statement_has_parameters(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "old", [value(1)])
    load(staging, database)
    many = TwoDaysCompacted(staging.root)
    assert prune(many, database, days=2, now=NOW) == Pruned(NEXT_HOUR, False, 1, 1, unprocessed=72_000)
    assert names(staging) == []


def test_no_days_keep_everything(database: Database, staging: LocalStaging) -> None:
    stage(staging, "old", [value(1)])
    load(staging, database)
    assert prune(staging, database, days=0, now=NOW + timedelta(days=9999)) == Pruned(None, False)
    assert names(staging) == ["old"]


def test_a_damaged_micro_batch_is_kept_whatever_its_age(database: Database, staging: LocalStaging) -> None:
    broken = stage(staging, "broken", [value(1)])
    staging.path(broken).write_bytes(b"not a micro-batch")
    assert prune(staging, database, days=1, now=NOW).unprocessed == 1
    assert names(staging) == ["broken"]


def test_a_backfill_over_deleted_hours_leaves_what_it_cannot_make_again(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "gone", [value(1)])
    load(staging, database)
    prune(staging, database, days=1, now=NOW)
    stage(staging, "kept", [value(2, HOUR + timedelta(minutes=1))], first_sequence=2)
    load(staging, database)
    before = in_metric(database)
    ledger = rows(database, "SELECT name, staged, inserted FROM ledger ORDER BY 1")
    report = load(staging, database, mode=Mode.AGAIN)
    assert (report.micro_batches, report.bytes_deleted) == (1, 1)
    assert in_metric(database) == before == [(1.0, None, 1), (2.0, None, 2)]
    assert rows(database, "SELECT name, staged, inserted FROM ledger ORDER BY 1") == ledger
    assert load(staging, database, mode=Mode.AGAIN, hour=NEXT_HOUR).bytes_deleted == 0


class PrunedMeanwhile(LocalStaging):
    """A staging area of which somebody deletes what is old, just after it was listed."""

    database: Database

    def micro_batches(
        self, start: datetime | None = None, end: datetime | None = None, *, but: Container[CompactedName] = ()
    ) -> list[MicroBatch]:
        found = super().micro_batches(start, end, but=but)
        prune(LocalStaging(self.root), self.database, days=1, now=NOW)
        return found


def test_a_backfill_goes_on_where_its_files_are_deleted_meanwhile(database: Database, staging: LocalStaging) -> None:
    stage(staging, "gone", [value(1)])
    load(staging, database)
    stage(staging, "kept", [value(2, HOUR + timedelta(minutes=1))], first_sequence=2)
    before = in_metric(database)
    meanwhile = PrunedMeanwhile(staging.root)
    meanwhile.database = database
    report = load(meanwhile, database, mode=Mode.AGAIN)
    assert (report.micro_batches, report.bytes_deleted) == (1, 1)
    assert in_metric(database) == [*before, (2.0, None, 2)]


def test_trace_says_when_the_bytes_were_deleted(database: Database, staging: LocalStaging) -> None:
    stage(staging, "gone", [value(1)])
    load(staging, database)
    prune(staging, database, days=1, now=NOW)
    with pytest.raises(BytesDeletedError, match="gone: its bytes were deleted on 2026-11-25 at 11:59 UTC by retention"):
        trace(database, staging, "p1", "value", HOUR)


def test_a_file_left_by_a_crash_goes_with_the_next_call(database: Database, staging: LocalStaging) -> None:
    left = stage(staging, "left", [value(1)])
    load(staging, database)
    data = staging.path(left).read_bytes()
    prune(staging, database, days=1, now=NOW)
    staging.path(left).parent.mkdir(parents=True)
    staging.path(left).write_bytes(data)  # the ledger said it before the file went
    prune(staging, database, days=1, now=NOW + timedelta(days=1))
    assert names(staging) == []
    assert rows(database, "SELECT bytes_deleted_at FROM ledger") == [(NOW,)]


def test_dead_letters_are_retried_without_the_file(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value("warm")])
    load(staging, database)
    prune(staging, database, days=1, now=NOW)
    later = datetime.now(UTC) + timedelta(hours=1)
    report = retry(database, routes(", text: true"), settings=Settings(), now=later)
    assert report.states == {"resolved": 1}
    assert in_metric(database) == [(None, "warm", 1)]
