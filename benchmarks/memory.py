"""What the collector holds: resident memory over millions of messages, and while nothing can be staged under load.

`python -m benchmarks.memory [--json] [--only PART] [--messages 5000000] [--stalled 60] [--rate 10000] [--quick]`.

*flow*: a broker that only sends, as fast as the collector takes it. The first tenth is warm-up: until then allocators,
the redelivery window and the first micro-batches take what they will keep. After it RSS stays within 20 MB.

*stall*: a real mosquitto and a publisher that never pauses. The collector's file size limit is set to 0 from outside,
so that each write fails as on a full disk, and later lifted. What cannot be staged must stay with the broker.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import psutil

from benchmarks.brokers import ConfiguredBroker
from benchmarks.cases import COLLECTOR, Case
from benchmarks.collector_process import received
from benchmarks.machine import machine
from benchmarks.measure import publisher, wait_until_subscribed
from benchmarks.processes import feed, go, next_line
from benchmarks.publisher import PAYLOAD_BYTES
from benchmarks.subscribers import Place, Subscriber, collectors

PARTS = ("flow", "stall")
PROTOCOL = "5"
EVERY_S = 0.1
WARM_UP = 0.1
FLAT_MB = 20.0
#: Nothing new for so long: something broke.
SILENCE_S = 120
#: The broker's own durability is not what is measured: writing its whole queue each second would throttle the load.
QUEUES_ALL = "max_queued_messages 0\nmax_queued_bytes 0\nmax_inflight_messages 0\npersistence false"


@dataclass(frozen=True, slots=True)
class Sample:
    """At one moment: messages that are durable and acknowledged, and resident memory."""

    at_s: float
    messages: int
    rss_mb: float


class Watch:
    """Looks at one collector again and again."""

    def __init__(self, process: Subscriber, counts: Path) -> None:
        self._process = psutil.Process(process.processes[0].pid)
        self._counts = received(counts)
        self._began_s = time.monotonic()

    @property
    def messages(self) -> int:
        return int(self._counts[0])

    def until(self, over: Callable[[], bool], *, may_be_silent: bool = False) -> list[Sample]:
        """Samples until it is over. Raises TimeoutError where nothing arrives any more, unless that is expected."""
        samples = [self._sample()]
        last_s = time.monotonic()
        while not over():
            time.sleep(EVERY_S)
            samples.append(self._sample())
            if samples[-1].messages != samples[-2].messages:
                last_s = time.monotonic()
            if not may_be_silent and time.monotonic() - last_s > SILENCE_S:
                raise TimeoutError(f"stands at {self.messages} messages for {SILENCE_S} s")
        return samples

    def _sample(self) -> Sample:
        rss_mb = self._process.memory_info().rss / 1e6
        return Sample(round(time.monotonic() - self._began_s, 2), self.messages, round(rss_mb, 1))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON value on stdout instead of lines.")
@click.option("--only", "parts", multiple=True, type=click.Choice(PARTS), help="This part; may be repeated.")
@click.option("--messages", default=5_000_000, show_default=True, type=click.IntRange(100), help="Of the flow.")
@click.option("--stalled", "stalled_s", default=60.0, show_default=True, help="Seconds without a disk.")
@click.option("--rate", default=10_000, show_default=True, help="Messages/s published before, during and after.")
@click.option("--quick", is_flag=True, help="100,000 messages, 3 s: shows that it runs, measures little.")
def main(as_json: bool, parts: tuple[str, ...], messages: int, stalled_s: float, rate: int, quick: bool) -> None:
    """Measure the collector's memory."""
    if quick:
        messages, stalled_s, rate = 100_000, 3.0, 1_000
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-memory-") as scratch:
        report["machine"] = machine(Path(scratch))
        if "flow" in (parts or PARTS):
            report["flow"] = flow(_folder(scratch, "flow"), messages)
        if "stall" in (parts or PARTS):
            report["stall"] = stall(_folder(scratch, "stall"), stalled_s=stalled_s, rate=rate)
    print(json.dumps(report, indent=1) if as_json else _lines(report))


def flow(folder: Path, messages: int) -> dict[str, Any]:
    """RSS over so many messages."""
    warm_up = int(messages * WARM_UP)
    with feed("sender", str(messages), str(PAYLOAD_BYTES)) as feeding:
        place = Place(int(next_line(feeding.stdout)), folder)
        with collectors(place, protocol=PROTOCOL, messages=messages) as collector:
            next_line(feeding.stdout, "ready")
            watch = Watch(collector, folder / "counts")
            go(feeding)
            samples = watch.until(lambda: watch.messages >= messages)
    settled = [each.rss_mb for each in samples if each.messages >= warm_up]
    grown_mb = round(max(settled) - settled[0], 1)
    return {
        "messages": messages,
        "warm_up_messages": warm_up,
        "seconds": samples[-1].at_s,
        "rss_mb": {"start": samples[0].rss_mb, "warm": settled[0], "least": min(settled), "most": max(settled)},
        "grown_mb": grown_mb,
        "target": f"<= {FLAT_MB}",
        "holds": max(settled) - min(settled) <= FLAT_MB,
        "samples": [asdict(each) for each in _thinned(samples)],
    }


def stall(folder: Path, *, stalled_s: float, rate: int) -> dict[str, Any]:
    """RSS before, while and after nothing can be written, with messages published all the time."""
    warm_up, paced = rate * 30, int(rate * stalled_s * 2.2)
    total = warm_up + paced + 1  # and the one that tells of the subscription
    with (
        ConfiguredBroker(folder, QUEUES_ALL) as broker,
        collectors(
            Place(broker.port, folder, broker.username, broker.password),
            protocol=PROTOCOL,
            messages=total,
            MQTT_RECONNECT_MAX="2",  # the more attempts, the more there is to hold
        ) as collector,
    ):
        wait_until_subscribed(broker, collector)
        watch, pid = Watch(collector, folder / "counts"), collector.processes[0].pid
        with publisher(broker, Case("stall", COLLECTOR, PROTOCOL, warm_up)) as feeding:  # as fast as it can
            next_line(feeding.stdout, "ready")
            go(feeding)
            # Recovery and catching up take memory once, and keep it: a short stall belongs to the warm-up.
            with _no_disk(pid):
                watch.until(_after(stalled_s / 20), may_be_silent=True)
            watch.until(lambda: watch.messages > warm_up)
        with publisher(broker, Case("stall", COLLECTOR, PROTOCOL, paced), rate=rate) as feeding:
            next_line(feeding.stdout, "ready")
            go(feeding)
            before = watch.until(_after(stalled_s / 2))
            with _no_disk(pid):
                during = watch.until(_after(stalled_s), may_be_silent=True)
            after = watch.until(lambda: watch.messages >= total)
    most_mb = {name: max(each.rss_mb for each in part) for name, part in _parts(before, during, after)}
    return {
        "messages": total,
        "rate": rate,
        "stalled_s": stalled_s,
        "staged_while_stalled": during[-1].messages - during[0].messages,
        "caught_up_s": round(after[-1].at_s - after[0].at_s, 1),
        "rss_mb": most_mb,
        "grown_mb": round(max(most_mb.values()) - most_mb["before"], 1),
        "target": f"<= {FLAT_MB}",
        "holds": max(most_mb.values()) - most_mb["before"] <= FLAT_MB,
        "samples": [asdict(each) for _, part in _parts(before, during, after) for each in _thinned(part)],
    }


@contextmanager
def _no_disk(pid: int) -> Iterator[None]:
    """Each write of that process fails meanwhile, as on a full disk. Nobody needs to be root for it."""
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def _parts(*parts: list[Sample]) -> list[tuple[str, list[Sample]]]:
    return list(zip(("before", "during", "after"), parts, strict=True))


def _after(seconds: float) -> Callable[[], bool]:
    until_s = time.monotonic() + seconds
    return lambda: time.monotonic() >= until_s


def _thinned(samples: list[Sample]) -> list[Sample]:
    return samples[:: max(1, len(samples) // 20)]


def _folder(scratch: str, name: str) -> Path:
    folder = Path(scratch) / name
    folder.mkdir()
    return folder


def _lines(report: dict[str, Any]) -> str:
    lines = ["; ".join(f"{name}: {value}" for name, value in report["machine"].items())]
    for name in PARTS:
        if part := report.get(name):
            shown = {key: value for key, value in part.items() if key != "samples"}
            lines.append(f"{name}: " + "; ".join(f"{key}: {value}" for key, value in shown.items()))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
