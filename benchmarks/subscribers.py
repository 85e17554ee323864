"""The subscribers, each a process: how it is started, and how we know that it has everything."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import Case
from benchmarks.collector_process import received
from benchmarks.pathway import pathway_python
from benchmarks.processes import LIMIT_S, cpu_s, next_line, process
from benchmarks.publisher import TOPIC

FILTER = "factory/{work_unit}/sensors/{sensor}/data"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a subscriber subscribes and writes. `ca`: its authority, where it speaks TLS."""

    port: int
    folder: Path
    username: str = "nobody"
    password: str = "none"
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Running processes that share the messages; `wait` returns when all are received."""

    processes: list[subprocess.Popen[str]]
    wait: Callable[[], None]

    def cpu_s(self) -> float:
        return sum(map(cpu_s, self.processes))

    def check(self) -> None:
        """Raises RuntimeError where one of them failed. After `cpu_s`: nobody can ask that of one that is gone."""
        for one in self.processes:
            if one.poll():
                raise RuntimeError(f"{one.args!r} ended with {one.returncode}")


@contextmanager
def subscriber(case: Case, place: Place, *, messages: int) -> Iterator[Subscriber]:
    """Started; whether its subscription is granted, only the broker knows."""
    login = [str(place.port), place.username, place.password]
    match case.subscriber:
        case "collector":
            with collectors(place, protocol=case.protocol, workers=case.workers, messages=messages) as found:
                yield found
        case "pathway":
            rows = place.folder / "received.csv"
            script = Path(__file__).parent / "baselines" / "pathway_csv.py"
            with process([pathway_python(), str(script), *login, TOPIC, str(rows)], says="stdout") as one:
                yield Subscriber([one], lambda: _wait_for_lines(rows, messages + 1))  # a heading too
        case "mosquitto_sub":
            with process(_in_c(case, place, messages), says="stderr") as one:
                yield Subscriber([one], lambda: _wait_for_word(one))
        case name:
            options = [*login, case.protocol, TOPIC, str(messages), str(place.folder / "received")]
            with process([sys.executable, "-m", f"benchmarks.baselines.{name}", *options], says="stderr") as one:
                yield Subscriber([one], lambda: _wait_for_word(one))


@contextmanager
def collectors(
    place: Place, *, protocol: str, messages: int, workers: int = 1, **environment: str
) -> Iterator[Subscriber]:
    """So many collectors, which share a subscription when there are more than one."""
    file = place.folder / "counts"
    counts = received(file, workers=workers)
    command = [sys.executable, "-m", "benchmarks.collector_process", str(messages), str(file)]
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                process(
                    [*command, str(number)],
                    says="stderr",
                    environment={**_settings(place, protocol, number, shared=workers > 1), **environment},
                )
            )
            for number in range(workers)
        ]
        for one in running:
            next_line(one.stderr, "collecting")

        def wait() -> None:
            _wait_for_word(running[0])
            if counts.sum() != messages:  # a subscription that is not shared, or a connection that was lost
                raise RuntimeError(f"{counts.tolist()} messages for {messages}")

        yield Subscriber(running, wait)


def _in_c(case: Case, place: Place, messages: int) -> list[str]:
    version = "mqttv5" if case.protocol == "5" else "mqttv311"
    login = ["-h", "127.0.0.1", "-p", str(place.port), "-u", place.username, "-P", place.password]
    tls = ["--cafile", str(place.ca)] if place.ca else []
    return ["mosquitto_sub", *login, *tls, "-V", version, "-q", "1", "-C", str(messages), "-t", TOPIC]


def _settings(place: Place, protocol: str, number: int, *, shared: bool) -> dict[str, str]:
    routes = place.folder / "routes.yaml"
    routes.write_text(f"routes:\n  - name: benchmark\n    filter: {FILTER}\n    format: json\n", encoding="utf-8")
    return {
        "MQTT_BROKER_URL": f"{'mqtts' if place.ca else 'mqtt'}://127.0.0.1:{place.port}",
        "MQTT_CLIENT_ID": f"collector-{number}",
        "MQTT_USERNAME": place.username,
        "MQTT_PASSWORD": place.password,
        "MQTT_PROTOCOL": protocol,
        "MQTT_STATUS_TOPIC": "off",  # the fake broker takes nothing, and others tell nothing
        "MQTT_BROKER_CHECK_INTERVAL": "0",
        "MQTT_SHARE_GROUP": "benchmark" if shared else "",
        "MQTT_TLS_CA": str(place.ca or ""),
        "SENSOR_PLATFORM_HOME": str(place.folder / "home"),
        "SENSOR_PLATFORM_ROUTES": str(routes),
        "STAGING_URL": "",
    }


def _wait_for_word(one: subprocess.Popen[str]) -> None:
    """`done`, or, of mosquitto_sub, its end."""
    next_line(one.stderr, "done", "")


def _wait_for_lines(path: Path, lines: int) -> None:
    until_s = time.monotonic() + LIMIT_S
    seen = at = 0
    while seen < lines:
        if time.monotonic() > until_s:
            raise TimeoutError(f"{path}: {seen} lines of {lines}")
        time.sleep(0.02)
        if path.exists():
            with path.open("rb") as file:
                file.seek(at)
                some = file.read()
            seen, at = seen + some.count(b"\n"), at + len(some)
