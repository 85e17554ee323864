"""Contents of definitions, kept once each: by a digest in the table, and for a while in the memory of a process."""

import hashlib
import json

import sqlalchemy as sa

from sensor_platform.database.tables import definition_content
from sensor_platform.transformers.definitions import Content
from sensor_platform.transformers.remembered import Remembered, size_of

#: Contents that this process remembers; beyond it the one not asked for longest is read again.
REMEMBERED_BYTES = 64 * 1024 * 1024

remembered: Remembered[bytes, Content] = Remembered(REMEMBERED_BYTES)


def digest_of(content: Content) -> bytes:
    """SHA-256 of the content in canonical form."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).digest()


def contents_of(connection: sa.Connection, digests: set[bytes]) -> dict[bytes, Content]:
    """Each content by its digest, from memory or from the table."""
    found = {digest: known for digest in digests if (known := remembered.get(digest)) is not None}
    missing = sorted(digests - found.keys())
    if missing:
        query = sa.select(definition_content.c.digest, definition_content.c.content)
        for digest, content in connection.execute(query.where(definition_content.c.digest.in_(missing))).tuples():
            found[bytes(digest)] = content
            remembered.put(bytes(digest), content, size_of(content))
    return found
