"""From publishing to the ledger's commit, with everything running, and what it costs in runs and in Dagster's history.

`python -m benchmarks.freshness [--json] [--duration 120] [--rate 500] [--rounds 1] [--quick]`. Each case is a
`sensor-platform demo` in a home of its own: at default settings, with micro-batches sealed after 1 s instead of 2, and
both with runs that take what is there and end, instead of staying for what comes meanwhile. Rounds measure the cases in
turn. What Dagster keeps is told of a day, before its history is pruned: a short demo says how much of it is there at
the start.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa

from benchmarks.machine import machine
from benchmarks.processes import ROOT
from sensor_platform.database.engine import Database
from sensor_platform.embedded.postgres import EmbeddedPostgres

DAY_S = 86_400
#: The demo's own limit for what is left when publishing stops, and time to start and stop.
MOST_S = 400

#: All that Dagster keeps: runs, events, ticks.
HISTORY = """
SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""
#: Seconds of the demo that shows what is there at the start.
START_S = 5.0


@dataclass(frozen=True, slots=True)
class Case:
    """`p95_s`: the target, in seconds; None where nothing is asked."""

    name: str
    settings: tuple[tuple[str, str], ...]
    p95_s: float | None


CASES = (
    Case("default", (), 8.0),
    Case("sealed after 1 s", (("MQTT_BUFFER_FLUSH_INTERVAL", "1000"),), 5.0),
    Case("runs that end", (("READINGS_RUN_STAYS_S", "0"),), None),
    Case(
        "sealed after 1 s, runs that end",
        (("MQTT_BUFFER_FLUSH_INTERVAL", "1000"), ("READINGS_RUN_STAYS_S", "0")),
        None,
    ),
)


def run(case: Case, folder: Path, *, duration_s: float, rate: float) -> dict[str, float]:
    """One demo, and how much Dagster has kept of it."""
    home = folder / "home"
    # Tables of its own, with a database that lasts after the demo: its server is started again to look.
    environment = {**os.environ, **dict(case.settings), "SENSOR_PLATFORM_HOME": str(home)}
    command = [sys.executable, "-m", "sensor_platform.cli", "demo", "--json"]
    options = ["--duration", str(duration_s), "--rate", str(rate)]
    done = subprocess.run(
        [*command, *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=duration_s + MOST_S,
        check=False,
    )
    if done.returncode:
        raise click.ClickException(f"{case.name}: the demo ended with {done.returncode}: {done.stderr[-2000:]}")
    figures = json.loads(done.stdout)
    with EmbeddedPostgres(home) as server, Database(server.url) as database, database.connect() as connection:
        history_bytes = float(connection.execute(sa.text(HISTORY)).scalar_one())
    return {
        "p50_s": figures["freshness_s"]["p50"],
        "p95_s": figures["freshness_s"]["p95"],
        "first_row_s": figures["first_row_s"],
        "runs_per_minute": figures["runs"] / duration_s * 60,
        "history_bytes": history_bytes,
    }


def measure(cases: Sequence[Case] = CASES, *, duration_s: float, rate: float, rounds: int) -> dict[str, Any]:
    """The report as JSON has it; medians."""
    seen: dict[str, list[dict[str, float]]] = {case.name: [] for case in cases}
    with tempfile.TemporaryDirectory(prefix="benchmark-freshness-") as scratch:
        found = machine(Path(scratch))
        print("start", file=sys.stderr)
        folder = Path(scratch) / "start"
        folder.mkdir()
        at_start = run(cases[0], folder, duration_s=START_S, rate=rate)["history_bytes"]
        for number in range(rounds):
            for place, case in enumerate(cases):
                print(f"round {number + 1}/{rounds}: {case.name}", file=sys.stderr)
                folder = Path(scratch) / f"{number}-{place}"
                folder.mkdir()
                seen[case.name].append(run(case, folder, duration_s=duration_s, rate=rate))
    medians = {
        name: {figure: round(statistics.median(one[figure] for one in runs), 2) for figure in runs[0]}
        for name, runs in seen.items()
    }
    for figures in medians.values():
        more = (figures.pop("history_bytes") - at_start) / max(1.0, duration_s - START_S)
        figures["history_mb_per_day"] = round(more * DAY_S / 1e6, 1)
    return {
        "machine": found,
        "duration_s": duration_s,
        "messages_per_s": rate,
        "rounds": rounds,
        "results": medians,
        "verdicts": [
            {
                "figure": f"p95_s, {case.name}",
                "value": medians[case.name]["p95_s"],
                "target": f"<= {case.p95_s}",
                "holds": medians[case.name]["p95_s"] <= case.p95_s,
            }
            for case in cases
            if case.p95_s is not None
        ],
    }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON value on stdout instead of lines.")
@click.option("--duration", "duration_s", default=120.0, show_default=True, help="Seconds of publishing, each.")
@click.option("--rate", default=500.0, show_default=True, help="Messages/s.")
@click.option("--rounds", default=1, show_default=True, type=click.IntRange(1))
@click.option("--quick", is_flag=True, help="Two cases, 5 s of 100 messages/s: measures nothing.")
def main(as_json: bool, duration_s: float, rate: float, rounds: int, quick: bool) -> None:
    """Measure freshness."""
    cases = CASES[::2] if quick else CASES
    if quick:
        duration_s, rate, rounds = 5.0, 100.0, 1
    report = measure(cases, duration_s=duration_s, rate=rate, rounds=rounds)
    if as_json:
        print(json.dumps(report, indent=1))
        return
    for name, figures in report["results"].items():
        print(f"{name:32} " + "  ".join(f"{figure} {value:,}" for figure, value in figures.items()))
    for verdict in report["verdicts"]:
        print(f"{verdict['figure']:32} {verdict['value']} target {verdict['target']}: {verdict['holds']}")


if __name__ == "__main__":
    main()
