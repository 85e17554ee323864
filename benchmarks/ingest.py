"""How fast messages become durable: this collector beside the alternatives, same broker, same publisher.

`python -m benchmarks.ingest [--json] [--only PART]... [--rounds 5] [--messages N] [--workers 2] [--quick]`. QoS 1,
payloads of 150 bytes where nothing else is said, fsync on, MQTT 3.1.1 and 5, all on loopback. Each round measures each
case once, so that what else the machine does hurts all alike; the tables show medians.
"""

import json
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.cases import PARTS, Case, cases
from benchmarks.machine import machine
from benchmarks.measure import Run, run
from benchmarks.pathway import PathwayUnavailableError, pathway_python, pathway_version
from benchmarks.targets import Figures, verdicts
from sensor_platform.embedded.broker import find_mosquitto


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON value on stdout instead of tables.")
@click.option("--only", "parts", multiple=True, type=click.Choice(PARTS), help="This part; may be repeated.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Runs of each case.")
@click.option("--messages", default=200_000, show_default=True, type=click.IntRange(1), help="Messages a run.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Collectors that share a load.")
@click.option("--quick", is_flag=True, help="One round of 2,000 messages: shows that it runs, measures nothing.")
@click.option("--without-pathway", is_flag=True, help="Do not install and measure Pathway.")
def main(**options: Any) -> None:
    """Measure the way from the broker to the disk."""
    if not find_mosquitto() or not shutil.which("mosquitto_sub"):
        raise click.ClickException("mosquitto, mosquitto_sub: apt-get install mosquitto mosquitto-clients")
    as_json, quick = options.pop("as_json"), options.pop("quick")
    if quick:
        options |= {"rounds": 1, "messages": 2000}
    report = measure(**options)
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        show(report)


def measure(
    *, parts: tuple[str, ...], rounds: int, messages: int, workers: int, without_pathway: bool
) -> dict[str, Any]:
    """The report as JSON has it."""
    parts = parts or PARTS
    pathway = _pathway("comparison" in parts and not without_pathway)
    todo = cases(parts, messages=messages, workers=workers, with_pathway="version" in pathway)
    runs: dict[Case, list[Run]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="benchmark-ingest-") as scratch:
        found = machine(Path(scratch))
        for number in range(rounds):
            for place, case in enumerate(todo):
                print(f"round {number + 1}/{rounds}, {place + 1}/{len(todo)}: {_title(case)}", file=sys.stderr)
                runs[case].append(_once(case, Path(scratch)))
    figures = [_figures(case, of_case) for case, of_case in runs.items()]
    return {
        "machine": found,
        "conditions": {"messages": messages, "rounds": rounds, "qos": 1, "fsync": True, "payload_bytes": 150},
        "pathway": pathway,
        "results": [_result(each, runs[each.case]) for each in figures],
        "verdicts": [asdict(each) for each in verdicts(figures)],
    }


def _pathway(wanted: bool) -> dict[str, str]:
    if not wanted:
        return {"unavailable": "not asked for"}
    try:
        return {"version": pathway_version(pathway_python()), "protocols": "3.1.1 alone"}
    except PathwayUnavailableError as err:
        return {"unavailable": str(err)}


def _once(case: Case, scratch: Path) -> Run:
    """In a folder that is gone afterwards: a full run would leave gigabytes."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        return run(case, Path(folder))


def _figures(case: Case, runs: list[Run]) -> Figures:
    costs = [each.cpu_us_per_message for each in runs if each.cpu_us_per_message is not None]
    rate = statistics.median(each.messages_per_s for each in runs)
    return Figures(case, round(rate), round(statistics.median(costs), 2) if costs else None)


def _result(figures: Figures, runs: list[Run]) -> dict[str, Any]:
    rounded = [replace(each, messages_per_s=round(each.messages_per_s)) for each in runs]
    return {
        **asdict(figures.case),
        "messages_per_s": figures.messages_per_s,
        "cpu_us_per_message": figures.cpu_us_per_message,
        "runs": [asdict(each) for each in rounded],
    }


def _title(case: Case) -> str:
    workers = f", {case.workers} workers" if case.workers > 1 else ""
    return f"{case.part}, {case.subscriber}{workers}, MQTT {case.protocol}, {case.payload_bytes} B x {case.messages}"


def show(report: dict[str, Any]) -> None:
    """The same for people."""
    console = Console(width=120, highlight=False)
    console.print("; ".join(f"{name}: {value}" for name, value in report["machine"].items()))
    console.print("; ".join(f"pathway {name}: {value}" for name, value in report["pathway"].items()))
    table = Table("part", "subscriber", "MQTT", "payload, bytes", "workers", "messages/s", "CPU µs/message")
    for each in report["results"]:
        names = (each["part"], each["subscriber"], each["protocol"], str(each["payload_bytes"]), str(each["workers"]))
        table.add_row(*names, f"{each['messages_per_s']:,}", str(each["cpu_us_per_message"] or ""))
    console.print(table)
    table = Table("figure", "MQTT", "value", "target", "holds")
    for each in report["verdicts"]:
        holds = {True: "yes", False: "NO", None: ""}[each["holds"]]
        table.add_row(each["figure"], each["protocol"], str(each["value"]), each["target"] or "", holds)
    console.print(table)


if __name__ == "__main__":
    main()
