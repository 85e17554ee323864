"""How fast messages become durable: this collector, mosquitto_sub and two plain paho scripts, on the same broker.

`python -m benchmarks.ingest [--json] [--messages N] [--runs N]`. QoS 1, payloads of 150 bytes, fsync on, MQTT 3.1.1 and
5, all on loopback. mosquitto_sub writes nothing: it is what a subscriber in C costs without keeping anything.
"""

import json
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from benchmarks.measure import PROTOCOLS, SUBSCRIBERS, Run, beside_broker, collector_alone, publisher_alone
from benchmarks.publisher import PAYLOAD_BYTES
from sensor_platform.embedded.broker import find_mosquitto

#: The slow ones show their rate with fewer messages.
SHARE = {"paho_grouped": 0.25, "paho_each": 0.02}
ALONE = "collector, sender only"


@dataclass(frozen=True, slots=True)
class Figures:
    """The medians of one alternative's runs, and the runs."""

    subscriber: str
    protocol: str
    messages: int
    messages_per_s: float
    cpu_us_per_message: float
    runs: list[Run]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON value on stdout instead of a table.")
@click.option("--messages", default=100_000, show_default=True, type=click.IntRange(1), help="Messages a run.")
@click.option("--runs", default=3, show_default=True, type=click.IntRange(1), help="Runs of each alternative.")
def main(as_json: bool, messages: int, runs: int) -> None:
    """Measure the way from the broker to the disk."""
    if not find_mosquitto() or not shutil.which("mosquitto_sub"):
        raise click.ClickException("mosquitto, mosquitto_sub: apt-get install mosquitto mosquitto-clients")
    with tempfile.TemporaryDirectory(prefix="benchmark-ingest-") as scratch:
        report = measure(Path(scratch), messages=messages, runs=runs)
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        show(report)


def measure(scratch: Path, *, messages: int, runs: int) -> dict[str, Any]:
    """Everything, in turns, so that what else the machine does hurts all alike."""
    measured: dict[tuple[str, str, int], list[Run]] = defaultdict(list)
    publisher: list[float] = []
    found = machine(scratch)
    for number in range(runs):
        publisher.append(publisher_alone(_folder(scratch), messages))
        for protocol in PROTOCOLS:
            print(f"run {number + 1} of {runs}, MQTT {protocol}", file=sys.stderr)
            for name in SUBSCRIBERS:
                count = max(1, int(messages * SHARE.get(name, 1)))
                measured[name, protocol, count].append(beside_broker(name, _folder(scratch), protocol, count))
            measured[ALONE, protocol, messages].append(collector_alone(_folder(scratch), protocol, messages))
    figures = [_figures(*key, runs) for key, runs in measured.items()]
    return {
        "machine": found,
        "conditions": {"messages": messages, "runs": runs, "payload_bytes": PAYLOAD_BYTES, "qos": 1, "fsync": True},
        "publisher_alone": {"messages_per_s": round(statistics.median(publisher)), "runs": publisher},
        "results": [asdict(each) for each in figures],
        "ratios": list(ratios(figures)),
    }


def ratios(figures: Iterable[Figures]) -> Iterator[dict[str, object]]:
    """The collector beside the broker divided by each other one there: a rate above 1 and a cost below 1 are better."""
    of = {(each.subscriber, each.protocol): each for each in figures if each.subscriber != ALONE}
    for (name, protocol), other in of.items():
        ours = of["collector", protocol]
        if other is not ours:
            yield {
                "collector_to": name,
                "protocol": protocol,
                "messages_per_s": round(ours.messages_per_s / other.messages_per_s, 2),
                "cpu_us_per_message": round(ours.cpu_us_per_message / other.cpu_us_per_message, 2)
                if other.cpu_us_per_message
                else None,  # too few messages for the clock
            }


def _figures(name: str, protocol: str, messages: int, runs: list[Run]) -> Figures:
    return Figures(
        subscriber=name,
        protocol=protocol,
        messages=messages,
        messages_per_s=round(statistics.median(run.messages_per_s for run in runs)),
        cpu_us_per_message=round(statistics.median(run.cpu_us_per_message for run in runs), 2),
        runs=runs,
    )


def _folder(scratch: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=scratch))


def show(report: dict[str, Any]) -> None:
    """The same for people."""
    table = Table("subscriber", "MQTT", "messages/s", "CPU µs/message", "collector ÷ this, rate", "CPU")
    ratio = {(each["collector_to"], each["protocol"]): each for each in report["ratios"]}
    for each in report["results"]:
        to = ratio.get((each["subscriber"], each["protocol"]), {})
        shares = [str(to.get(key) or "") for key in ("messages_per_s", "cpu_us_per_message")]
        row = (each["subscriber"], each["protocol"], f"{each['messages_per_s']:,}", str(each["cpu_us_per_message"]))
        table.add_row(*row, *shares)
    console = Console(width=120)
    console.print("; ".join(f"{name}: {value}" for name, value in report["machine"].items()), highlight=False)
    console.print(f"publisher without a subscriber: {report['publisher_alone']['messages_per_s']:,} messages/s")
    console.print(table)


if __name__ == "__main__":
    main()
