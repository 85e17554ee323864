"""The file that is appended to: one record batch a group, one fdatasync before anybody is told that it is staged.

Not SQLite, not a log format of our own: any Arrow tool reads the sealed file.
"""

import io
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from sensor_platform.staging.durable import sync_folder, write_all
from sensor_platform.staging.format import SCHEMA, hour_of, received_us, stamp
from sensor_platform.staging.kill_points import kill_point

BUFFER_BYTES = 32 * 1024


class _Pieces(io.RawIOBase):
    """Collects what Arrow writes, so that a group goes to the disk in one call and nothing stays in a buffer."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]  # pyarrow hands out a buffer that it reuses
        self._pieces.append(piece)
        return len(piece)

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


class OpenFile:
    """An open micro-batch. After an OSError of any method it is abandoned: nothing is written to it again."""

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        self.path = path
        self.rows = 0
        self.size_bytes = 0
        self.hour: datetime | None = None
        self._opened_s = time.monotonic()
        self._pieces = _Pieces()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        # Arrow writes a batch in 33 pieces; without a buffer of its own each is a call of Python.
        self._buffer = pa.BufferedOutputStream(pa.PythonFile(self._pieces, mode="w"), BUFFER_BYTES)
        self._writer = pa.ipc.new_file(self._buffer, SCHEMA.with_metadata(dict(metadata)))

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._opened_s

    def write(self, batch: pa.RecordBatch, *, new_session: bool = False) -> None:
        """Hands the batch to the system; `sync` makes it durable."""
        self._writer.write_batch(batch, custom_metadata=stamp(batch, new_session=new_session))
        self._buffer.flush()
        data = self._pieces.take()
        kill_point("before_write")
        write_all(self._fd, data)
        kill_point("after_write")
        self.size_bytes += len(data)
        if self.hour is None:
            self.hour = hour_of(received_us(batch, 0))
        self.rows += batch.num_rows

    def sync(self, *, first: bool) -> None:
        """The first time the file's name must hold too, not only its bytes."""
        if first:
            os.fsync(self._fd)
            sync_folder(self.path.parent)
        else:
            os.fdatasync(self._fd)
        kill_point("after_sync")

    def finish(self) -> None:
        """Footer, fsync, close: the file is complete, under its old name."""
        self._writer.close()
        self._buffer.flush()
        write_all(self._fd, self._pieces.take())
        os.fsync(self._fd)
        self.abandon()

    def abandon(self) -> None:
        """Closes it as it is. What fsync refused once is never asked again: the kernel may have dropped the pages."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):
                os.close(fd)
