"""The witness: a thread that tells the database how the collector is, and the collector what is wished for.

Never in the collector's way: a database that is down, slow or empty costs a log line. psycopg directly, since
SQLAlchemy would cost the collector's start more than all of this.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from sensor_platform.log import get_logger
from sensor_platform.mqtt.health import CollectorHealth
from sensor_platform.mqtt.history import MOST, ConnectionEvent, ConnectionHistory
from sensor_platform.mqtt.subscriber import Standing
from sensor_platform.mqtt.subscriptions import CHANNEL
from sensor_platform.mqtt.waker import Waker

INTERVAL_S = 1.0
CONNECT_TIMEOUT_S = 3
FIRST_WORD_S = 2.0
#: For a server that has gone away without a word; milliseconds.
OPTIONS = "-c statement_timeout=3000 -c lock_timeout=3000 -c application_name=sensor-platform-collector"

READ_WISH = "select sensor_on and api_on from sensor_platform.collector_control"
READ_CLOCK = "select extract(epoch from clock_timestamp())::float8"
READ_ADDED = "select filter from sensor_platform.subscription order by filter"
FORGET_STANDING = "delete from sensor_platform.collector_subscription where collector = %s"
WRITE_STANDING = """
    insert into sensor_platform.collector_subscription (collector, filter, state, detail)
    select %s, * from unnest(%s::text[], %s::text[], %s::text[])
"""

_COLUMNS = [field.name for field in fields(CollectorHealth)]
BEAT = sql.SQL(
    "insert into sensor_platform.collector_heartbeat ({columns}, beat_at) values ({values}, now())"
    " on conflict (collector) do update set beat_at = excluded.beat_at, {updates}"
).format(
    columns=sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
    values=sql.SQL(", ").join(map(sql.Placeholder, _COLUMNS)),
    updates=sql.SQL(", ").join(
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in _COLUMNS if name != "collector"
    ),
)


_EVENT = ["collector", *(field.name for field in fields(ConnectionEvent))]
#: Again after a commit whose answer was lost: a row that is there stays.
WRITE_EVENT = sql.SQL(
    "insert into sensor_platform.collector_connection ({columns}) values ({values}) on conflict do nothing"
).format(
    columns=sql.SQL(", ").join(map(sql.Identifier, _EVENT)),
    values=sql.SQL(", ").join(map(sql.Placeholder, _EVENT)),
)
FORGET_OLD_EVENTS = """
    delete from sensor_platform.collector_connection where collector = %(collector)s and id <= (
        select id from sensor_platform.collector_connection where collector = %(collector)s
        order by id desc offset %(most)s limit 1)
"""


class Witness:
    """Beats once a second until it is stopped. `wished` stays as last told, and is True until it was ever told.

    Args:
        on_wish: called when the wish has changed.
        on_added: called with the filters that were added while running, when they are others than before.
    """

    def __init__(
        self,
        database_url: str,
        *,
        collector: str,
        health: Callable[[], CollectorHealth],
        history: ConnectionHistory,
        standing: Callable[[], tuple[Standing, ...]],
        on_wish: Callable[[], None],
        on_added: Callable[[tuple[str, ...]], None],
    ) -> None:
        self.wished = True
        self._url = database_url
        self._health = health
        self._history = history
        self._on_wish = on_wish
        self._collector = collector
        self._standing = standing
        self._on_added = on_added
        self._added: tuple[str, ...] | None = None
        self._written: tuple[Standing, ...] | None = None
        self._bell = Waker()
        self._stop = threading.Event()
        self._asked = threading.Event()
        self.clock_off_s = 0.0  # by how much our wall clock leads the database's, as last seen
        self._in_trouble = False
        self._thread = threading.Thread(target=self._run, name="collector-witness", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait_for_first_word(self) -> None:
        """Until the database said what is wished, or that it cannot; not long for one that says nothing."""
        self._asked.wait(FIRST_WORD_S)

    def ring(self) -> None:
        """The next beat comes now: something has changed."""
        self._bell.wake()

    def stop(self) -> None:
        """A last beat, and the end of the thread; does not wait long for a database that does not answer."""
        self._stop.set()
        self._bell.wake()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)
        if not self._thread.is_alive():
            self._bell.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with psycopg.connect(
                    self._url,
                    autocommit=True,
                    connect_timeout=CONNECT_TIMEOUT_S,
                    options=OPTIONS,
                    tcp_user_timeout=5000,
                ) as connection:
                    self._serve(connection)
            except psycopg.Error as err:
                self._asked.set()
                self._trouble(err)
            except Exception:  # noqa: BLE001  the top of a thread: whatever it is, the next beat tries again
                self._asked.set()
                get_logger().exception("witness_failed")
            self._stop.wait(INTERVAL_S)

    def _serve(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(sql.SQL("listen {}").format(sql.Identifier(CHANNEL)))
        self._written = None  # another database, or the same one restored, may know nothing of it
        while True:
            stopping = self._stop.is_set()
            self._read_added(connection)
            self._read_wish(connection)
            self._read_clock(connection)
            connection.execute(BEAT, _row(self._health()))
            self._write_standing(connection)
            self._write_history(connection)
            if self._in_trouble:
                self._in_trouble = False
                get_logger().info("database_answers_again")
            if stopping:
                return
            self._rest(connection)

    def _rest(self, connection: psycopg.Connection[Any]) -> None:
        """Until the next beat, a change of the subscriptions, or the end. What no poll tells of, the next beat sees."""
        if self._bell.wait(INTERVAL_S, fd=connection.fileno()):
            for _ in connection.notifies(timeout=0):
                pass

    def _read_added(self, connection: psycopg.Connection[Any]) -> None:
        added = tuple(row[0] for row in connection.execute(READ_ADDED))
        if added != self._added:
            self._added = added
            self._on_added(added)

    def _write_standing(self, connection: psycopg.Connection[Any]) -> None:
        standing = self._standing()
        if standing is self._written:
            return
        columns = ([s.filter for s in standing], [s.state for s in standing], [s.detail for s in standing])
        with connection.transaction():
            connection.execute(FORGET_STANDING, (self._collector,))
            connection.execute(WRITE_STANDING, (self._collector, *columns))
        self._written = standing

    def _write_history(self, connection: psycopg.Connection[Any]) -> None:
        if not (events := self._history.waiting()):
            return
        with connection.transaction():
            for event in events:
                connection.execute(WRITE_EVENT, {"collector": self._collector, **asdict(event)})
            connection.execute(FORGET_OLD_EVENTS, {"collector": self._collector, "most": MOST})
        self._history.written(events)

    def _read_wish(self, connection: psycopg.Connection[Any]) -> None:
        row = connection.execute(READ_WISH).fetchone()
        if row is not None and row[0] != self.wished:
            self.wished = bool(row[0])
            self._on_wish()
        self._asked.set()

    def _read_clock(self, connection: psycopg.Connection[Any]) -> None:
        row = connection.execute(READ_CLOCK).fetchone()
        assert row is not None
        self.clock_off_s = time.time() - row[0]

    def _trouble(self, err: psycopg.Error) -> None:
        if not self._in_trouble:
            self._in_trouble = True
            lines = str(err).strip().splitlines() or [type(err).__name__]
            get_logger().warning("database_does_not_answer", error=lines[0], going_on="as last told")


def _row(health: CollectorHealth) -> dict[str, Any]:
    """The columns of the heartbeat; what has a structure as JSON."""
    values = asdict(health)
    return {name: Jsonb(value) if isinstance(value, dict | list | tuple) else value for name, value in values.items()}
