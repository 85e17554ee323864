"""Deletes staged micro-batches that are old enough, and says so in the ledger. What was made of them stays.

Only what the ledger has is deleted: a file that was never loaded, or is damaged, is kept whatever its age. Dead letters
hold nothing back, since they keep raw bytes of their own. The ledger says it first, so that a crash leaves a file too
many, which the next call takes, and never a reading whose bytes are gone without a word. A compacted file goes when all
of its micro-batches may.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.database.tables import ledger
from sensor_platform.log import get_logger
from sensor_platform.staging.format import StagedFile
from sensor_platform.staging.store import Staging

#: Micro-batches that are marked in one transaction, or those of one file: loads wait for it.
CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was deleted, or, of a dry run, what would be. `unprocessed`: as old, and kept, since nothing loaded them."""

    before: datetime | None
    dry_run: bool
    micro_batches: int = 0
    messages: int = 0
    unprocessed: int = 0


def prune(staging: Staging, database: Database, *, days: float, now: datetime, dry_run: bool = False) -> Pruned:
    """Deletes processed micro-batches of hours that ended `days` ago or earlier; with 0 days nothing.

    Raises:
        ObjectStoreError: the object store failed on the way; calling again goes on.
    """
    if not days:
        return Pruned(None, dry_run)
    before = (now - timedelta(days=days)).replace(minute=0, second=0, microsecond=0)
    micro_batches = messages = unprocessed = 0
    for chunk in _chunks(staging.files(None, before)):
        with database.begin() as connection:
            locks.take(connection, locks.STAGED_FILES)
            processed = _processed(database, _names(chunk))
            files = [file for file in chunk if all(each.name in processed for each in file.micro_batches)]
            gone = _names(files)
            if not dry_run:
                _mark(database, gone, now=now)
                for file in files:
                    staging.delete(file)
        micro_batches += len(gone)
        messages += sum(processed[name] for name in gone)
        unprocessed += len(_names(chunk) - processed.keys())
    pruned = Pruned(before, dry_run, micro_batches, messages, unprocessed)
    if micro_batches and not dry_run:
        get_logger().info("staging_pruned", before=before.isoformat(), micro_batches=micro_batches, messages=messages)
    return pruned


def bytes_deleted(database: Database, hours: tuple[datetime | None, datetime | None]) -> dict[str, datetime]:
    """When retention deleted them: the micro-batches received in [start, end) whose bytes are gone."""
    start, end = hours
    query = sa.select(ledger.c.name, ledger.c.bytes_deleted_at).where(ledger.c.bytes_deleted_at.is_not(None))
    if start is not None:
        query = query.where(ledger.c.hour >= start)
    if end is not None:
        query = query.where(ledger.c.hour < end)
    with database.connect() as connection:
        return {name: at for name, at in connection.execute(query).tuples() if at is not None}


def _chunks(found: Iterable[StagedFile]) -> Iterator[list[StagedFile]]:
    chunk: list[StagedFile] = []
    size = 0
    for file in found:
        if chunk and size + len(file.micro_batches) > CHUNK:
            yield chunk
            chunk, size = [], 0
        chunk.append(file)
        size += len(file.micro_batches)
    if chunk:
        yield chunk


def _names(files: Sequence[StagedFile]) -> set[str]:
    return {each.name for file in files for each in file.micro_batches}


def _processed(database: Database, names: set[str]) -> dict[str, int]:
    """Messages of each micro-batch that the ledger has."""
    query = sa.select(ledger.c.name, ledger.c.staged).where(_is_one_of(names))
    with database.connect() as connection:
        return dict(connection.execute(query).tuples().all())


def _is_one_of(names: set[str]) -> sa.ColumnElement[bool]:
    """One parameter: a compacted file may have more micro-batches than a statement has parameters."""
    return ledger.c.name == sa.any_(sa.literal(sorted(names), sa.ARRAY(sa.Text)))


def _mark(database: Database, names: set[str], *, now: datetime) -> None:
    """From now on the ledger says that their bytes are gone."""
    update = (
        sa.update(ledger)
        .where(_is_one_of(names))
        .values(bytes_deleted_at=sa.func.coalesce(ledger.c.bytes_deleted_at, now))
    )
    with database.begin() as connection:
        locks.take(connection, locks.LOAD)
        connection.execute(update)
