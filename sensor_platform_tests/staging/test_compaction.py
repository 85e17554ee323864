"""Compacted, a micro-batch is found by its name and reads the same, whoever dies or looks meanwhile."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sensor_platform.errors import DamagedMicroBatchError, MissingMicroBatchError, StagingUnavailableError
from sensor_platform.staging import compacted
from sensor_platform.staging.compacted_area import CompactedName
from sensor_platform.staging.compaction import Compacted, CompactionDiffersError, compact_hour
from sensor_platform.staging.format import SCHEMA, Group, MicroBatch, StagedFile, to_batch
from sensor_platform.staging.kill_points import VARIABLE
from sensor_platform.staging.object_staging import ObjectStaging
from sensor_platform.staging.object_store import Bucket
from sensor_platform.staging.open_file import OpenFile
from sensor_platform.staging.store import LocalStaging, Staging
from sensor_platform.staging.uploader import Uploader
from sensor_platform_tests.staging.compact_process import compact_all
from sensor_platform_tests.staging.failing_disk import FailingDisk
from sensor_platform_tests.staging.s3_server import URL, S3Server
from sensor_platform_tests.staging.test_golden import GOLDEN, MICRO_BATCH

HOUR = datetime(2026, 11, 23, 10, tzinfo=UTC)
HOUR_US = int(HOUR.timestamp() * 1_000_000)
FACTS = {"format_version": "1", "collector": "c0", "incarnation": "0123abcd"}

#: Each line at which a compaction may die, in the order in which it passes them.
POINTS = [
    "compaction_added",
    "compaction_synced",
    "compaction_verified",
    "after_link",
    "between_link_and_unlink",
    "after_unlink",
    "after_folder_sync",
    "compaction_kept",
    "compaction_deleted",
    "compaction_deleted:2",
]


def payload(n: int) -> bytes:
    return b'{"timestamp": "2026-11-23T10:00:%02dZ", "value": %d}' % (n % 60, n)


def write(staging: LocalStaging, number: int, payloads: Sequence[bytes], *, hour: datetime = HOUR) -> MicroBatch:
    """A sealed micro-batch with every column in use, in two groups, the second of a new session."""
    micro_batch = MicroBatch(hour, f"c0-0123abcd-{number:08d}")
    path = staging.path(micro_batch)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = OpenFile(path, {**FACTS, "number": str(number), "reuses_ids_early": "1"})
    first = 1000 * number
    for at, some in ((0, payloads[:2]), (2, payloads[2:])):
        group = Group(
            first_bytes=bytes([0x3B, 0x30][: len(some)]).ljust(len(some), b"\x32"),
            topics=[b"factory/press/sensors/force/data", b"\xff\x00", b""][: len(some)]
            + [b"factory/press/sensors/force/data"] * max(0, len(some) - 3),
            payloads=list(some),
            packet_ids=[0 if place == 1 else 60000 + place for place in range(len(some))],
            connection=7,
            redelivery_of=[first - 1, *[None] * (len(some) - 1)],
            content_types={0: "application/json"},
            user_properties={0: [("k", "v"), ("k", "\u00fc")]} if at else {1: []},
            new_session=at > 0,
        )
        if some:
            batch = to_batch(group, first_sequence=first + at, received_at_us=HOUR_US + 1000 * first + at)
            file.write(batch, new_session=group.new_session)
    file.finish()
    return micro_batch


def write_hour(staging: LocalStaging, files: int = 3) -> list[MicroBatch]:
    return [write(staging, number, [payload(10 * number + n) for n in range(5)]) for number in range(files)]


def tables(staging: Staging) -> dict[MicroBatch, pa.Table]:
    """Every micro-batch as it reads; each is listed once."""
    found = staging.micro_batches()
    assert len(found) == len(set(found))
    return {each: staging.read(each) for each in found}


def own_files(staging: LocalStaging) -> list[str]:
    return [file.name for file in staging.files() if not file.compacted]


def test_every_column_of_every_message_reads_the_same(tmp_path: Path) -> None:
    staging = LocalStaging(tmp_path)
    written = write_hour(staging)
    before, facts = tables(staging), {each: (staging.count(each), staging.sealed_at(each)) for each in written}
    own = [staging.read_sealed(each) for each in written]
    bytes_before = sum(file.size_bytes for file in staging.files())
    done = compact_hour(staging, HOUR, {each.name for each in written})
    (file,) = staging.files()
    assert done == Compacted(3, 15, bytes_before, file.size_bytes)
    assert (file.compacted, file.micro_batches) == (True, tuple(written))
    assert staging.micro_batches() == written
    assert tables(staging) == before
    assert all(staging.read(each).schema == SCHEMA for each in written)
    assert {each: (staging.count(each), staging.sealed_at(each)) for each in written} == facts
    assert staging.find(written[1].name) == written[1]
    entries = [staging.compacted.entry(each) for each in written]
    assert [(e.metadata, e.new_sessions) for e in entries if e] == [(each.metadata, each.new_sessions) for each in own]
    assert entries[0] is not None
    assert (entries[0].new_sessions, entries[0].metadata["reuses_ids_early"]) == ((2,), "1")
    assert list(tmp_path.glob("dt=*")) == []
    assert list(staging.scratch().iterdir()) == []


def test_what_an_earlier_version_staged_is_compacted(tmp_path: Path) -> None:
    staging = LocalStaging(tmp_path)
    path = staging.path(MICRO_BATCH)
    path.parent.mkdir(parents=True)
    path.write_bytes(GOLDEN.read_bytes())
    before = tables(staging)
    assert compact_all(staging) == 1
    assert own_files(staging) == []
    assert tables(staging) == before


def test_any_parquet_tool_reads_the_messages_with_their_identity(tmp_path: Path) -> None:
    staging = LocalStaging(tmp_path)
    write_hour(staging, 2)
    compact_all(staging)
    (path,) = tmp_path.glob("_compacted/dt=2026-11-23/hour=10/*.parquet")
    rows = pq.read_table(path).select(["micro_batch", "sequence"]).to_pylist()
    assert [(row["micro_batch"][-1], row["sequence"]) for row in rows] == [
        *(("0", n) for n in range(5)),
        *(("1", n) for n in range(1000, 1005)),
    ]


def test_row_groups_and_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staging = LocalStaging(tmp_path)
    written = write_hour(staging, 6)
    before = tables(staging)
    monkeypatch.setattr(compacted, "ROW_GROUP_MESSAGES", 10)
    monkeypatch.setattr(compacted, "GREATEST_FILE_BYTES", 2000)
    compact_all(staging)
    files = staging.files()
    assert len(files) > 1
    assert sorted(each for file in files for each in file.micro_batches) == written
    paths = sorted(tmp_path.glob("_compacted/*/*/*.parquet"))
    groups = [pq.ParquetFile(path).metadata.row_group(0).num_rows for path in paths]
    assert set(groups) <= {5, 10}
    assert tables(staging) == before
    assert {each: staging.read(each) for each in reversed(written)} == before


def test_only_what_was_asked_for_is_compacted_and_what_comes_late_gets_a_file_of_its_own(tmp_path: Path) -> None:
    staging = LocalStaging(tmp_path)
    first, second, third = write_hour(staging)
    before = tables(staging)
    assert compact_hour(staging, HOUR, {first.name}).micro_batches == 1
    assert own_files(staging) == [second.name, third.name]
    assert tables(staging) == before
    late = write(staging, 9, [payload(9)])
    before[late] = staging.read(late)
    assert compact_hour(staging, HOUR, {each.name for each in before}).micro_batches == 3
    assert [file.micro_batches for file in staging.files() if len(file.micro_batches) == 3] == [(second, third, late)]
    assert tables(staging) == before
    assert compact_hour(staging, HOUR, {each.name for each in before}) == Compacted()


def test_the_hours_asked_for_are_those_that_are_listed(tmp_path: Path) -> None:
    staging = LocalStaging(tmp_path)
    hours = [HOUR + timedelta(hours=n) for n in range(3)]
    written = [write(staging, n, [payload(n)], hour=hour) for n, hour in enumerate(hours)]
    compact_all(staging)
    assert staging.micro_batches(hours[1]) == written[1:]
    assert staging.micro_batches(None, hours[1]) == written[:1]
    assert staging.micro_batches(hours[1], hours[2]) == [written[1]]
    assert [file.hour for file in staging.files(hours[1], None)] == hours[1:]


def test_a_damaged_micro_batch_stays_as_it_is_and_holds_nothing_up(tmp_path: Path) -> None:
    staging = LocalStaging(tmp_path)
    good, broken, other = write_hour(staging)
    staging.path(broken).write_bytes(staging.path(broken).read_bytes().replace(payload(12), payload(13)))
    done = compact_hour(staging, HOUR, {good.name, broken.name, other.name})
    assert (done.micro_batches, done.damaged) == (2, 1)
    assert own_files(staging) == [broken.name]
    with pytest.raises(DamagedMicroBatchError):
        staging.read(broken)


def test_what_is_damaged_after_a_crash_stays_as_it_is_and_holds_nothing_up(tmp_path: Path) -> None:
    staging = LocalStaging(tmp_path)
    broken, good, _ = write_hour(staging)
    compact_to_death(tmp_path, "compaction_kept")
    path = staging.path(broken)
    path.write_bytes(path.read_bytes().replace(payload(2), payload(3)))
    late = write(staging, 7, [payload(7)])
    done = compact_hour(staging, HOUR, {broken.name, good.name, late.name})
    assert (done.micro_batches, done.damaged) == (1, 1)
    assert broken.name in own_files(staging)
    assert not {good.name, late.name} & set(own_files(staging))


UNREADABLE = """
import os, sys
from pathlib import Path
from sensor_platform.staging import store
from sensor_platform_tests.staging.compact_process import compact_all

def cut(source, where, real=store.read_sealed):
    if where.endswith("1.arrow"):
        os.truncate(where, 0)  # to who has it open, as a disk that cannot read it
    return real(source, where)

store.read_sealed = cut
print(compact_all(store.LocalStaging(Path(sys.argv[1]))))
"""


def test_what_the_disk_cannot_read_stays_and_holds_nothing_up(tmp_path: Path) -> None:
    staging = LocalStaging(tmp_path)
    good, unreadable, other = write_hour(staging)
    before = staging.read(good), staging.read(other)
    command = [sys.executable, "-c", UNREADABLE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["2"]), done.stderr
    assert own_files(staging) == [unreadable.name]
    assert (staging.read(good), staging.read(other)) == before


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_this_very_line_nothing_is_lost_and_nothing_doubled(tmp_path: Path, point: str) -> None:
    staging = LocalStaging(tmp_path)
    write_hour(staging)
    before = tables(staging)
    compact_to_death(tmp_path, point)
    assert tables(staging) == before
    late = write(staging, 7, [payload(7)])
    before[late] = staging.read(late)
    compact_all(staging)
    assert tables(staging) == before
    assert own_files(staging) == []
    assert list(staging.scratch().iterdir()) == []
    inside = [each for file in staging.files() for each in file.micro_batches]
    assert sorted(inside) == sorted(before)


def compact_to_death(root: Path, point: str, *more: str) -> None:
    command = [sys.executable, "-m", "sensor_platform_tests.staging.compact_process", str(root), *more]
    done = subprocess.run(command, env={**os.environ, VARIABLE: point}, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, f"{point} was not passed"


class Watched(LocalStaging):
    """Somebody else looks at each step of the compaction."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reader = LocalStaging(root)
        self.seen: list[dict[MicroBatch, pa.Table]] = []

    def keep(self, path: Path, name: CompactedName) -> None:
        self.seen.append(tables(self.reader))
        super().keep(path, name)
        self.seen.append(tables(self.reader))

    def delete(self, file: StagedFile) -> None:
        super().delete(file)
        self.seen.append(tables(self.reader))


def test_readers_see_each_micro_batch_once_at_every_step(tmp_path: Path) -> None:
    staging = Watched(tmp_path)
    write_hour(staging)
    before = tables(staging)
    compact_all(staging)
    assert staging.seen == [before] * 5


class Verified(LocalStaging):
    """Something happens between the comparison and the name."""

    def __init__(self, root: Path, meanwhile: Callable[[], None]) -> None:
        super().__init__(root)
        self._meanwhile = meanwhile

    def keep(self, path: Path, name: CompactedName) -> None:
        self._meanwhile()
        super().keep(path, name)


class Slow(LocalStaging):
    """Stops before its second micro-batch until it may go on."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads, self.has_begun, self.may_go_on = 0, threading.Event(), threading.Event()

    def read_sealed(self, micro_batch: MicroBatch):  # type: ignore[no-untyped-def]
        self.reads += 1
        if self.reads == 2:
            self.has_begun.set()
            assert self.may_go_on.wait(timeout=120)
        return super().read_sealed(micro_batch)


def test_two_at_once_since_a_lock_was_lost_take_nothing_away(tmp_path: Path) -> None:
    write_hour(LocalStaging(tmp_path))
    before = tables(LocalStaging(tmp_path))
    second = Slow(tmp_path)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="second") as pool:

        def begin() -> None:
            pool.submit(compact_all, second)
            assert second.has_begun.wait(timeout=120)

        try:
            with suppress(StagingUnavailableError):  # the second threw away what the first had written
                compact_all(Verified(tmp_path, begin))
            assert tables(LocalStaging(tmp_path)) == before
        finally:
            second.may_go_on.set()
    assert tables(LocalStaging(tmp_path)) == before
    compact_all(LocalStaging(tmp_path))
    assert tables(LocalStaging(tmp_path)) == before
    assert own_files(LocalStaging(tmp_path)) == []


class CompactedMeanwhile(LocalStaging):
    """A staging area that is compacted just after its own files were listed."""

    def own_files(self, start: datetime | None = None, end: datetime | None = None) -> list[MicroBatch]:
        found = super().own_files(start, end)
        compact_all(LocalStaging(self.root))
        return found


def test_a_listing_misses_nothing_that_moves_meanwhile(tmp_path: Path) -> None:
    staging = LocalStaging(tmp_path)
    written = write_hour(staging)
    before = tables(staging)
    assert CompactedMeanwhile(tmp_path).micro_batches() == written
    assert own_files(staging) == []
    assert tables(staging) == before


class BadDisk(LocalStaging):
    """What is read for the comparison is not what was read for the copy."""

    reads = 0

    def read_sealed(self, micro_batch: MicroBatch):  # type: ignore[no-untyped-def]
        BadDisk.reads += 1
        other = MicroBatch(micro_batch.hour, micro_batch.name[:-1] + "1") if BadDisk.reads == 3 else micro_batch
        return super().read_sealed(other)


def test_what_differs_from_its_original_is_thrown_away(tmp_path: Path) -> None:
    staging = BadDisk(tmp_path)
    write_hour(staging, 2)
    before = tables(staging)
    with pytest.raises(CompactionDiffersError, match="c0-0123abcd-00000000: what was compacted is not"):
        compact_all(staging)
    assert len(own_files(staging)) == 2
    assert [file for file in staging.files() if file.compacted] == []
    assert tables(staging) == before


def test_a_disk_that_refuses_any_one_step_loses_nothing_and_the_next_call_goes_on(tmp_path: Path) -> None:
    write_hour(LocalStaging(tmp_path / "sound"))
    before = tables(LocalStaging(tmp_path / "sound"))
    refused: list[str] = []
    while True:
        root = tmp_path / str(len(refused))
        shutil.copytree(tmp_path / "sound", root)
        disk = FailingDisk(root, fails_at=len(refused))
        with disk():
            try:
                compact_all(LocalStaging(root))
                break
            except StagingUnavailableError as err:
                assert "No space left on device" in str(err)  # noqa: PT017  # the last round raises nothing
        refused.append(disk.log[-1])
        assert tables(LocalStaging(root)) == before, refused[-1]
        assert list(LocalStaging(root).scratch().glob("*")) == [], refused[-1]
        compact_all(LocalStaging(root))
        assert tables(LocalStaging(root)) == before, refused[-1]
        assert own_files(LocalStaging(root)) == [], refused[-1]
    assert {each.split()[0] for each in refused} >= {"mkdir", "write", "fsync", "link"}


def test_no_flipped_bit_goes_unnoticed(tmp_path: Path) -> None:
    """Another byte anywhere in the file: it reads as before, or it is damaged; it never reads as something else."""
    write_hour(LocalStaging(tmp_path), 2)
    before = tables(LocalStaging(tmp_path))
    compact_all(LocalStaging(tmp_path))
    (path,) = tmp_path.glob("_compacted/*/*/*.parquet")
    data, damaged = path.read_bytes(), 0
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        try:
            assert tables(LocalStaging(tmp_path)) == before, f"byte {place}"
        except DamagedMicroBatchError as err:
            damaged += 1
            assert path.name in str(err)  # noqa: PT017  # not every byte means something
    assert damaged > len(data) // 7 // 2


def test_a_damaged_compacted_file_counts_as_one_damaged_micro_batch_and_holds_nothing_up(tmp_path: Path) -> None:
    staging = LocalStaging(tmp_path)
    first, second, _ = write_hour(staging)
    compact_hour(staging, HOUR, {first.name})
    compact_hour(staging, HOUR, {second.name})
    paths = {file.micro_batches[0]: CompactedName(file.hour, file.name) for file in staging.files() if file.compacted}
    broken = paths[first]
    path = tmp_path / broken.key
    path.write_bytes(path.read_bytes()[:-20] + bytes(20))
    staging = LocalStaging(tmp_path)
    found = staging.micro_batches()
    assert len(found) == 3
    assert MicroBatch(HOUR, broken.name) in found
    for lost in (first, MicroBatch(HOUR, broken.name)):
        with pytest.raises(DamagedMicroBatchError, match=f"{broken.name}.parquet: it has no end"):
            staging.read(lost)
    assert staging.read(second).num_rows == 5
    assert staging.find(broken.name) == MicroBatch(HOUR, broken.name)
    assert compact_all(staging) == 1


def test_a_micro_batch_that_no_file_has_is_missing(tmp_path: Path) -> None:
    staging = LocalStaging(tmp_path)
    write_hour(staging)
    compact_all(staging)
    with pytest.raises(MissingMicroBatchError, match=r"other\.arrow: no such micro-batch"):
        staging.read(MicroBatch(HOUR, "other"))
    with pytest.raises(MissingMicroBatchError):
        staging.count(MicroBatch(HOUR, "other"))
    assert staging.sealed_at(MicroBatch(HOUR, "other")) is None
    assert staging.find("other") is None


def uploaded(root: Path, files: int = 3) -> ObjectStaging:
    local = LocalStaging(root)
    write_hour(local, files)
    Uploader(local, Bucket(URL)).upload_waiting()
    return ObjectStaging(LocalStaging(root), Bucket(URL))


def test_in_a_bucket_every_column_reads_the_same(s3: S3Server, tmp_path: Path) -> None:
    staging = uploaded(tmp_path)
    waiting = write(staging.local, 8, [payload(8)])
    before = tables(staging)
    counts = {each: (staging.count(each), staging.sealed_at(each)) for each in before}
    names = {each.name for each in before}
    done = compact_hour(staging, HOUR, names)
    assert (done.micro_batches, done.messages) == (3, 15)
    assert [(file.compacted, file.waits) for file in staging.files()] == [(False, True), (True, False)]
    assert list(Bucket(URL).keys()) == [f"_compacted/dt=2026-11-23/hour=10/{staging.files()[1].name}.parquet"]
    assert tables(staging) == before
    assert {each: (staging.count(each), staging.sealed_at(each)) for each in before} == counts
    assert [staging.find(each.name) for each in before] == list(before)
    assert staging.micro_batches(HOUR, HOUR + timedelta(hours=1)) == sorted(before)
    assert staging.micro_batches(HOUR + timedelta(hours=1)) == []
    assert own_files(staging.local) == [waiting.name]
    for file in staging.files():
        staging.delete(file)
    assert tables(staging) == {}
    with pytest.raises(MissingMicroBatchError):
        staging.read(waiting)


@pytest.mark.parametrize("point", ["compaction_verified", "compaction_kept", "compaction_deleted:2"])
def test_in_a_bucket_killed_nothing_is_lost_and_nothing_doubled(s3: S3Server, tmp_path: Path, point: str) -> None:
    staging = uploaded(tmp_path)
    before = tables(staging)
    compact_to_death(tmp_path, point, URL)
    assert tables(staging) == before
    compact_all(staging)
    assert tables(staging) == before
    assert [file.compacted for file in staging.files()] == [True]


class WatchedBucket(ObjectStaging):
    """Somebody else looks at each step of the compaction."""

    def __init__(self, root: Path) -> None:
        super().__init__(LocalStaging(root), Bucket(URL))
        self.reader = ObjectStaging(LocalStaging(root), Bucket(URL))
        self.listed = self.reader.micro_batches()
        self.seen: list[dict[MicroBatch, pa.Table]] = []

    def keep(self, path: Path, name: CompactedName) -> None:
        super().keep(path, name)
        self.look()

    def delete(self, file: StagedFile) -> None:
        super().delete(file)
        self.look()

    def look(self) -> None:
        self.seen.append(tables(self.reader))
        self.seen.append({each: self.reader.read(each) for each in self.listed})  # as who listed them before


def test_in_a_bucket_readers_see_each_micro_batch_once_at_every_step(s3: S3Server, tmp_path: Path) -> None:
    before = tables(uploaded(tmp_path))
    staging = WatchedBucket(tmp_path)
    compact_all(staging)
    assert staging.seen == [before] * 8
