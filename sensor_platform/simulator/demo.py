"""The demo on a running platform: publish the fleet, wait until all is loaded, prove that nothing was lost or doubled.

The caller's thread publishes, waits and accounts; "demo-watch" tells once a second how it goes.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pyarrow as pa

from sensor_platform.database.engine import Database, connect_database
from sensor_platform.errors import SensorPlatformError
from sensor_platform.mqtt.publisher import Published, Publisher
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.pipeline.process import pending
from sensor_platform.settings import Settings
from sensor_platform.simulator.account import Account, LedgerSums, account, alert_counts, ledger_sums
from sensor_platform.simulator.arrival import POLL_S, Arrival
from sensor_platform.simulator.fleet import Fleet, FleetMessage
from sensor_platform.simulator.published_log import PublishedLog
from sensor_platform.staging.place import open_staging
from sensor_platform.staging.store import Staging

DRAIN_S = 120
WATCH_EVERY_S = 1.0
#: A gateway is broken for this part of the demo, at most so long: the error-rate alert fires, and ends. A tenth of its
#: messages is refused and a fiftieth of all others, so the mean is above 5 % for 0.6 of a short demo, and below the
#: 4.5 % that end the alert after 0.72 of it. Demos of less than a minute end before that could be seen.
BROKEN_SHARE, BROKEN_AT_MOST_S, SHORTEST_BROKEN_S = 0.225, 25.0, 60.0
SHOWN_IDS = 10

RUNS = "query($after: Float) { runsOrError(filter: {createdAfter: $after}) { ... on Runs { count } } }"


@dataclass(frozen=True, slots=True)
class Progress:
    """How the demo goes, for a person."""

    phase: str
    left_s: float
    rate: float
    published: int
    staged: int
    loaded: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The figures of `demo --json`, and what is wrong with them."""

    figures: dict[str, Any]
    problems: list[str]
    good_refused: int


class StoppedError(SensorPlatformError):
    """The demo was stopped before its end: there is nothing to account for."""


class Demo:
    """One demo. `check` raises when a part of the platform has failed for good; `stop` ends it early."""

    def __init__(
        self,
        settings: Settings,
        *,
        dagster_url: str,
        duration_s: float,
        rate: float,
        stop: threading.Event,
        check: Callable[[], None] = lambda: None,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._dagster_url = dagster_url
        self._duration_s = duration_s
        self._rate = rate
        self._stop = stop
        self._check = check
        self._on_progress = on_progress
        self._phase = "publishing"
        self._handed_over = 0
        self._over = threading.Event()
        self._failure: SensorPlatformError | None = None

    def run(self) -> Outcome:
        """From ready to the account.

        Raises:
            StoppedError: `stop` was set.
        """
        self._ready_at, self._started = datetime.now(UTC), time.monotonic()
        run = secrets.token_hex(4)
        log, staging = PublishedLog(run), open_staging(self._settings)
        with connect_database(self._settings) as database:
            watch = threading.Thread(target=self._watch, args=(staging, database), name="demo-watch")
            watch.start()
            try:
                published = self._publish(Fleet(seed=1, run=run), log)
                self._phase = "loading"
                self._drain(staging, database, log)
            finally:
                self._over.set()
                watch.join()
            return self._account(staging, database, log, published)

    def _publish(self, fleet: Fleet, log: PublishedLog) -> Published:
        with Publisher(self._settings) as publisher:
            return publisher.publish_all(
                log.noting(self._messages(fleet)),
                rate=self._rate,
                stop=self._stop,
                on_confirmed=log.on_confirmed,
                on_resent=log.on_resent,
            )

    def _messages(self, fleet: Fleet) -> Iterator[FleetMessage]:
        broken_s = min(self._duration_s * BROKEN_SHARE, BROKEN_AT_MOST_S)
        for message in fleet.messages():
            elapsed_s = time.monotonic() - self._started
            if elapsed_s >= self._duration_s:
                return
            fleet.broken = self._duration_s >= SHORTEST_BROKEN_S and elapsed_s < broken_s
            self._handed_over += 1
            yield message

    def _drain(self, staging: Staging, database: Database, log: PublishedLog) -> None:
        """Waits until all that is staged is in the ledger, but not for ever: what is not then counts as pending."""

        def count_ours(table: pa.Table) -> int:
            return sum(log.number(payload) is not None for payload in table["payload"].to_pylist())

        arrival = Arrival(staging, database, since=self._ready_at, count_ours=count_ours)
        expected, deadline = sum(log.confirmed), time.monotonic() + DRAIN_S
        while time.monotonic() < deadline:
            if arrival.look().complete(expected) and waiting(staging, database) == 0:
                return
            if self._stop.wait(POLL_S):
                break
        if self._stop.is_set():
            raise self._failure or StoppedError("stopped before all was loaded")

    def _account(self, staging: Staging, database: Database, log: PublishedLog, published: Published) -> Outcome:
        found = account(staging, database, log, since=self._ready_at)
        sums = ledger_sums(database, since=self._ready_at)
        left = waiting(staging, database)
        first_row_s = (sums.first_row_at - self._ready_at).total_seconds() if sums.first_row_at else None
        figures = {
            "messages": {"published": published.published, **asdict(sums.messages)},
            "readings": asdict(sums.readings),
            "runs": self._runs(),
            "freshness_s": found.freshness_s,
            "first_row_s": first_row_s,
            "lost": len(found.lost),
            "doubled": len(found.doubled),
            "pending": left,
            "alerts": alert_counts(database, since=self._ready_at),
        }
        wrong = problems(published, found, sums, left, mismatches(database, since=self._ready_at))
        return Outcome(figures, wrong, found.refused)

    def _runs(self) -> int:
        """Dagster runs made since ready."""
        variables = {"after": self._ready_at.timestamp()}
        url = f"{self._dagster_url.rstrip('/')}/graphql"
        answer = httpx.post(url, json={"query": RUNS, "variables": variables}, timeout=60)
        count: int = answer.raise_for_status().json()["data"]["runsOrError"]["count"]
        return count

    def _watch(self, staging: Staging, database: Database) -> None:
        last_count, last_at = 0, time.monotonic()
        while not self._over.wait(WATCH_EVERY_S):
            try:
                self._check()
            except SensorPlatformError as err:
                self._failure = err
                self._stop.set()
                return
            try:
                sums = ledger_sums(database, since=self._ready_at)
                left = waiting(staging, database)
            except SensorPlatformError:
                continue  # the database is being restarted; who waits for it says so
            now, count = time.monotonic(), self._handed_over
            rate, last_count, last_at = (count - last_count) / (now - last_at), count, now
            left_s = max(self._duration_s - (now - self._started), 0)
            staged, loaded = sums.messages.staged + left, sums.messages.staged
            letters = sums.messages.dead_lettered + sums.messages.partial
            self._on_progress(Progress(self._phase, left_s, rate, count, staged, loaded, letters))


def waiting(staging: Staging, database: Database) -> int:
    """Messages on disk that are not in the ledger."""
    return staging.open_messages() + sum(staging.count(micro_batch) for micro_batch in pending(staging, database))


def problems(published: Published, found: Account, sums: LedgerSums, left: int, mismatched: list[str]) -> list[str]:
    """What must not be after a demo, a line each."""
    messages = sums.messages
    wrong = [f"the ledger and the tables differ: {line}" for line in mismatched]
    if not (messages.balanced() and sums.readings.balanced()):
        wrong.append("the counts of the ledger do not add up")
    if not published.complete:
        wrong.append(f"{published.published - published.confirmed} messages were not confirmed by the broker")
    for what, numbers in (("lost", found.lost), ("doubled", found.doubled)):
        if numbers:
            wrong.append(f"{len(numbers)} messages {what}, the first of them: {numbers[:SHOWN_IDS]}")
    if left or found.unloaded:
        wrong.append(f"{left} staged messages are not in the ledger after {DRAIN_S} s")
    missing = [name for name in ("accepted", "partial", "duplicate", "dead_lettered") if not getattr(messages, name)]
    return wrong + [f"no message is {name}, and the fleet sends some of each" for name in missing]
