"""A plant with one machine, a collector process and the pipeline's command: what the tests of hurt parts begin with.

Each message has a value of its own and no time, so that nothing but its bytes tells it from another.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from sensor_platform.database.engine import Database
from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform.embedded.environment import environment_of
from sensor_platform.pipeline.accounting import mismatches, totals
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.faults.tally import prove_each_once
from sensor_platform_tests.mqtt.collecting import collector_process, make_settings, publish, publisher
from sensor_platform_tests.waiting import wait_until

BEAT = """
select messages, connections, connected from sensor_platform.collector_heartbeat
where pid = %s and beat_at > clock_timestamp() - interval '2 seconds'
"""

WARNINGS = "select warnings from sensor_platform.collector_heartbeat where pid = %s"


class Plant:
    """`publish` returns when the broker has confirmed; `confirmed` is the truth. `root`: the topic of its own."""

    def __init__(
        self, broker: EmbeddedBroker, home: Path, root: str, *, database_url: str | None = None, **mqtt: Any
    ) -> None:
        self.home = home
        self.confirmed: list[bytes] = []
        self._broker = broker
        self._topic = f"{root}/press/force"
        self._database_url = database_url
        self.settings = make_settings(broker, home, root, **mqtt)
        self.staging = LocalStaging(self.settings.home / "staging")
        self._environment = {"DATABASE_URL": database_url} if database_url else {}

    @contextmanager
    def collecting(self, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """A collector process that the broker keeps messages for; stopped in order at the end."""
        with collector_process(self.settings, **self._environment, **environment) as collector:
            wait_until(lambda: next(self.home.glob("staging/_open/c0/subscriptions"), None), "granted filters", 60)
            yield collector
            assert collector.poll() is None, f"the collector ended: {self.log[-2000:]}"
            collector.terminate()
            assert collector.wait(30) == 0, self.log[-2000:]

    def publish(self, count: int = 50, *, every_s: float = 0) -> None:
        """The next `count` messages, in order."""
        first = len(self.confirmed)
        payloads = [b'{"value": %d}' % n for n in range(first, first + count)]
        with publisher(self._broker) as client:
            publish(client, ((self._topic, payload) for payload in paced(payloads, every_s)))
        self.confirmed += payloads

    def staged(self) -> int:
        return sum(map(self.staging.count, self.staging.micro_batches()))

    def wait_staged(self, *, timeout_s: float = 60) -> None:
        wait_until(lambda: self.staged() >= len(self.confirmed), f"{len(self.confirmed)} sealed messages", timeout_s)

    def beats(self, collector: subprocess.Popen[bytes]) -> tuple[int, int, bool] | None:
        """Messages, connections, connected: what the witness said within two seconds."""
        assert self._database_url is not None
        with psycopg.connect(self._database_url, connect_timeout=5) as sql:
            return sql.execute(BEAT, [collector.pid]).fetchone()

    def warnings(self, collector: subprocess.Popen[bytes]) -> list[str]:
        """The kinds of what its witness warns of."""
        assert self._database_url is not None
        with psycopg.connect(self._database_url, connect_timeout=5) as sql:
            row = sql.execute(WARNINGS, [collector.pid]).fetchone()
        return [each["kind"] for each in row[0]] if row else []

    def wait_for_witness(self, collector: subprocess.Popen[bytes]) -> tuple[int, int, bool]:
        """Until it is heard of again, with all that was confirmed."""

        def told() -> tuple[int, int, bool] | None:
            beat = self.beats(collector)
            return beat if beat and beat[0] >= len(self.confirmed) else None

        return wait_until(told, "the witness", 30)

    def command(self, *args: str) -> subprocess.Popen[str]:
        """`sensor-platform ARGS --json`, begun."""
        environ = {**os.environ, **environment_of(self.settings), **self._environment}
        command = [sys.executable, "-m", "sensor_platform.cli", *args, "--json"]
        return subprocess.Popen(
            command, env=environ, cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def cli(self, *args: str) -> Any:
        """The JSON answer of a command, which must exit with 0."""
        with self.command(*args) as running:
            answer, errors = running.communicate(timeout=120)
        assert running.returncode == 0, errors
        return json.loads(answer)

    def refusal(self, *args: str) -> str:
        """What a command says that must fail."""
        with self.command(*args) as running:
            _, errors = running.communicate(timeout=120)
        assert running.returncode == 1, errors
        return errors

    def prove_loaded(self, what: str, database: Database) -> dict[str, int]:
        """Each confirmed message is staged once, and all is loaded: as `load`."""
        prove_each_once(what, self.confirmed, self.staging)
        return self.load(database)

    def load(self, database: Database) -> dict[str, int]:
        """Loads what is pending; the ledger adds up. Gives how often each value stands."""
        assert self.cli("process")["messages"]["pending"] == 0
        messages, readings, _ = totals(database)
        print(f"in the ledger: {messages} {readings}")
        assert messages.balanced()
        assert readings.balanced()
        assert messages.staged == self.staged(), "every message of the staging area is in the ledger"
        assert mismatches(database) == []
        with database.connect() as connection:
            query = "select value::bigint, count(*) from sensor_platform.metric group by 1 order by 1"
            return dict(connection.exec_driver_sql(query).all())  # type: ignore[arg-type]

    @property
    def log(self) -> str:
        return (self.home / "collector.log").read_text()


def paced(payloads: list[bytes], every_s: float) -> Iterator[bytes]:
    """One after the other, as a machine sends them."""
    for payload in payloads:
        yield payload
        if every_s:
            threading.Event().wait(every_s)
