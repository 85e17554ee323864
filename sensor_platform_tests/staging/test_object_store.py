"""Micro-batches in a bucket: the same names and the same bytes, confirmed before the local file goes. Against moto."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sensor_platform.errors import DamagedMicroBatchError, MissingMicroBatchError, ObjectStoreError
from sensor_platform.settings import Settings
from sensor_platform.staging.format import MicroBatch, folder_of
from sensor_platform.staging.object_staging import ObjectStaging, key_of
from sensor_platform.staging.object_store import Bucket, Stored, UploadDiffersError
from sensor_platform.staging.place import open_staging
from sensor_platform.staging.store import LocalStaging
from sensor_platform.staging.uploader import Backlog, Uploader
from sensor_platform_tests.staging.groups import group, writer
from sensor_platform_tests.staging.s3_server import URL, S3Server

HOUR = datetime(2026, 11, 23, 10, tzinfo=UTC)


def stage(root: Path, *payloads: bytes) -> list[MicroBatch]:
    """A sealed micro-batch for each payload."""
    with writer(root) as staging:
        staging.recover()
        for payload in payloads:
            staging.stage(group(payload))
            staging.seal()
    return LocalStaging(root).micro_batches()


def uploader(root: Path, bucket: Bucket | None = None) -> Uploader:
    return Uploader(LocalStaging(root), bucket or Bucket(URL))


def area(root: Path) -> ObjectStaging:
    return ObjectStaging(LocalStaging(root), Bucket(URL))


def payloads(staging: ObjectStaging) -> list[bytes]:
    return [payload for each in staging.micro_batches() for payload in staging.read(each)["payload"].to_pylist()]


def test_what_is_sealed_is_found_and_read_the_same_before_and_after_its_upload(s3: S3Server, tmp_path: Path) -> None:
    staged = stage(tmp_path, b"1", b"2", b"3")
    staging = area(tmp_path)
    before = [staging.read(each) for each in staged]
    assert staging.micro_batches() == staged
    assert uploader(tmp_path).upload_waiting() == 3
    assert LocalStaging(tmp_path).micro_batches() == []
    assert staging.micro_batches() == staged
    assert [staging.read(each) for each in staged] == before
    assert [staging.count(each) for each in staged] == [1, 1, 1]
    assert staging.find(staged[1].name) == staged[1]
    sealed_at = staging.sealed_at(staged[0])
    assert sealed_at is not None
    assert abs(sealed_at - datetime.now(UTC)) < timedelta(minutes=5)
    assert list(Bucket(URL).keys()) == [f"{folder_of(each.hour)}/{each.name}.arrow" for each in staged]


def test_the_settings_name_the_bucket(s3: S3Server, tmp_path: Path) -> None:
    staged = stage(tmp_path / "staging", b"1", b"2")
    uploader(tmp_path / "staging").upload_waiting()
    staging = open_staging(Settings(home=tmp_path, staging_url=URL))
    assert staging.where == URL
    assert staging.micro_batches() == staged


def test_what_waits_and_what_is_open_is_part_of_the_area(s3: S3Server, tmp_path: Path) -> None:
    stage(tmp_path, b"uploaded")
    uploader(tmp_path).upload_waiting()
    with writer(tmp_path) as staging:
        staging.recover()
        staging.stage(group(b"waits"))
        staging.seal()
        staging.stage(group(b"open"))
        assert payloads(area(tmp_path)) == [b"uploaded", b"waits"]
        assert area(tmp_path).open_messages() == 1


@pytest.mark.slow
def test_only_the_hours_asked_for_are_listed_and_many_pages_are_whole(s3: S3Server, tmp_path: Path) -> None:
    """More than the thousand names that S3 gives in one answer."""
    bucket = Bucket(URL)
    wanted = [MicroBatch(HOUR + timedelta(hours=n % 3), f"c0-0000-{n:08d}") for n in range(1050)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda each: bucket.put_new(key_of(each), memoryview(b"x"), {}), wanted))
    bucket.put_new("dt=no-day/hour=10/a.arrow", memoryview(b"x"), {})
    bucket.put_new("notes.txt", memoryview(b"x"), {})
    listed: list[str] = []

    class Watched(Bucket):
        def sizes(self, *, after: str | None = None, below: str | None = None):  # type: ignore[no-untyped-def]
            for key, size_bytes in super().sizes(after=after, below=below):
                listed.append(key)
                yield key, size_bytes

    staging = ObjectStaging(LocalStaging(tmp_path), Watched(URL))
    assert staging.micro_batches() == sorted(wanted)
    listed.clear()
    assert staging.micro_batches(HOUR + timedelta(hours=1), HOUR + timedelta(hours=2)) == sorted(wanted)[350:700]
    assert len(listed) == 351


def test_a_crash_between_upload_and_unlink_uploads_nothing_twice(s3: S3Server, tmp_path: Path) -> None:
    (only,) = stage(tmp_path, b"1")
    path = LocalStaging(tmp_path).path(only)
    data = path.read_bytes()
    uploader(tmp_path).upload_waiting()
    before = Bucket(URL).head(key_of(only))
    path.parent.mkdir(parents=True)
    path.write_bytes(data)  # the unlink was lost
    assert uploader(tmp_path).upload_waiting() == 1
    assert not path.exists()
    assert Bucket(URL).head(key_of(only)) == before
    assert payloads(area(tmp_path)) == [b"1"]


def test_other_bytes_under_the_name_are_not_overwritten_and_hold_nothing_up(s3: S3Server, tmp_path: Path) -> None:
    first, second = stage(tmp_path, b"1", b"2")
    Bucket(URL).put_new(key_of(first), memoryview(b"not ours"), {})
    one = uploader(tmp_path)
    with pytest.raises(UploadDiffersError, match=f"{key_of(first)}: the object has other bytes"):
        one.upload_waiting()
    assert Bucket(URL).get(key_of(first)) == b"not ours"
    assert LocalStaging(tmp_path).micro_batches() == [first]
    assert Bucket(URL).head(key_of(second)) is not None
    assert one.backlog.files == 1


def test_a_file_that_cannot_be_read_or_is_empty_holds_nothing_up(s3: S3Server, tmp_path: Path) -> None:
    first, second, third = stage(tmp_path, b"1", b"2", b"3")
    local = LocalStaging(tmp_path)
    local.path(first).unlink()
    local.path(first).mkdir()
    local.path(second).write_bytes(b"")
    with pytest.raises(IsADirectoryError):
        uploader(tmp_path).upload_waiting()
    assert local.micro_batches() == [first]
    assert list(Bucket(URL).keys()) == [key_of(second), key_of(third)]
    with pytest.raises(DamagedMicroBatchError):
        area(tmp_path).read(second)


class Lying(Bucket):
    """A store whose answer to a write is not what it keeps."""

    def __init__(self, *, keeps: bytes | None = None, e_tag: str = "") -> None:
        super().__init__(URL)
        self._keeps, self._e_tag = keeps, e_tag

    def put_new(self, key: str, data: memoryview, attributes: dict[str, str]) -> bool:
        return super().put_new(key, data if self._keeps is None else memoryview(self._keeps), attributes)

    def head(self, key: str) -> Stored | None:
        found = super().head(key)
        return replace(found, e_tag=self._e_tag) if found and self._e_tag else found


def test_an_answer_of_200_is_not_enough_to_let_go_of_the_file(s3: S3Server, tmp_path: Path) -> None:
    (only,) = stage(tmp_path, b"1")
    size = LocalStaging(tmp_path).path(only).stat().st_size
    with pytest.raises(UploadDiffersError):
        uploader(tmp_path, Lying(keeps=bytes(size))).upload_waiting()
    assert LocalStaging(tmp_path).micro_batches() == [only]


def test_where_the_etag_is_no_md5_the_bytes_are_compared(s3: S3Server, tmp_path: Path) -> None:
    stage(tmp_path, b"1")
    assert uploader(tmp_path, Lying(e_tag="0" * 32)).upload_waiting() == 1
    assert payloads(area(tmp_path)) == [b"1"]


def test_a_file_that_the_collector_is_still_moving_waits(s3: S3Server, tmp_path: Path) -> None:
    (only,) = stage(tmp_path, b"1")
    path = LocalStaging(tmp_path).path(only)
    still_open = tmp_path / "_open" / "c0" / path.name
    os.link(path, still_open)  # as after a kill between the two names
    assert uploader(tmp_path).upload_waiting() == 0
    still_open.unlink()
    assert uploader(tmp_path).upload_waiting() == 1


def test_a_damaged_object_says_which(s3: S3Server, tmp_path: Path) -> None:
    (only,) = stage(tmp_path, b"payload-one")
    data = bytearray(LocalStaging(tmp_path).path(only).read_bytes())
    data[data.find(b"payload-one")] ^= 1
    LocalStaging(tmp_path).delete_own(only)
    Bucket(URL).put_new(key_of(only), memoryview(data), {})
    with pytest.raises(DamagedMicroBatchError, match=f"{URL}/{key_of(only)}: record batch 0 does not match its crc"):
        area(tmp_path).read(only)
    Bucket(URL).delete(key_of(only))
    with pytest.raises(MissingMicroBatchError, match=f"{URL}/{key_of(only)}: no such micro-batch"):
        area(tmp_path).read(only)
    Bucket(URL).put_new(key_of(only), memoryview(data[:100]), {})
    with pytest.raises(DamagedMicroBatchError):
        area(tmp_path).count(only)


def test_deleting_takes_it_from_the_disk_and_from_the_bucket(s3: S3Server, tmp_path: Path) -> None:
    stage(tmp_path, b"1")
    uploader(tmp_path).upload_waiting()
    stage(tmp_path, b"2")
    staging = area(tmp_path)
    for each in staging.files():
        staging.delete(each)
        staging.delete(each)
    assert staging.micro_batches() == []
    assert list(tmp_path.glob("dt=*")) == []


@pytest.mark.parametrize(
    ("url", "endpoint", "said"),
    [
        ("s3://nowhere/staging", None, "s3://nowhere/staging: cannot list: there is no such bucket. Make it"),
        (URL, "http://127.0.0.1:1", f"{URL}: cannot list: http://127.0.0.1:1 does not answer. Is AWS_ENDPOINT_URL"),
    ],
)
def test_a_wrong_bucket_or_endpoint_is_said(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, url: str, endpoint: str | None, said: str
) -> None:
    if endpoint is not None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(ObjectStoreError) as caught:
        Bucket(url).check()
    assert str(caught.value).startswith(said)
    with pytest.raises(ObjectStoreError):
        Bucket(url).get("x")
    assert ObjectStoreError.retryable


def test_credentials_that_are_refused_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with S3Server(INITIAL_NO_AUTH_ACTION_COUNT="1") as strict:  # the making of the bucket is that one
        for name, value in strict.environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ObjectStoreError) as caught:
            Bucket(URL).check()
    assert "the store refuses us (InvalidAccessKeyId). Check AWS_ACCESS_KEY_ID" in str(caught.value)
    assert "not-a-secret" not in str(caught.value)


FORKED = """
import os
import sys
from pathlib import Path
from sensor_platform.staging.object_staging import ObjectStaging
from sensor_platform.staging.object_store import Bucket
from sensor_platform.staging.store import LocalStaging
import obstore

staging = ObjectStaging(LocalStaging(Path(sys.argv[1])), Bucket(sys.argv[2]))
child = os.fork()
if child == 0:
    print(len(staging.micro_batches()), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(len(staging.micro_batches()))
"""


def test_a_forked_run_makes_a_client_of_its_own(s3: S3Server, tmp_path: Path) -> None:
    """Runs are forked from a process that has everything imported and the area already named."""
    stage(tmp_path, b"1")
    uploader(tmp_path).upload_waiting()
    command = [sys.executable, "-c", FORKED, str(tmp_path), URL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["1", "1"]


def test_one_uploader_a_folder(s3: S3Server, tmp_path: Path) -> None:
    """Two collectors on one machine: the second one's thread leaves the work to the first."""
    first, second = uploader(tmp_path), uploader(tmp_path)
    assert first._is_ours()
    assert not second._is_ours()
    assert second.backlog == Backlog()
    first._lock.release()
    assert second._is_ours()
    second._lock.release()
