"""What it costs that the broker keeps what it took: deploy/mosquitto.conf beside the stock settings.

`python -m benchmarks.broker [--json] [--rounds 5] [--messages 100000] [--quick]`. The publish rate that each
confirms, at QoS 1: while a subscriber takes the messages at once; while the session of one that is away keeps them,
which is when there is something to write; and how many of those it has when it comes back. *on_changes* is
deploy/mosquitto.conf with `autosave_on_changes true`, which loses less when the broker is killed.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.brokers import ConfiguredBroker
from benchmarks.cases import IN_C, Case
from benchmarks.machine import machine
from benchmarks.measure import publisher, wait_until_subscribed
from benchmarks.processes import ROOT, go, next_line
from benchmarks.publisher import TOPIC
from benchmarks.subscribers import Place, subscriber

#: Of deploy/mosquitto.conf: what a broker of one run has from us.
OURS = ("per_listener_settings", "allow_anonymous", "password_file", "listener", "cafile", "certfile", "keyfile")
#: It is slow: it writes all that is queued at each turn of the loop.
ON_CHANGES_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Rates:
    """What one configuration confirmed, once. `kept`: the share that the absent subscriber got when it came back."""

    present_per_s: float
    absent_per_s: float
    kept: float


def configurations() -> dict[str, str]:
    """Settings by name. The stock ones are those of mosquitto itself: none."""
    text = (ROOT / "deploy" / "mosquitto.conf").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", "persistence_location", *OURS))]
    deployed = "\n".join(lines)
    on_changes = deployed.replace("autosave_on_changes false", "autosave_on_changes true")
    return {"stock": "", "deploy/mosquitto.conf": deployed, "on_changes": on_changes}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON value on stdout instead of lines.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Runs of each configuration.")
@click.option("--messages", default=100_000, show_default=True, type=click.IntRange(10), help="Messages a run.")
@click.option("--quick", is_flag=True, help="One round of 2,000 messages: shows that it runs, measures nothing.")
def main(as_json: bool, rounds: int, messages: int, quick: bool) -> None:
    """Measure what durability costs the broker."""
    if quick:
        rounds, messages = 1, 2000
    runs: dict[str, list[Rates]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="benchmark-broker-") as scratch:
        found = machine(Path(scratch))
        for number in range(rounds):
            for name, settings in configurations().items():
                print(f"round {number + 1}/{rounds}: {name}", file=sys.stderr)
                count = int(messages * ON_CHANGES_SHARE) if name == "on_changes" else messages
                runs[name].append(_rates(settings, Path(scratch), count))
    report = {
        "machine": found,
        "conditions": {"messages": messages, "rounds": rounds, "qos": 1, "payload_bytes": 150},
        "results": {
            name: {**_median(of_name), "runs": [asdict(one) for one in of_name]} for name, of_name in runs.items()
        },
    }
    print(json.dumps(report, indent=1) if as_json else _lines(report))


def _rates(settings: str, scratch: Path, messages: int) -> Rates:
    case = Case("broker", IN_C, "3.1.1", messages)
    with tempfile.TemporaryDirectory(dir=scratch) as folder, ConfiguredBroker(Path(folder), settings) as broker:
        place = Place(broker.port, Path(folder), broker.username, broker.password)
        with subscriber(case, place, messages=messages + 1) as subscribing:
            wait_until_subscribed(broker, subscribing)
            present_s = _published_s(broker, case)
        _fetch(place, "-E")  # ends once it has subscribed: from here on the session is away
        absent_s = _published_s(broker, case)
        kept = _fetch(place, "-W", "5", "-C", str(messages))
    return Rates(round(messages / present_s), round(messages / absent_s), round(kept / messages, 3))


def _published_s(broker: ConfiguredBroker, case: Case) -> float:
    with publisher(broker, case) as feeding:
        next_line(feeding.stdout, "ready")
        go(feeding)
        return float(next_line(feeding.stdout))


def _fetch(place: Place, *options: str) -> int:
    """Messages that the persistent session had."""
    login = ["-h", "127.0.0.1", "-p", str(place.port), "-u", place.username, "-P", place.password]
    command = ["mosquitto_sub", *login, "-c", "-i", "absent", "-q", "1", "-t", TOPIC, *options]
    return subprocess.run(command, capture_output=True, timeout=120, check=False).stdout.count(b"\n")


def _median(runs: list[Rates]) -> dict[str, float]:
    rows = [asdict(one) for one in runs]
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def _lines(report: dict[str, Any]) -> str:
    lines = ["; ".join(f"{name}: {value}" for name, value in report["machine"].items())]
    for name, each in report["results"].items():
        lines.append(
            f"{name}: confirms {each['present_per_s']:,.0f} messages/s beside a subscriber, "
            f"{each['absent_per_s']:,.0f} while it is away, and keeps {each['kept']:.1%} of those for it"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
