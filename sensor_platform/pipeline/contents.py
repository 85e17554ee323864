"""Contents of definitions, kept once each: by a digest in the table, and for a while in the memory of a process."""

import hashlib
import json
from collections import OrderedDict
from threading import Lock

import sqlalchemy as sa

from sensor_platform.database.tables import definition_content
from sensor_platform.transformers.definitions import Content

#: Contents that this process remembers; beyond it the one not asked for longest is read again.
REMEMBERED_CONTENTS = 2_000


def digest_of(content: Content) -> bytes:
    """SHA-256 of the content in canonical form."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).digest()


_remembered: OrderedDict[bytes, Content] = OrderedDict()
_lock = Lock()  # guards `_remembered`: several threads of one process may load


def contents_of(connection: sa.Connection, digests: set[bytes]) -> dict[bytes, Content]:
    """Each content by its digest, from memory or from the table."""
    with _lock:
        found = {digest: _remembered[digest] for digest in digests if digest in _remembered}
    missing = sorted(digests - found.keys())
    if missing:
        query = sa.select(definition_content.c.digest, definition_content.c.content)
        rows = connection.execute(query.where(definition_content.c.digest.in_(missing)))
        found |= {bytes(digest): content for digest, content in rows.tuples()}
    with _lock:
        for digest, content in found.items():
            _remembered[digest] = content
            _remembered.move_to_end(digest)
        while len(_remembered) > REMEMBERED_CONTENTS:
            _remembered.popitem(last=False)
    return found


def forget() -> None:
    """What a process remembers is gone."""
    with _lock:
        _remembered.clear()
