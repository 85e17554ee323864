"""`sensor-platform demo`: the whole platform, a simulated plant, and an account of every message."""

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

if TYPE_CHECKING:
    from sensor_platform.simulator.demo import Outcome, Progress

#: Where no terminal shows a live line, a line is logged so often.
LOG_EVERY_S = 10


@click.command()
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    default=120,
    show_default=True,
    help="Seconds of publishing, from ready.",
)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), default=500, show_default=True, help="Messages/s.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with every figure.")
def demo(duration: float, rate: float, as_json: bool) -> None:
    """Start the platform, feed it a simulated plant and account for every message.

    Each message carries an id; at the end each confirmed one is looked up in staging, metric tables and dead letters.
    Exit code 1 unless every one is there exactly once.
    """
    from sensor_platform.cli.platform import links, say, stop_signals
    from sensor_platform.embedded.platform import Platform
    from sensor_platform.settings import load_settings
    from sensor_platform.simulator.demo import Demo

    stop = stop_signals()
    settings = load_settings()
    say(f"starting in {settings.home}")
    with Platform(settings, on_event=say) as platform:
        if not platform.wait_ready(unless=stop):
            sys.exit(1)
        token = Path(platform.running.token_file).read_text(encoding="utf-8").strip()
        say("\n".join(["ready", *links(platform.running, token=token)]))
        with _ProgressLine() as line:
            outcome = Demo(
                platform.settings,
                dagster_url=platform.running.dagster_url,
                duration_s=duration,
                rate=rate,
                stop=stop,
                check=platform.check,
                on_progress=line.show,
            ).run()
        _print(outcome, as_json=as_json)
        say("stopping")
    sys.exit(1 if outcome.problems else 0)


def _print(outcome: "Outcome", *, as_json: bool) -> None:
    from sensor_platform.cli.output import emit_json, print_table

    if as_json:
        emit_json(outcome.figures)
    else:
        rows = [{"figure": name, "value": _worded(value)} for name, value in outcome.figures.items()]
        print_table(rows, ["figure", "value"])
    for problem in outcome.problems:
        click.echo(f"sensor-platform: {problem}", err=True)
    if outcome.good_refused:
        # Accounted for, and so no failure; but nobody should have to find out by chance.
        click.echo(
            f"{outcome.good_refused} good messages were refused by your routes, limits or transformers: "
            "see `sensor-platform dead-letters list`",
            err=True,
        )
    if not outcome.problems:
        click.echo("every confirmed message is accounted for, none twice", err=True)


def _worded(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    return f"{value:.1f}" if isinstance(value, float) else str(value)


class _ProgressLine(AbstractContextManager["_ProgressLine"]):
    """A live line on a terminal, a line now and then in a log file."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.status import Status

        console = Console(stderr=True)
        self._status = Status("publishing", console=console) if console.is_terminal else None
        self._shown = 0

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()

    def show(self, progress: "Progress") -> None:
        text = (
            f"{progress.phase}, {progress.left_s:.0f} s left: {progress.rate:.0f} messages/s, "
            f"{progress.published} published, {progress.staged} staged, {progress.loaded} loaded, "
            f"{progress.dead_letters} with dead letters"
        )
        if self._status:
            self._status.update(text)
        elif self._shown % LOG_EVERY_S == 0:
            click.echo(text, err=True)
        self._shown += 1
