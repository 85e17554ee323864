"""A bucket, or a part of one, by its URL: the few requests that staging needs, and what their errors mean to people.

obstore rather than boto3: one wheel, conditional puts, and it lets go of the interpreter while it waits. Credentials,
region and endpoint are those of the usual AWS_* variables. The client is made by the first request: the library's
threads do not survive a fork, so nothing may be asked before a run has been forked.
"""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sensor_platform.errors import ObjectStoreError, StagingError
from sensor_platform.staging.random_access import RandomAccess

if TYPE_CHECKING:
    from obstore.store import ObjectStore

#: A micro-batch has 256 MB at most: at this time a link of 1 MB/s has brought it over.
REQUEST_TIMEOUT = timedelta(minutes=5)
CONNECT_TIMEOUT = timedelta(seconds=5)
#: Within one request. Who asks waits longer between attempts of its own.
RETRIES = 2
RETRY_TIMEOUT = timedelta(seconds=20)

LOOK_AT_CREDENTIALS = (
    "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they may list, read, write and delete there"
)


class UploadDiffersError(StagingError):
    """The bucket has other bytes under the name of a file of ours: neither is overwritten."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store says of an object."""

    size_bytes: int
    e_tag: str
    at: datetime
    attributes: dict[str, str]


class Bucket:
    """Objects below a URL such as s3://bucket/prefix. Every method may raise ObjectStoreError."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    @cached_property
    def _store(self) -> "ObjectStore":
        from obstore.store import S3Store

        return S3Store.from_url(
            self.url,
            # The default is TLS only; an endpoint that says http:// is asked without.
            client_options={
                "allow_http": self._endpoint.startswith("http://"),
                "connect_timeout": CONNECT_TIMEOUT,
                "timeout": REQUEST_TIMEOUT,
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": RETRY_TIMEOUT},
        )

    @property
    def _endpoint(self) -> str:
        names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
        return next((value for name in names if (value := os.environ.get(name))), "the endpoint of AWS")

    def check(self) -> None:
        """Asks for one page of names: whether the bucket is there, and lets us in."""
        next(self.keys(), None)

    def keys(self, *, after: str | None = None, below: str | None = None) -> Iterator[str]:
        """Names of objects, in their order, those after `after`; asked for page by page, as they are taken."""
        return (key for key, _ in self.sizes(after=after, below=below))

    def sizes(self, *, after: str | None = None, below: str | None = None) -> Iterator[tuple[str, int]]:
        """The same with the bytes of each. `below`: only those in that folder."""
        import obstore

        with self._telling("list"):
            for page in obstore.list(self._store, below, offset=after, chunk_size=1000):
                for found in page:
                    yield found["path"], found["size"]

    def put_new(self, key: str, data: memoryview, attributes: dict[str, str]) -> bool:
        """Writes an object unless there is one of that name; whether there was none."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._telling(f"write {key}"):
            try:
                # In one part: only that can be made conditional, and only then is the ETag an MD5.
                obstore.put(self._store, key, data, mode="create", use_multipart=False, attributes=attributes)
            except AlreadyExistsError:
                return False
        return True

    def upload(self, key: str, data: memoryview, attributes: dict[str, str], *, source: Path) -> None:
        """Writes an object and proves that it is there; one that is there already, with the same bytes, is ours.

        Raises:
            UploadDiffersError: there is one with other bytes; `source` is where ours lies.
        """
        self.put_new(key, data, attributes)
        # The store's own word on size and checksum, asked for anew: an answer of 200 to the write is not enough.
        stored = self.head(key)
        if stored is None:
            raise ObjectStoreError(f"{self.url}: {key} is not there though it was written. Is it the bucket?")
        if stored.size_bytes == len(data):
            if stored.e_tag == hashlib.md5(data, usedforsecurity=False).hexdigest():
                return
            # No MD5 where the store encrypts with a key of its own: then the bytes themselves.
            if self.get(key) == data:
                return
        raise UploadDiffersError(
            f"{self.url}/{key}: the object has other bytes than {source}. "
            "Nothing is overwritten: look at both, and move one of them away."
        )

    def open(self, key: str) -> "io.RawIOBase | None":
        """An object as a file of which only what is read is asked for; None when there is no such object."""
        stored = self.head(key)
        return None if stored is None else _Ranges(self, key, stored.size_bytes)

    def get_range(self, key: str, start: int, end: int) -> memoryview:
        """Bytes [start, end) of an object."""
        import obstore

        with self._telling(f"read {key}"):
            return memoryview(obstore.get_range(self._store, key, start=start, end=end))

    def head(self, key: str) -> Stored | None:
        """None when there is no such object."""
        import obstore

        with self._telling(f"look at {key}"):
            try:
                found = obstore.get(self._store, key, options={"head": True})
            except FileNotFoundError as err:
                self._not_the_bucket(err)
                return None
        meta = found.meta
        e_tag = (meta["e_tag"] or "").strip('"')
        attributes = {str(name): str(value) for name, value in found.attributes.items()}
        return Stored(meta["size"], e_tag, meta["last_modified"], attributes)

    def get(self, key: str) -> memoryview | None:
        """Its bytes; None when there is no such object."""
        import obstore

        with self._telling(f"read {key}"):
            try:
                return memoryview(obstore.get(self._store, key).bytes())
            except FileNotFoundError as err:
                self._not_the_bucket(err)
                return None

    def delete(self, key: str) -> None:
        """One that is gone already is no error."""
        import obstore

        with self._telling(f"delete {key}"):
            obstore.delete(self._store, key)

    def _not_the_bucket(self, err: FileNotFoundError) -> None:
        if "NoSuchBucket" in str(err):
            raise err

    @contextmanager
    def _telling(self, doing: str) -> Iterator[None]:
        """What obstore raises as an error of ours: what, where, what to do."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError, OSError, ValueError) as err:
            raise ObjectStoreError(f"{self.url}: cannot {doing}: {self._reason(err)}.") from err

    def _reason(self, err: Exception) -> str:
        from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

        text = str(err).partition("\n\nDebug source")[0]
        if "NoSuchBucket" in text:
            return "there is no such bucket. Make it, or correct STAGING_URL"
        if isinstance(err, PermissionDeniedError | UnauthenticatedError) or "403 Forbidden" in text:
            return f"the store refuses us ({_code(text)}). {LOOK_AT_CREDENTIALS}"
        if "169.254.169.254" in text or "credential" in text.lower():
            return f"no credentials were found. {LOOK_AT_CREDENTIALS}"
        if "HTTP error" in text or "error sending request" in text:
            return f"{self._endpoint} does not answer. Is AWS_ENDPOINT_URL right, and does it run"
        return text.splitlines()[0]


class _Ranges(RandomAccess):
    """An object, of which the store sends the bytes that are read."""

    def __init__(self, bucket: Bucket, key: str, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self._bucket, self._key = bucket, key

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size_bytes - self._place)
        wanted = left if size is None or size < 0 else min(size, left)
        if not wanted:
            return b""
        data = self._bucket.get_range(self._key, self._place, self._place + wanted)
        self._place += len(data)
        return bytes(data)


def _code(text: str) -> str:
    """The error code in S3's XML answer."""
    return text.partition("<Code>")[2].partition("</Code>")[0] or "403 Forbidden"
