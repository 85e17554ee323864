"""A staging area in an object store, and what of it still waits on this machine's disk to be uploaded.

Names are unique for ever and an upload is confirmed before the local file goes, so that a micro-batch is the same
wherever it is found. The disk is looked at first: whatever moves meanwhile is then found in the bucket.
"""

from collections.abc import Iterator
from datetime import datetime

import pyarrow as pa

from sensor_platform.errors import MissingMicroBatchError
from sensor_platform.staging.format import MicroBatch, folder_of
from sensor_platform.staging.object_store import Bucket
from sensor_platform.staging.read import count_messages, hour_of_folder, read_messages
from sensor_platform.staging.store import SUFFIX, LocalStaging

#: Attribute of an object: how many messages it has, so that counting needs no download.
MESSAGES = "messages"


def key_of(micro_batch: MicroBatch) -> str:
    """The object's name below the bucket's URL: the same as below a local folder."""
    return f"{folder_of(micro_batch.hour)}/{micro_batch.name}{SUFFIX}"


class ObjectStaging:
    """Reads a bucket together with the local folder that is uploaded to it. Raises ObjectStoreError."""

    def __init__(self, local: LocalStaging, bucket: Bucket) -> None:
        self.local = local
        self._bucket = bucket

    @property
    def where(self) -> str:
        return self._bucket.url

    def micro_batches(self, start: datetime | None = None, end: datetime | None = None) -> list[MicroBatch]:
        waiting = self.local.micro_batches(start, end)
        return sorted({*waiting, *self._uploaded(start, end)})

    def find(self, name: str) -> MicroBatch | None:
        found = (micro_batch for micro_batch in self._uploaded(None, None) if micro_batch.name == name)
        return self.local.find(name) or next(found, None)

    def read(self, micro_batch: MicroBatch) -> pa.Table:
        try:
            return self.local.read(micro_batch)
        except MissingMicroBatchError:
            source, where = self._download(micro_batch)
            return read_messages(source, where)

    def count(self, micro_batch: MicroBatch) -> int:
        try:
            return self.local.count(micro_batch)
        except MissingMicroBatchError:
            stored = self._bucket.head(key_of(micro_batch))
        if stored is not None and stored.attributes.get(MESSAGES, "").isdecimal():
            return int(stored.attributes[MESSAGES])
        source, where = self._download(micro_batch)
        return count_messages(source, where)

    def sealed_at(self, micro_batch: MicroBatch) -> datetime | None:
        at = self.local.sealed_at(micro_batch)
        if at is None and (stored := self._bucket.head(key_of(micro_batch))) is not None:
            at = stored.at
        return at

    def delete(self, micro_batch: MicroBatch) -> None:
        self.local.delete(micro_batch)  # first: otherwise it would be uploaded again
        self._bucket.delete(key_of(micro_batch))

    def open_messages(self) -> int:
        return self.local.open_messages()

    def _uploaded(self, start: datetime | None, end: datetime | None) -> Iterator[MicroBatch]:
        """Names are listed in order, and theirs is that of the hours: only those asked for are listed."""
        for key in self._bucket.keys(after=None if start is None else folder_of(start)):
            folder, _, file = key.rpartition("/")
            hour = hour_of_folder(folder)
            if hour is None or not file.endswith(SUFFIX):
                continue  # not ours
            if end is not None and hour >= end:
                return
            yield MicroBatch(hour, file.removesuffix(SUFFIX))

    def _download(self, micro_batch: MicroBatch) -> tuple[pa.NativeFile, str]:
        key = key_of(micro_batch)
        data = self._bucket.get(key)
        where = f"{self.where}/{key}"
        if data is None:
            raise MissingMicroBatchError(f"{where}: no such micro-batch. Was it moved or deleted by hand?")
        return pa.BufferReader(pa.py_buffer(data)), where
