"""The collector's side of the staging area: one open micro-batch, sealed by size, by age and at the hour.

Everything is called by the collector's one thread. An error of the disk closes the open file for good and is told as
StagingUnavailableError; `recover` then begins as a new process would.
"""

from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from sensor_platform.errors import StagingUnavailableError
from sensor_platform.log import get_logger
from sensor_platform.staging.clock import ReceivedClock
from sensor_platform.staging.durable import make_folder, move_without_replacing
from sensor_platform.staging.format import Group, file_name, folder_of, hour_of, to_batch
from sensor_platform.staging.lock import FolderLock
from sensor_platform.staging.open_file import OpenFile
from sensor_platform.staging.recover import Window, file_metadata, recover
from sensor_platform.staging.state import new_state, write_state
from sensor_platform.staging.store import OPEN_FOLDER, SUFFIX

#: Recovery reads an open file into memory, so its size is bounded whatever the payloads are.
GREATEST_FILE_BYTES = 256 * 1024 * 1024


class StagingWriter:
    """Appends groups durably. `with` holds the lock of its folder; `recover` comes first, and after each error."""

    def __init__(
        self, root: Path, *, window: Window, collector: str = "c0", max_messages: int = 100_000, max_age_s: float = 2.0
    ) -> None:
        self.root = root
        self.collector = collector
        self.folder = root / OPEN_FOLDER / collector
        self._window = window
        self._max_messages = max_messages
        self._max_age_s = max_age_s
        self._lock = FolderLock(self.folder)
        self._state = new_state()
        self._clock = ReceivedClock()
        self._open: OpenFile | None = None
        self.is_ready = False

    def __enter__(self) -> Self:
        try:
            make_folder(self.folder)
            self._lock.acquire()
        except OSError as err:
            raise _unavailable(self.folder, err) from err
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._abandon()
        self._lock.release()

    @property
    def incarnation(self) -> str:
        return self._state.incarnation

    @property
    def open_messages(self) -> int:
        """Messages in the open micro-batch."""
        return self._open.rows if self._open else 0

    @property
    def clock(self) -> ReceivedClock:
        """Stamps the messages; to be read only."""
        return self._clock

    def recover(self) -> None:
        """Seals what a former process, or a full disk, left behind. Raises StagingUnavailableError."""
        self._abandon()
        try:
            self._state = recover(self.folder, self.root, self._window)
        except OSError as err:
            raise _unavailable(self.folder, err) from err
        self._clock = ReceivedClock(after_us=max(self._state.received_at_us, self._clock.last_us))
        self.is_ready = True

    def stage(self, group: Group) -> int:
        """Makes the group durable and returns how many of it repeat an earlier message.

        Raises:
            StagingUnavailableError: it is not staged; call `recover` before the next group.
        """
        received_at_us = self._clock.take(len(group))
        if self._open and self._open.hour != hour_of(received_at_us):
            self.seal()  # before the window learns of this group: its snapshot must not name what is on no disk
        first = self._state.next_sequence
        repeats = self._window.mark(group, first_sequence=first)
        if repeats:
            group = replace(group, redelivery_of=repeats)
        batch = to_batch(group, first_sequence=first, received_at_us=received_at_us)
        try:
            is_first = self._open is None
            self._open = self._open or self._new_file()
            self._open.write(batch, new_session=group.new_session)
            self._open.sync(first=is_first)
        except OSError as err:
            self._abandon()
            raise _unavailable(self.folder, err) from err
        last_us = received_at_us + len(group) - 1
        self._state = replace(self._state, next_sequence=first + len(group), received_at_us=last_us)
        return len(repeats) - repeats.count(None) if repeats else 0

    @property
    def due_in_s(self) -> float | None:
        """Seconds until the open micro-batch is to be sealed; 0 when it is due, None when there is none."""
        if self._open is None:
            return None
        if self._open.rows >= self._max_messages or self._open.size_bytes >= GREATEST_FILE_BYTES:
            return 0.0
        return max(0.0, self._max_age_s - self._open.age_s)

    def seal(self) -> None:
        """Closes the open micro-batch and moves it into the staging area. Raises StagingUnavailableError."""
        if self._open is None:
            return
        file = self._open
        assert file.hour is not None
        try:
            self.keep_state()
            file.finish()
            move_without_replacing(file.path, self.root / folder_of(file.hour) / file.path.name)
        except OSError as err:
            self._abandon()
            raise _unavailable(self.folder, err) from err
        self._open = None
        get_logger().debug("micro_batch_sealed", micro_batch=file.path.stem, messages=file.rows, bytes=file.size_bytes)

    def keep_state(self) -> None:
        """Counters and redelivery window, synced."""
        self._state = replace(self._state, window=self._window.snapshot())
        write_state(self.folder, self._state)

    def begin_session(self) -> None:
        """The broker has no session any more: the window forgets it too, on the disk as well."""
        self.seal()
        self._window.forget()
        try:
            self.keep_state()
        except OSError as err:
            self._abandon()
            raise _unavailable(self.folder, err) from err

    def _new_file(self) -> OpenFile:
        number = self._state.next_number
        name = file_name(self.collector, self._state.incarnation, number)
        metadata = file_metadata(name, reuses_ids_early=self._window.reuses_ids_early)
        self._state = replace(self._state, next_number=number + 1)
        return OpenFile(self.folder / f"{name}{SUFFIX}", metadata)

    def _abandon(self) -> None:
        self.is_ready = False
        if self._open is not None:
            self._open.abandon()
            self._open = None


def _unavailable(folder: Path, err: OSError) -> StagingUnavailableError:
    return StagingUnavailableError(
        f"{folder}: cannot stage: {err.strerror or err}. Messages stay with the broker; free space or mend the disk."
    )
