"""Every advisory lock that we take, in one place: numbers must differ, and the order in which two are taken must not.

All are held to the end of the transaction, so a process that dies lets go of them.
"""

import sqlalchemy as sa

#: Whoever makes other readings of micro-batches that are loaded: backfill, retry; and whoever must not miss these.
#: Taken before LOAD.
CORRECTION = 0x53505F0008
#: Whoever changes readings, the ledger or dead letters: load, backfill, retry, discard.
LOAD = 0x53505F0001
#: Whoever writes rollups. Taken after LOAD, never before it.
ROLLUP = 0x53505F0002
#: Whoever changes tables.
MIGRATION = 0x53505F0003
#: Whoever adds a partition.
PARTITION = 0x53505F0004
#: Whoever changes the state of alerts.
ALERTS = 0x53505F0005
#: Whoever adds or removes subscriptions.
SUBSCRIPTIONS = 0x53505F0006
#: Whoever deletes staged files, or makes others of them.
STAGED_FILES = 0x53505F0007


def take(connection: sa.Connection, lock: int) -> None:
    """Waits for `lock`; what is read before this returns may be out of date."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
