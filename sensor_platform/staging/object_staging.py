"""A staging area in an object store, and what of it still waits on this machine's disk to be uploaded.

Names are unique for ever and an upload is confirmed before the local file goes, so that a micro-batch is the same
wherever it is found. The disk is looked at first: whatever moves meanwhile is then found in the bucket.
"""

from collections.abc import Container, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa

from sensor_platform.errors import MissingMicroBatchError
from sensor_platform.staging.compacted_area import (
    COMPACTED_FOLDER,
    COMPACTED_SUFFIX,
    CompactedArea,
    CompactedName,
    Hours,
)
from sensor_platform.staging.durable import mapped
from sensor_platform.staging.format import EPOCH, MicroBatch, StagedFile, folder_of
from sensor_platform.staging.object_store import Bucket
from sensor_platform.staging.read import Sealed, count_messages, hour_of_folder, read_messages, read_sealed
from sensor_platform.staging.store import SUFFIX, LocalStaging, in_order

#: Attribute of an object: how many messages it has, so that counting needs no download.
MESSAGES = "messages"


def key_of(micro_batch: MicroBatch) -> str:
    """The object's name below the bucket's URL: the same as below a local folder."""
    return f"{folder_of(micro_batch.hour)}/{micro_batch.name}{SUFFIX}"


class ObjectStaging:
    """Reads a bucket together with the local folder that is uploaded to it. Raises ObjectStoreError."""

    def __init__(self, local: LocalStaging, bucket: Bucket) -> None:
        self.local = local
        self.compacted = CompactedArea(bucket.url, self._compacted_files, self._open_compacted)
        self._bucket = bucket

    @property
    def where(self) -> str:
        return self._bucket.url

    def micro_batches(
        self, start: datetime | None = None, end: datetime | None = None, *, but: Container[CompactedName] = ()
    ) -> list[MicroBatch]:
        # In the order in which they move: disk, bucket, compacted.
        waiting = self.local.micro_batches(start, end, but=but)
        uploaded = {micro_batch for micro_batch, _ in self._uploaded(start, end)}
        return in_order({*waiting, *uploaded, *self.compacted.micro_batches(start, end, but=but)})

    def find(self, name: str) -> MicroBatch | None:
        found = (micro_batch for micro_batch, _ in self._uploaded(None, None) if micro_batch.name == name)
        return self.local.find(name) or next(found, None) or self.compacted.find(name)

    def read(self, micro_batch: MicroBatch) -> pa.Table:
        try:
            return self.local.read(micro_batch)
        except MissingMicroBatchError:
            pass
        try:
            source, where = self._download(micro_batch)
        except MissingMicroBatchError:
            messages = self.compacted.read(micro_batch)
            if messages is None:
                raise
            return messages
        return read_messages(source, where)

    def read_sealed(self, micro_batch: MicroBatch) -> Sealed:
        source, where = self._download(micro_batch)
        return read_sealed(source, where)

    def count(self, micro_batch: MicroBatch) -> int:
        try:
            return self.local.count(micro_batch)
        except MissingMicroBatchError:
            stored = self._bucket.head(key_of(micro_batch))
        if stored is None and (entry := self.compacted.entry(micro_batch)) is not None:
            return entry.rows
        if stored is not None and stored.attributes.get(MESSAGES, "").isdecimal():
            return int(stored.attributes[MESSAGES])
        source, where = self._download(micro_batch)
        return count_messages(source, where)

    def sealed_at(self, micro_batch: MicroBatch) -> datetime | None:
        at = self.local.sealed_at(micro_batch)
        if at is None and (stored := self._bucket.head(key_of(micro_batch))) is not None:
            at = stored.at
        if at is None and (entry := self.compacted.entry(micro_batch)) is not None:
            at = EPOCH + timedelta(microseconds=entry.sealed_at_us)
        return at

    def files(
        self, start: datetime | None = None, end: datetime | None = None, *, compacted: bool = True
    ) -> list[StagedFile]:
        local = [replace(file, waits=True) for file in self.local.files(start, end, compacted=compacted)]
        names = {file.name for file in local}
        own = [
            StagedFile(each.hour, each.name, (each,), size_bytes)
            for each, size_bytes in self._uploaded(start, end)
            if each.name not in names
        ]
        inside = [
            StagedFile(each.hour, each.name, self._inside(each), size_bytes, compacted=True)
            for each, size_bytes in (self.compacted_sizes(start, end) if compacted else ())
        ]
        files = [*local, *own, *inside]
        return sorted(files, key=lambda file: (file.compacted, file.hour, file.name))

    def compacted_sizes(
        self, start: datetime | None = None, end: datetime | None = None
    ) -> list[tuple[CompactedName, int]]:
        return [
            (CompactedName(hour, file.removesuffix(COMPACTED_SUFFIX)), size_bytes)
            for hour, file, size_bytes in self._listed((start, end), below=COMPACTED_FOLDER)
            if file.endswith(COMPACTED_SUFFIX)
        ]

    def delete(self, file: StagedFile) -> None:
        self.local.delete(file)  # first: otherwise it would be uploaded again
        if file.compacted:
            self._bucket.delete(CompactedName(file.hour, file.name).key)
        else:
            self._bucket.delete(key_of(file.micro_batches[0]))

    def scratch(self) -> Path:
        return self.local.scratch()

    def keep(self, path: Path, name: CompactedName) -> None:
        with mapped(path) as data:
            self._bucket.upload(name.key, data, {}, source=path)
        path.unlink()

    def open_messages(self) -> int:
        return self.local.open_messages()

    def _uploaded(self, start: datetime | None, end: datetime | None) -> Iterator[tuple[MicroBatch, int]]:
        """Micro-batches with files of their own, and the bytes of those."""
        for hour, file, size_bytes in self._listed((start, end)):
            if file.endswith(SUFFIX):
                yield MicroBatch(hour, file.removesuffix(SUFFIX)), size_bytes

    def _compacted_files(self, hours: Hours) -> list[CompactedName]:
        return [name for name, _ in self.compacted_sizes(*hours)]

    def _listed(self, hours: Hours, *, below: str | None = None) -> Iterator[tuple[datetime, str, int]]:
        """Names are listed in order, and theirs is that of the hours: only those asked for are listed."""
        start, end = hours
        root = "" if below is None else f"{below}/"
        # "dt": what lies before the hours is not ours to list.
        after = root + ("dt" if start is None else folder_of(start))
        for key, size_bytes in self._bucket.sizes(after=after, below=below):
            folder, _, file = key.removeprefix(root).rpartition("/")
            hour = hour_of_folder(folder)
            if hour is None:
                continue  # not ours
            if end is not None and hour >= end:
                return
            yield hour, file, size_bytes

    def _inside(self, file: CompactedName) -> tuple[MicroBatch, ...]:
        return tuple(MicroBatch(file.hour, name) for name in self.compacted.names(file))

    def _open_compacted(self, file: CompactedName) -> pa.NativeFile | None:
        opened = self._bucket.open(file.key)
        return None if opened is None else pa.PythonFile(opened, mode="r")

    def _download(self, micro_batch: MicroBatch) -> tuple[pa.NativeFile, str]:
        key = key_of(micro_batch)
        data = self._bucket.get(key)
        where = f"{self.where}/{key}"
        if data is None:
            raise MissingMicroBatchError(f"{where}: no such micro-batch. Was it moved or deleted by hand?")
        return pa.BufferReader(pa.py_buffer(data)), where
