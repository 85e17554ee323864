"""The staging area as its readers see it: sealed micro-batches by received hour, each read checked against its crc."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from sensor_platform.errors import DamagedMicroBatchError, StagingError
from sensor_platform.staging.format import SCHEMA, MicroBatch, folder_of, is_whole
from sensor_platform.staging.torn import count_rows

if TYPE_CHECKING:
    from sensor_platform.settings import Settings

#: Folder of what is not sealed: open files, locks, counters. Arrow datasets skip names that begin with "_".
OPEN_FOLDER = "_open"
SUFFIX = ".arrow"


class LocalStaging:
    """A staging area on a local disk. Reads only; the collector's writer is in `staging.writer`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def micro_batches(self, start: datetime | None = None, end: datetime | None = None) -> list[MicroBatch]:
        """Sealed micro-batches received in [start, end), oldest hour first, then by name."""
        found = [
            MicroBatch(hour, file.stem)
            for hour, folder in self._hours()
            if (start is None or hour >= start) and (end is None or hour < end)
            for file in folder.glob(f"*{SUFFIX}")
        ]
        return sorted(found)

    def path(self, micro_batch: MicroBatch) -> Path:
        return self.root / folder_of(micro_batch.hour) / f"{micro_batch.name}{SUFFIX}"

    def find(self, name: str) -> MicroBatch | None:
        """The sealed micro-batch of that name."""
        hours = (hour for hour, folder in self._hours() if (folder / f"{name}{SUFFIX}").exists())
        hour = next(hours, None)
        return None if hour is None else MicroBatch(hour, name)

    def read(self, micro_batch: MicroBatch) -> pa.Table:
        """Every message of it, in received order.

        Raises:
            DamagedMicroBatchError: its bytes are not those that were written.
            StagingError: there is no such file.
        """
        batches = []
        with self._reader(micro_batch) as reader:
            for place in range(reader.num_record_batches):
                batch, metadata = _batch(reader, place, self.path(micro_batch))
                if not is_whole(batch, metadata):
                    raise _damaged(self.path(micro_batch), f"record batch {place} does not match its crc")
                batches.append(batch)
        return pa.Table.from_batches(batches, schema=SCHEMA)

    def count(self, micro_batch: MicroBatch) -> int:
        """Messages in it."""
        with self._reader(micro_batch) as reader:
            path = self.path(micro_batch)
            return sum(_batch(reader, place, path)[0].num_rows for place in range(reader.num_record_batches))

    def open_messages(self) -> int:
        """Messages in files that are not sealed yet. Looks only: their collector may be writing."""
        return sum(count_rows(file) for file in self.root.glob(f"{OPEN_FOLDER}/*/*{SUFFIX}"))

    def _hours(self) -> Iterator[tuple[datetime, Path]]:
        for folder in self.root.glob("dt=*/hour=*"):
            try:
                at = datetime.strptime(f"{folder.parent.name} {folder.name} +0000", "dt=%Y-%m-%d hour=%H %z")
            except ValueError:
                continue  # not ours
            yield at.astimezone(UTC), folder

    def _reader(self, micro_batch: MicroBatch) -> pa.ipc.RecordBatchFileReader:
        path = self.path(micro_batch)
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
        except FileNotFoundError as err:
            raise StagingError(f"{path}: no such micro-batch. Was it moved or deleted by hand?") from err
        except (pa.ArrowException, OSError) as err:
            raise _damaged(path, str(err)) from err
        if reader.schema.remove_metadata() != SCHEMA:
            raise _damaged(path, "its columns are not those of a micro-batch")
        return reader


def open_staging(settings: "Settings") -> LocalStaging:
    """The staging area of the settings; a `staging` folder in the home when they name none."""
    return LocalStaging(staging_root(settings))


def staging_root(settings: "Settings") -> Path:
    if settings.staging_url is None:
        return settings.home / "staging"
    return Path(unquote(urlsplit(settings.staging_url).path))


def _batch(
    reader: pa.ipc.RecordBatchFileReader, place: int, path: Path
) -> tuple[pa.RecordBatch, dict[bytes, bytes] | None]:
    try:
        got = reader.get_batch_with_custom_metadata(place)
    except (pa.ArrowException, OSError) as err:
        raise _damaged(path, f"record batch {place}: {err}") from err
    return got.batch, got.custom_metadata


def _damaged(path: Path, why: str) -> DamagedMicroBatchError:
    return DamagedMicroBatchError(f"{path}: {why}. Restore the file from a copy, or move it away to go on without it.")
