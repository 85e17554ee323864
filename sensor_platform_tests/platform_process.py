"""A whole running platform as its users start it: `sensor-platform up` in a process and a home of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil
import psycopg
import pytest

from sensor_platform.embedded.ports import any_free_port
from sensor_platform.embedded.run_file import resolved
from sensor_platform.mqtt.publisher import Publisher
from sensor_platform.settings import Settings, load_settings
from sensor_platform_tests.waiting import wait_until

START_TIMEOUT_S = 120


class PlatformProcess:
    """`sensor-platform up` and the ways in which a user reaches it."""

    def __init__(self, home: Path, ports: tuple[int, int, int], **environ: str) -> None:
        self.home = home
        broker, dagster, api = (str(port) for port in ports)
        ours = {"BROKER_PORT": broker, "DAGSTER_PORT": dagster, "API_PORT": api, "SENSOR_PLATFORM_HOME": str(home)}
        theirs = ("DATABASE_URL", "MQTT_", "STAGING_URL", "DAGSTER_", "SENSOR_PLATFORM_")
        clean = {k: v for k, v in os.environ.items() if not k.startswith(theirs)}
        self.environ = {**clean, **ours, **environ}
        self.output = home.parent / f"{home.name}-up.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "PlatformProcess":
        with self.output.open("ab") as output:
            command = [sys.executable, "-m", "sensor_platform.cli", "up"]
            self.process = subprocess.Popen(
                command, env=self.environ, stdout=output, stderr=output, cwd=self.home.parent
            )
        wait_until(self._ready, timeout_s=START_TIMEOUT_S, what=f"`up` to be ready, see {self.output}")
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"`up` ended with {self.process.returncode}:\n{self.output.read_text()[-4000:]}")
        return (self.home / "run.json").exists()

    @property
    def running(self) -> dict[str, Any]:
        """What run.json says."""
        answer: dict[str, Any] = json.loads((self.home / "run.json").read_text())
        return answer

    @property
    def settings(self) -> Settings:
        return resolved(load_settings({"SENSOR_PLATFORM_HOME": str(self.home)}, env_file=None))

    def stop(self, sent: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(sent)
        return self.process.wait(60)

    def kill_part(self, name: str, sent: signal.Signals = signal.SIGKILL) -> int:
        pid: int = self.running["parts"][name]["pid"]
        os.kill(pid, sent)
        return pid

    def descendants(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def cli(self, *args: str) -> Any:
        """The JSON answer of a command; the test fails when it exits with anything but 0."""
        command = [sys.executable, "-m", "sensor_platform.cli", *args, "--json"]
        done = subprocess.run(
            command, env=self.environ, capture_output=True, text=True, timeout=180, check=False, cwd=self.home.parent
        )
        assert done.returncode == 0, f"{args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        url = f"{self.running['dagster_url'].rstrip('/')}/graphql"
        answer = httpx.post(url, json={"query": query, "variables": variables}, timeout=60).json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def ask(self, query: str, field: str, **variables: Any) -> dict[str, Any]:
        """As a person who clicks again when the page shows an error: the webserver may hold a connection of before."""
        answers: list[dict[str, Any]] = []

        def answered() -> bool:
            answers.append(self.graphql(query, **variables)[field])
            return "Error" not in answers[-1]["__typename"]

        wait_until(answered, timeout_s=60, what=f"{field} without an error: {answers}", every_s=1)
        return answers[-1]

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a query, waiting out a database that is just being restarted."""
        deadline = time.monotonic() + 60
        while True:
            try:
                with psycopg.connect(self.running["database_url"], connect_timeout=3) as connection:
                    return connection.execute(query, parameters or None).fetchall()  # type: ignore[arg-type]
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                threading.Event().wait(0.3)

    def pending(self) -> int:
        answer: int = self.status()["messages"]["pending"]
        return answer

    def status(self) -> dict[str, Any]:
        command = [sys.executable, "-m", "sensor_platform.cli", "status", "--json"]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def wait_loaded(self, topic_sensor: str, count: int, *, timeout_s: float = 90) -> None:
        """Waits until `count` readings of the sensor stand in the view `reading`."""
        query = "select count(*) from sensor_platform.reading where work_unit || '/' || sensor = %s"
        wait_until(
            lambda: self.rows(query, topic_sensor)[0][0] >= count,
            timeout_s=timeout_s,
            what=f"{count} readings of {topic_sensor}",
            every_s=0.5,
        )


class Load(threading.Thread):
    """Publishes numbered messages, half of them without a time of their own, and keeps what was confirmed."""

    def __init__(self, platform: PlatformProcess, name: str, *, rate: float = 200) -> None:
        super().__init__(name=f"load-{name}")
        self.platform = platform
        self.sensors = (f"{name}-timed", f"{name}-untimed")
        self.rate = rate
        self.confirmed: dict[str, set[int]] = {sensor: set() for sensor in self.sensors}
        self.resent: dict[str, set[int]] = {sensor: set() for sensor in self.sensors}
        self.stopping = threading.Event()
        self.failure: BaseException | None = None

    def _messages(self) -> Iterator[tuple[str, bytes]]:
        number = 0
        while not self.stopping.is_set():
            number += 1
            timed = json.dumps({"timestamp": time.time(), "value": number})
            yield f"factory/load/sensors/{self.sensors[0]}/data", timed.encode()
            yield f"factory/load/sensors/{self.sensors[1]}/data", json.dumps({"value": number}).encode()

    def _note(self, topic: str, payload: bytes) -> None:
        self.confirmed[topic.split("/")[3]].add(json.loads(payload)["value"])

    def _note_resent(self, topic: str, payload: bytes) -> None:
        self.resent[topic.split("/")[3]].add(json.loads(payload)["value"])

    def run(self) -> None:
        try:
            with Publisher(self.platform.settings) as publisher:
                publisher.publish_all(
                    self._messages(), rate=self.rate, on_confirmed=self._note, on_resent=self._note_resent
                )
        except BaseException as err:  # told to the test, which fails with it
            self.failure = err

    def count(self) -> int:
        return sum(len(numbers) for numbers in self.confirmed.values())

    def finish(self) -> None:
        """Stops, waits until all that was confirmed is loaded, and proves that each message stands exactly once.

        A message whose confirmation was cut off is published again: at QoS 1 the broker then has two of it, and so have
        we, unless its own time tells that they are one.
        """
        self.stopping.set()
        self.join(60)
        assert self.failure is None, self.failure
        for sensor, numbers in self.confirmed.items():
            assert numbers, f"nothing was confirmed for {sensor}"
            self.platform.wait_loaded(f"load/{sensor}", len(numbers))
        wait_until(lambda: self.platform.pending() == 0, timeout_s=60, what="nothing pending", every_s=1)
        query = "select value, count(*) from sensor_platform.reading where sensor = %s group by value"
        for sensor, numbers in self.confirmed.items():
            stands = {int(value): count for value, count in self.platform.rows(query, sensor)}
            assert numbers - stands.keys() == set(), "confirmed messages that are lost"
            twice = {value for value, count in stands.items() if count > 1}
            published_twice = self.resent[sensor] if sensor == self.sensors[1] else set()
            assert twice - published_twice == set(), "messages that stand twice"


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    """One running platform for all tests that only look at it or that break it and see it mend itself."""
    # A space in the path on purpose: every part must live with it.
    home = tmp_path_factory.mktemp("a platform") / "home"
    process = PlatformProcess(home, (any_free_port(), any_free_port(), any_free_port())).start()
    yield process
    parts = process.descendants()
    assert process.stop() == 0
    _, alive = psutil.wait_procs(parts, timeout=5)
    assert alive == [], f"left behind: {alive}"
