"""`sensor-platform routes discover`: listens on the broker and proposes a route file for what it sees."""

import re
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sensor_platform.cli.connecting import as_json as json_option
from sensor_platform.cli.connecting import command_settings

if TYPE_CHECKING:
    from sensor_platform.discovery.listen import Heard
    from sensor_platform.discovery.proposal import Proposal

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


class Duration(click.ParamType[float]):
    """`60s`, `5m`, `1h`, `500ms`; a number alone is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|)", str(value))
        if found is None or not float(found[1]):
            self.fail(f"{value!r} is not a duration, such as 60s, 5m or 1h", param, ctx)
        return float(found[1]) * SECONDS[found[2]]


@click.command()
@click.option("--for", "for_s", type=Duration(), default="60s", show_default=True, help="How long to listen.")
@click.option("--filter", "filters", multiple=True, default=("#",), show_default=True, help="May be repeated.")
@click.option(
    "--max-messages", type=click.IntRange(min=1), default=100_000, show_default=True, help="Then it stops listening."
)
@click.option("--output", type=click.Path(path_type=Path), help="Write the route file here; it must not exist.")
@json_option
def discover(*, for_s: float, filters: tuple[str, ...], max_messages: int, output: Path | None, as_json: bool) -> None:
    """Listen on the broker and propose a route file for what is published there.

    It has a session of its own, at QoS 0, and changes nothing. Topics of one shape become one route; levels that vary
    become captures. Each route is tried on the messages that were seen: its confidence is the share that decodes.
    Retained messages are seen too; $SYS is not. The proposal goes to standard output: read it before you use it.
    Ctrl-C ends the listening early.
    """
    from sensor_platform.discovery.proposal import propose
    from sensor_platform.discovery.render import route_file
    from sensor_platform.errors import SensorPlatformError

    if output is not None and output.exists():
        raise SensorPlatformError(f"{output}: there is such a file already: nothing is written over")
    heard = _listen(filters, for_s, max_messages)
    proposal = propose(heard)
    text = route_file(proposal, _heading(heard, filters))
    _check(proposal, text)
    if output is not None:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    if as_json:
        _emit(heard, proposal, text)
    elif output is None:
        click.echo(text, nl=False)
    _say(heard, proposal, output)
    if not proposal.routes:
        raise SystemExit(1)


def _listen(filters: tuple[str, ...], for_s: float, max_messages: int) -> "Heard":
    from sensor_platform.discovery.listen import Limits, listen
    from sensor_platform.mqtt.connection import endpoint
    from sensor_platform.routes.filters import parse_filter

    for each in filters:
        try:
            parse_filter(each)
        except ValueError as err:
            raise click.UsageError(f'--filter "{each}": {err}') from err
    settings = command_settings()
    stop = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        click.echo(f"listening on {endpoint(settings.mqtt)} for {for_s:g} s; Ctrl-C ends it early", err=True)
        return listen(settings.mqtt, filters, for_s=for_s, limits=Limits(messages=max_messages), stop=stop)
    finally:
        signal.signal(signal.SIGINT, before)


def _heading(heard: "Heard", filters: tuple[str, ...]) -> str:
    return (
        f"Proposed by `sensor-platform routes discover` from {heard.messages} messages on {len(heard.topics)} topics"
        f" of {', '.join(filters)}.\n"
        "A guess: read it, give routes and metrics better names, take out what you do not want."
    )


def _check(proposal: "Proposal", text: str) -> None:
    """What is printed is a route file."""
    from sensor_platform.routes.file import parse_routes

    if proposal.routes:
        parse_routes(text, source="the proposal")


def _emit(heard: "Heard", proposal: "Proposal", text: str) -> None:
    from sensor_platform.cli.output import emit_json
    from sensor_platform.discovery.render import definition, sample_text

    emit_json(
        {
            "messages": heard.messages,
            "not_kept": heard.not_kept,
            "topics": len(heard.topics),
            "routes": [
                {
                    **definition(each.route),
                    "confidence": each.confidence,
                    "messages": each.messages,
                    "topics": list(each.topics),
                    "sample": sample_text(each.sample),
                    "time": None if each.time is None else str(each.time),
                    "notes": list(each.notes),
                }
                for each in proposal.routes
            ],
            "unrecognised": [
                {"topic": each.topic, "messages": each.messages, "why": each.why, "sample": sample_text(each.sample)}
                for each in proposal.unrecognised
            ],
            "yaml": text,
        }
    )


def _say(heard: "Heard", proposal: "Proposal", output: Path | None) -> None:
    where = f" in {output}" if output is not None else ""
    click.echo(
        f"{heard.messages} messages on {len(heard.topics)} topics: {len(proposal.routes)} routes proposed{where},"
        f" {len(proposal.unrecognised)} topics not recognised",
        err=True,
    )
    if heard.not_kept:
        click.echo(f"{heard.not_kept} messages were not looked at: too many topics or bytes. Use --filter.", err=True)
    if not heard.messages:
        click.echo("nothing was published: listen longer with --for, or elsewhere with --filter", err=True)
    sys.stderr.flush()
