"""Brings sealed micro-batches from the disk into the bucket, and lets go of the local file once that is certain.

A thread of the collector's process, `staging-uploader`: never the collector's own, since a store that hangs must not
keep a message waiting for its acknowledgement. A sealed file is durable as it lies; what bounds the wait is the disk.
Several collectors may share a folder: one of them uploads, for all, and finds what earlier processes left.
"""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sensor_platform.errors import CollectorBusyError, DamagedMicroBatchError, StagingError
from sensor_platform.log import get_logger
from sensor_platform.staging.durable import make_folder, mapped
from sensor_platform.staging.format import MicroBatch
from sensor_platform.staging.kill_points import kill_point
from sensor_platform.staging.lock import FolderLock
from sensor_platform.staging.object_staging import MESSAGES, key_of
from sensor_platform.staging.object_store import Bucket, UploadDiffersError
from sensor_platform.staging.place import is_object_store, staging_root
from sensor_platform.staging.store import OPEN_FOLDER, LocalStaging

if TYPE_CHECKING:
    from sensor_platform.settings import Settings

LOOK_EVERY_S = 0.5
FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0
#: A stop gives the last files so long; what is left waits for the next start.
LAST_TURN_S = 5.0
LOCK_FOLDER = "_uploads"  # no collector can have that name


@dataclass(frozen=True, slots=True)
class Backlog:
    """Sealed micro-batches that wait for their upload, since when, and what stands in the way."""

    files: int = 0
    since: datetime | None = None
    error: str | None = None


class Uploader:
    """Uploads from `start` to `stop`. `backlog` may be read from any thread."""

    def __init__(self, local: LocalStaging, bucket: Bucket) -> None:
        self._local = local
        self._bucket = bucket
        self._lock = FolderLock(local.root / OPEN_FOLDER / LOCK_FOLDER)
        self._stop = threading.Event()
        self._stop_at_s = float("inf")
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="staging-uploader", daemon=True)
        self.backlog = Backlog()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """After a last turn, which does not wait for a store that is down."""
        self._stop_at_s = time.monotonic() + LAST_TURN_S
        self._stop.set()
        self._thread.join(timeout=LAST_TURN_S)

    def check(self) -> None:
        """Raises ObjectStoreError, with what to do, where the bucket cannot be listed."""
        self._bucket.check()

    def upload_waiting(self) -> int:
        """One turn: everything that is sealed now, oldest first; how many files it was.

        Raises:
            ObjectStoreError: the store is down or refuses us; all that is left waits.
            UploadDiffersError, OSError: of some file; all others are uploaded.
        """
        uploaded = 0
        failed: UploadDiffersError | OSError | None = None
        for micro_batch in self._look():
            if time.monotonic() > self._stop_at_s:
                break
            try:
                uploaded += self._upload(micro_batch)
            except (UploadDiffersError, OSError) as err:
                failed = err
        self._look()
        if failed is not None:
            raise failed
        return uploaded

    def _run(self) -> None:
        try:
            self._turn(self.check)  # what is wrong with the bucket is said before there is anything to upload
            while not self._stop.wait(self._pause_s()):
                self._turn(self._go_on)
            if not self._failures:
                self._turn(self.upload_waiting)
        finally:
            self._lock.release()

    def _go_on(self) -> None:
        if self._failures:  # with nothing to upload, nothing else would tell that it still fails
            self._look()
            self.check()
        self.upload_waiting()

    def _turn(self, step: Callable[[], object]) -> None:
        try:
            if self._is_ours():
                step()
                self._told(None)
        except (StagingError, OSError) as err:
            self._told(str(err))
        except Exception as err:  # noqa: BLE001  # the top of a thread: the files stay where they are
            get_logger().exception("uploader_failed")
            self._told(f"{type(err).__name__}: {err}")

    def _is_ours(self) -> bool:
        """Whether this process is the one that uploads."""
        try:
            with suppress(OSError):  # on a full disk two would only do the same work twice
                make_folder(self._local.root / OPEN_FOLDER / LOCK_FOLDER)
                self._lock.acquire()
        except CollectorBusyError:
            self.backlog = Backlog()
            return False
        return True

    def _look(self) -> list[MicroBatch]:
        found = [each for each in self._local.own_files() if not self._local.is_moving(each)]
        since = self._local.sealed_at(found[0]) if found else None
        self.backlog = Backlog(len(found), since, self.backlog.error)
        return found

    def _upload(self, micro_batch: MicroBatch) -> bool:
        """Whether it is there now, and the local file gone; False where that was gone already."""
        path = self._local.path(micro_batch)
        try:
            with mapped(path) as data:
                kill_point("before_upload")
                self._bucket.upload(key_of(micro_batch), data, self._attributes(micro_batch), source=path)
        except FileNotFoundError:
            return False
        kill_point("between_upload_and_unlink")
        # Not synced: a file that comes back after a power cut is found to be there, and goes again.
        self._local.delete_own(micro_batch)
        get_logger().debug("micro_batch_uploaded", micro_batch=micro_batch.name)
        return True

    def _attributes(self, micro_batch: MicroBatch) -> dict[str, str]:
        with suppress(DamagedMicroBatchError):  # uploaded as it is: the check of readings names it
            return {MESSAGES: str(self._local.count(micro_batch))}
        return {}

    def _told(self, error: str | None) -> None:
        before = self.backlog.error
        self.backlog = Backlog(self.backlog.files, self.backlog.since, error)
        self._failures = self._failures + 1 if error else 0
        if error and error != before:  # once, not at each attempt
            get_logger().error("cannot_upload", error=error, going_on="sealed micro-batches wait on the disk")
        elif before and not error:
            get_logger().info("uploads_go_on", micro_batches_waiting=self.backlog.files)

    def _pause_s(self) -> float:
        if not self._failures:
            return LOOK_EVERY_S
        step_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(self._failures - 1, 16))
        return step_s * random.uniform(0.5, 1.0)  # noqa: S311  # jitter, no secret


def open_uploader(settings: "Settings") -> Uploader | None:
    """The uploader of the settings, not started; None where the staging area is a local folder."""
    if settings.staging_url is None or not is_object_store(settings.staging_url):
        return None
    return Uploader(LocalStaging(staging_root(settings)), Bucket(settings.staging_url))
