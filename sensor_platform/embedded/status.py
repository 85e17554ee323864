"""How the platform is, and what became of its messages: one consistent look at processes, staging area and ledger."""

from collections.abc import Callable, Container
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.tables import Timestamp, alert, collector_heartbeat, dead_letter, ledger
from sensor_platform.embedded.parts import responds
from sensor_platform.embedded.ports import answers
from sensor_platform.embedded.process import is_alive
from sensor_platform.embedded.run_file import Running, RunningPart
from sensor_platform.errors import DamagedMicroBatchError, DatabaseUnavailableError, ObjectStoreError
from sensor_platform.health.connections import summary
from sensor_platform.health.figures import uploading
from sensor_platform.pipeline.accounted import accounted
from sensor_platform.pipeline.accounting import MESSAGE_COLUMNS, READING_COLUMNS, WAITING
from sensor_platform.pipeline.report import MessageCounts, ReadingCounts
from sensor_platform.settings import Settings
from sensor_platform.staging.compacted_area import CompactedName
from sensor_platform.staging.format import MicroBatch
from sensor_platform.staging.place import open_staging
from sensor_platform.staging.store import Staging

#: The collector beats every second, the daemon every half minute.
COLLECTOR_STALE_AFTER_S = 10.0
DAEMON_STALE_AFTER_S = 90.0
_FROM_WORST = ("stopped", "connecting", "draining", "waiting", "collecting")
_SCHEME_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class Counts:
    """All messages on disk or stored: `messages.staged` = `pending` + the five classes."""

    messages: MessageCounts
    readings: ReadingCounts
    pending: int
    dead_letters_pending: int


def count(staging: Staging, database: Database) -> Counts:
    """The counts at one instant: no message is missed or counted twice, whatever is sealed or loaded meanwhile.

    The ledger is looked at first: what is loaded after that look still counts as pending, from its file. Then the
    staging area, again until nothing was sealed between the looks at its sealed and its open files.
    """
    in_ledger = accounted(database)
    before = {micro_batch.hour for micro_batch in staging.micro_batches(but=in_ledger)}
    messages, readings, letters, loaded = _look_at_ledger(database, before)
    sealed, open_messages = _look_at_staging(staging, but=in_ledger)
    waiting = sum(_messages_in(staging, micro_batch) for micro_batch in sealed if micro_batch.name not in loaded)
    pending = open_messages + waiting
    return Counts(messages + MessageCounts(staged=pending), readings, pending, letters)


def _messages_in(staging: Staging, micro_batch: MicroBatch) -> int:
    """0 where its file is damaged: nobody can say, and the check of readings names it."""
    try:
        return staging.count(micro_batch)
    except DamagedMicroBatchError:
        return 0


def _look_at_ledger(database: Database, hours: set[datetime]) -> tuple[MessageCounts, ReadingCounts, int, set[str]]:
    sums = [sa.cast(sa.func.coalesce(sa.func.sum(c), 0), sa.BigInteger) for c in (*MESSAGE_COLUMNS, *READING_COLUMNS)]
    letters = sa.select(sa.func.count()).select_from(dead_letter).where(dead_letter.c.state.in_(WAITING))
    # An hour may begin between the two looks.
    newest = max(hours, default=datetime.now(UTC)) - timedelta(hours=1)
    any_of_them = sa.any_(sa.literal([*hours], sa.ARRAY(Timestamp)))
    names = sa.select(ledger.c.name).where((ledger.c.hour == any_of_them) | (ledger.c.hour > newest))
    with database.connect() as connection:
        snapshot = connection.execution_options(isolation_level="REPEATABLE READ")
        row = snapshot.execute(sa.select(*sums).select_from(ledger)).one()
        waiting = int(snapshot.execute(letters).scalar_one())
        loaded = set(snapshot.execute(names).scalars())
    split = len(MESSAGE_COLUMNS)
    return MessageCounts(*row[:split]), ReadingCounts(*row[split:]), waiting, loaded


def _look_at_staging(staging: Staging, *, but: Container[CompactedName]) -> tuple[list[MicroBatch], int]:
    sealed = staging.micro_batches(but=but)
    while True:
        open_messages = staging.open_messages()
        again = staging.micro_batches(but=but)
        if again == sealed:
            return sealed, open_messages
        sealed = again


def status(settings: Settings, running: Running | None) -> dict[str, Any]:
    """The object of `status --json`. Counts are null while no database answers."""
    if settings.database_url is None:
        return {"ready": False, "parts": {}, **_without_database()}
    with Database(settings.database_url.get_secret_value()) as database:
        try:
            found = _from_database(database, open_staging(settings))
        except DatabaseUnavailableError:
            found = _without_database()
        parts = _parts(settings, running, database, found["collector"])
    ready = all(part["answers"] for part in parts.values())
    return {"ready": ready, "parts": parts, **found}


def _from_database(database: Database, staging: Staging) -> dict[str, Any]:
    counts, store_error = _counted(staging, database)
    firing = sa.select(sa.func.count()).where(alert.c.state.in_(("firing", "acknowledged")))
    with database.connect() as connection:
        alerts_firing = connection.execute(firing).scalar_one()
    found = _without_database() | {"collector": _collector(database), "alerts_firing": alerts_firing}
    found["staging"] = {"where": staging.where, "error": store_error, **_uploads(database)}
    if counts is None:
        return found
    messages = asdict(counts.messages)
    return found | {
        "messages": {"staged": messages.pop("staged"), "pending": counts.pending, **messages},
        "readings": asdict(counts.readings),
        "dead_letters_pending": counts.dead_letters_pending,
    }


def _counted(staging: Staging, database: Database) -> tuple[Counts | None, str | None]:
    """No counts while the object store does not answer: nobody knows what is staged."""
    try:
        return count(staging, database), None
    except ObjectStoreError as err:
        return None, str(err)


def _uploads(database: Database) -> dict[str, Any]:
    """What the collectors say of micro-batches that wait for the object store."""
    with database.connect() as connection:
        beats = uploading(connection.execute(sa.select(collector_heartbeat)).all())
    waiting: dict[str, int] = {}
    for beat in beats:  # those of a host look at one folder
        waiting[beat.host] = max(waiting.get(beat.host, 0), beat.upload_waiting)
    since = min((beat.upload_waiting_since for beat in beats if beat.upload_waiting_since), default=None)
    error = next((beat.upload_error for beat in beats if beat.upload_error), None)
    return {"upload_waiting": sum(waiting.values()), "upload_waiting_since": _iso(since), "upload_error": error}


def _without_database() -> dict[str, Any]:
    names = ("staged", "pending", "accepted", "partial", "dead_lettered", "duplicate", "ignored")
    return {
        "collector": {**dict.fromkeys(("state", "connected", "since", "last_commit_at")), "collectors": []},
        "messages": dict.fromkeys(names),
        "readings": dict.fromkeys(("decoded", "inserted", "duplicate", "refused", "thinned", "expired")),
        "dead_letters_pending": None,
        "alerts_firing": None,
        "staging": dict.fromkeys(("where", "error", "upload_waiting", "upload_waiting_since", "upload_error")),
    }


def _collector(database: Database) -> dict[str, Any]:
    """All that run, as one: the worst state of any, connected when each is. None runs: the one that beat last."""
    found = _collectors(database)
    running = [each for each in found if each["state"] != "stopped"] or found[:1]
    if not running:
        return {"state": "stopped", "connected": False, "since": None, "last_commit_at": None, "collectors": []}
    commits = [each["last_commit_at"] for each in running if each["last_commit_at"] is not None]
    return {
        "state": min((each["state"] for each in running), key=_FROM_WORST.index),
        "connected": all(each["connected"] for each in running),
        "since": max(each["since"] for each in running),
        "last_commit_at": max(commits, default=None),
        "collectors": found,
    }


def _collectors(database: Database) -> list[dict[str, Any]]:
    """Each one, the last that beat first; one that is silent has stopped, whatever it said before."""
    beat = collector_heartbeat.c
    silent = sa.func.now() - beat.beat_at > timedelta(seconds=COLLECTOR_STALE_AFTER_S)
    query = sa.select(collector_heartbeat, silent.label("silent")).order_by(beat.beat_at.desc())
    with database.connect() as connection:
        rows = connection.execute(query).all()
        return [_one_collector(row, summary(connection, row.collector, now=datetime.now(UTC))) for row in rows]


def _one_collector(row: sa.Row[Any], history: dict[str, Any]) -> dict[str, Any]:
    connected = row.connected and not row.silent
    lost = history["last_lost"]
    return {
        "collector": row.collector,
        "state": "stopped" if row.silent else row.state,
        "connected": connected,
        "since": _iso(row.beat_at if row.silent else row.since),
        "last_commit_at": _iso(row.last_commit_at),
        "connected_since": _iso(history["connected_since"]) if connected else None,
        "lost_24h": history["lost_24h"],
        "last_lost": {**lost, "at": _iso(lost["at"])} if lost else None,
        "error": row.error,
        "error_kind": row.error_kind,
        "warnings": row.warnings,
        "broker": row.broker,
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _parts(
    settings: Settings, running: Running | None, database: Database, collector: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Each part with what run.json says of it, and whether it answers now. Without run.json those that can be asked."""
    probes: dict[str, Callable[[RunningPart | None], bool]] = {
        "postgres": lambda _: collector["state"] is not None,
        "broker": lambda _: _broker_answers(settings),
        "collector": lambda _: (
            collector["state"] == "waiting"
            or (collector["state"] in ("collecting", "draining") and collector["connected"])
        ),
        "code_server": lambda part: part is not None and answers(part.port),
        "daemon": lambda _: daemon_beats(database),
        "webserver": lambda part: part is not None and responds(part.port, "/server_info"),
        "api": lambda part: part is not None and responds(part.port, "/api/mqtt/health"),
    }
    if running is None:
        names = ("postgres", "broker", "collector", "daemon")
        return {name: {"pid": None, "state": None, "restarts": None, "answers": probes[name](None)} for name in names}
    return {
        name: {
            "pid": part.pid,
            "state": part.state,
            "restarts": part.restarts,
            "answers": is_alive(part.pid, part.started_at) and probes[name](part),
        }
        for name, part in running.parts.items()
    }


def _broker_answers(settings: Settings) -> bool:
    address = urlsplit(settings.mqtt.broker_url or "")
    port = address.port or _SCHEME_PORTS.get(address.scheme, 1883)
    return address.hostname is not None and answers(port, host=address.hostname)


def daemon_beats(database: Database) -> bool:
    """Whether Dagster's daemon has looked at its sensors lately."""
    query = sa.text("select max(timestamp) from public.daemon_heartbeats where daemon_type = 'SENSOR'")
    try:
        with database.connect() as connection:
            beat: datetime | None = connection.execute(query).scalar_one()
    except (DatabaseUnavailableError, sa.exc.ProgrammingError):  # down, or Dagster has not made its tables yet
        return False
    age_s = (datetime.now(UTC) - beat.replace(tzinfo=UTC)).total_seconds() if beat else None
    return age_s is not None and age_s < DAEMON_STALE_AFTER_S
