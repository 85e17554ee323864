"""What the platform measures of itself, as rows over time: what alerts judge, and what pages draw.

Every figure is taken from what is durable (heartbeats, ledger, dead letters, files), never from a process's own memory:
whoever measures, whenever, finds the same, and a restart forgets nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sensor_platform.database.tables import (
    collector_control,
    collector_heartbeat,
    dead_letter,
    health,
    ledger,
    registry_change,
    sensor,
    sparkplug_node,
)
from sensor_platform.errors import ObjectStoreError, StagingUnavailableError

if TYPE_CHECKING:
    from sensor_platform.database.engine import Database
    from sensor_platform.staging.store import Staging

PLATFORM = "platform"
RATE_WINDOW = timedelta(minutes=1)
#: Heartbeats come every few seconds: over less than this, a rate would show their rhythm.
RATE_AT_LEAST = timedelta(seconds=10)
ERROR_WINDOW = timedelta(minutes=5)
#: A bad link loses messages now and then: in less time than this it would look well in between.
GAPS_WINDOW = timedelta(hours=1)
#: Rows older than this are deleted by `record`.
KEEP = timedelta(days=14)
#: Dead letters that a retry will still look at.
WAITING = ("pending", "retrying")

MESSAGE_RATE = "message_rate"
MESSAGES_TOTAL = "messages_total"
ERROR_RATE = "error_rate_percent"
DEAD_LETTERS_PENDING = "dead_letters_pending"
COLLECTOR_AGE = "collector_age_s"
CANNOT_STAGE = "cannot_stage_s"
UPLOADS_WAITING = "uploads_waiting"
UPLOAD_AGE = "upload_age_s"
STAGING_LAG = "staging_lag_s"
FRESHNESS = "freshness_s"
SPARKPLUG_GAPS = "sparkplug_gaps"
SPARKPLUG_GAPS_TOTAL = "sparkplug_gaps_total"
CLOCK_SKEW = "clock_skew_s"
#: Of use only beside an earlier value of their own.
COUNTERS = (MESSAGES_TOTAL, SPARKPLUG_GAPS_TOTAL)
SENSORS_UNDECLARED = "sensors_undeclared"
SENSORS_NEVER_SEEN = "sensors_never_seen"
SENSORS_SILENT = "sensors_silent"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number about one subject. `value` None: not known, which is not the same as 0."""

    figure: str
    subject: str
    value: float | None


def measure(database: "Database", staging: "Staging", *, now: datetime) -> list[Figure]:
    """Every figure as it stands at `now`. Reads only."""
    from sensor_platform.pipeline.clocks import worst_skew_s

    lag = Figure(STAGING_LAG, PLATFORM, _staging_lag_s(database, staging, now=now))
    with database.connect() as connection:
        return [
            *_message_counters(connection),
            Figure(MESSAGE_RATE, PLATFORM, _message_rate(connection, now=now)),
            Figure(ERROR_RATE, PLATFORM, _error_rate_percent(connection, now=now)),
            Figure(DEAD_LETTERS_PENDING, PLATFORM, _dead_letters_pending(connection)),
            *_collector_ages(connection, now=now),
            *_disks_and_uploads(connection, now=now),
            *_sparkplug_gaps(connection, now=now),
            Figure(CLOCK_SKEW, PLATFORM, worst_skew_s(connection, now=now)),
            lag,
            Figure(FRESHNESS, PLATFORM, _freshness_s(connection, now=now)),
            Figure(SENSORS_SILENT, PLATFORM, _silent(connection, now=now)),
            *_strangers(connection),
        ]


def record(database: "Database", figures: Iterable[Figure], *, now: datetime) -> None:
    """Keeps the figures as rows of `health`, and lets go of rows that are too old."""
    rows = [{"at": now, "figure": f.figure, "subject": f.subject, "value": f.value} for f in figures]
    with database.begin() as connection:
        if rows:
            connection.execute(sa.insert(health), rows)
        connection.execute(sa.delete(health).where(health.c.at < now - KEEP))


def latest(database: "Database", *, now: datetime, within: timedelta) -> list[Figure]:
    """The newest recorded value of each figure and subject, where it is not older than `within`."""
    newest = (
        sa.select(health.c.figure, health.c.subject, health.c.value)
        .where(health.c.at > now - within, health.c.at <= now)
        .distinct(health.c.figure, health.c.subject)
        .order_by(health.c.figure, health.c.subject, health.c.at.desc(), health.c.id.desc())
    )
    with database.connect() as connection:
        return [Figure(*row) for row in connection.execute(newest)]


def _message_counters(connection: sa.Connection) -> list[Figure]:
    """The counters of the heartbeats, kept so that a later measurement has something to compare with."""
    query = sa.select(collector_heartbeat.c.collector, collector_heartbeat.c.messages)
    return [Figure(MESSAGES_TOTAL, collector, float(total)) for collector, total in connection.execute(query)]


def _message_rate(connection: sa.Connection, *, now: datetime) -> float:
    """Messages a second, all collectors together, since the oldest sample of the last minute.

    A counter that went down belongs to a new process, which counts from 0. Before there is a sample to compare with,
    the ledger says how many messages were received in the last minute; it lags by the loading.
    """
    sampled = (
        sa.select(health.c.subject, health.c.value, health.c.at)
        .where(health.c.figure == MESSAGES_TOTAL, health.c.at.between(now - RATE_WINDOW, now - RATE_AT_LEAST))
        .distinct(health.c.subject)
        .order_by(health.c.subject, health.c.at)
    )
    before = {subject: (value, at) for subject, value, at in connection.execute(sampled)}
    counters = _message_counters(connection)
    if not any(counter.subject in before for counter in counters):
        return _loaded_rate(connection, now=now)
    rate = 0.0
    for counter in counters:
        if counter.subject in before and counter.value is not None:
            value, at = before[counter.subject]
            more = counter.value - value if counter.value >= value else counter.value
            rate += more / (now - at).total_seconds()
    return rate


def _loaded_rate(connection: sa.Connection, *, now: datetime) -> float:
    query = sa.select(sa.func.coalesce(sa.func.sum(ledger.c.staged), 0)).where(
        ledger.c.last_received_at > now - RATE_WINDOW, ledger.c.last_received_at <= now
    )
    return float(connection.execute(query).scalar_one()) / RATE_WINDOW.total_seconds()


def _error_rate_percent(connection: sa.Connection, *, now: datetime) -> float:
    """Messages of which anything was refused, of all that were processed in the window. None processed is no error."""
    refused, staged = connection.execute(
        sa.select(
            sa.func.coalesce(sa.func.sum(ledger.c.dead_lettered + ledger.c.partial), 0),
            sa.func.coalesce(sa.func.sum(ledger.c.staged), 0),
        ).where(ledger.c.committed_at > now - ERROR_WINDOW)
    ).one()
    return 100 * float(refused) / float(staged) if staged else 0.0


def _dead_letters_pending(connection: sa.Connection) -> float:
    query = sa.select(sa.func.count()).select_from(dead_letter).where(dead_letter.c.state.in_(WAITING))
    return float(connection.execute(query).scalar_one())


def _collector_ages(connection: sa.Connection, *, now: datetime) -> list[Figure]:
    """Seconds for which each collector has not been collecting though it should; 0 while it does.

    Switched off on purpose is not down, and neither is one that stopped in order while others go on: it left its group.
    A collector that waits although nobody wants it to any more is about to go on: only its heartbeat counts.
    """
    wish = connection.execute(sa.select(collector_control.c.sensor_on & collector_control.c.api_on)).scalar()
    wanted = wish is None or wish
    beats = connection.execute(sa.select(collector_heartbeat).order_by(collector_heartbeat.c.collector)).all()
    running = [beat for beat in beats if beat.state != "stopped"] or beats
    down = {beat.collector: _age_s(beat, now=now) for beat in running if wanted}
    return [Figure(COLLECTOR_AGE, beat.collector, down.get(beat.collector, 0.0)) for beat in beats]


def _age_s(beat: sa.Row[Any], *, now: datetime) -> float:
    silent_s: float = (now - beat.beat_at).total_seconds()
    away = not beat.connected and beat.state != "waiting"
    away_s: float = (now - beat.since).total_seconds() if away else 0.0
    return max(silent_s, away_s, 0.0)


def _disks_and_uploads(connection: sa.Connection, *, now: datetime) -> Iterator[Figure]:
    """Of each collector: for how long its disk has refused messages, what waits for the object store, and how long."""
    beats = connection.execute(sa.select(collector_heartbeat).order_by(collector_heartbeat.c.collector)).all()
    uploads = {beat.collector for beat in uploading(beats)}
    for beat in beats:
        refused = beat.error_kind == StagingUnavailableError.kind
        yield Figure(CANNOT_STAGE, beat.collector, _seconds(beat.since, now) if refused else 0.0)
        is_last_word = beat.collector in uploads
        yield Figure(UPLOADS_WAITING, beat.collector, float(beat.upload_waiting) if is_last_word else 0.0)
        yield Figure(UPLOAD_AGE, beat.collector, _seconds(beat.upload_waiting_since, now) if is_last_word else 0.0)


def uploading(beats: Sequence[sa.Row[Any]]) -> list[sa.Row[Any]]:
    """Whose word on uploads holds: one of a host uploads for all there, also what one left that has stopped."""
    hosts = {beat.host for beat in beats if beat.state != "stopped"}
    return [beat for beat in beats if beat.state != "stopped" or beat.host not in hosts]


def _seconds(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max((now - since).total_seconds(), 0.0)


def _sparkplug_gaps(connection: sa.Connection, *, now: datetime) -> Iterator[Figure]:
    """How often messages of Sparkplug nodes were missing, ever and since the oldest sample of the last hour."""
    total = float(connection.execute(sa.select(sa.func.coalesce(sa.func.sum(sparkplug_node.c.gaps), 0))).scalar_one())
    sampled = (
        sa.select(health.c.value)
        .where(health.c.figure == SPARKPLUG_GAPS_TOTAL, health.c.at.between(now - GAPS_WINDOW, now))
        .order_by(health.c.at)
        .limit(1)
    )
    before: float | None = connection.execute(sampled).scalar()
    yield Figure(SPARKPLUG_GAPS_TOTAL, PLATFORM, total)
    yield Figure(SPARKPLUG_GAPS, PLATFORM, 0.0 if before is None else max(total - before, 0.0))


def _staging_lag_s(database: "Database", staging: "Staging", *, now: datetime) -> float | None:
    """For how long the oldest sealed micro-batch has been waiting to be loaded; 0 when none is.

    None while the object store does not answer: nobody knows.
    """
    from sensor_platform.pipeline.process import pending_lately

    try:
        waiting = pending_lately(staging, database, now=now)
        sealed_at = staging.sealed_at(waiting[0]) if waiting else None
    except ObjectStoreError:
        return None
    return 0.0 if sealed_at is None else max((now - sealed_at).total_seconds(), 0.0)


def _silent(connection: sa.Connection, *, now: datetime) -> float | None:
    """Sensors of which several readings are overdue; None where nobody said how often any of them sends."""
    from sensor_platform.pipeline.registry import silent_sensors

    found = silent_sensors(connection, now=now)
    return float(sum(found.values())) if found else None


def _strangers(connection: sa.Connection) -> Iterator[Figure]:
    """Sensors that were seen and that nobody declared, and the other way round; None before a registry is imported:
    nobody has said yet which sensors there should be."""
    is_imported = sa.select(registry_change.c.id).where(registry_change.c.source.is_not(None)).exists()
    declared, seen = sensor.c.declared_at.is_not(None), sensor.c.first_seen_at.is_not(None)
    query = sa.select(
        sa.select(is_imported).scalar_subquery(), *(sa.func.count().filter(which) for which in (~declared, ~seen))
    )
    imported, undeclared, unseen = connection.execute(query.select_from(sensor)).one()
    yield Figure(SENSORS_UNDECLARED, PLATFORM, float(undeclared) if imported else None)
    yield Figure(SENSORS_NEVER_SEEN, PLATFORM, float(unseen) if imported else None)


def _freshness_s(connection: sa.Connection, *, now: datetime) -> float | None:
    """How long ago the newest message that stands in the tables was received; None before the first."""
    newest = connection.execute(sa.select(sa.func.max(ledger.c.last_received_at))).scalar()
    return None if newest is None else max((now - newest).total_seconds(), 0.0)
