"""How `publish`, `replay` and `simulate` end: the counts, and exit code 1 where messages were not kept by anybody."""

import sys
from typing import TYPE_CHECKING

import click

from sensor_platform.cli.output import emit_json

if TYPE_CHECKING:
    from sensor_platform.mqtt.publisher import Published


def finish(published: "Published", *, what: str, as_json: bool, confirmable: bool = True) -> None:
    """Prints the counts and ends the command: exit code 1 unless all was confirmed."""
    if as_json:
        counts = ("published", "confirmed", "unmatched")
        emit_json({name: getattr(published, name) for name in counts})
    else:
        click.echo(f"{published.published} published, {published.confirmed} confirmed", err=True)
    if published.unmatched:
        say_unmatched(published.unmatched, published.published, what=what)
    sys.exit(1 if confirmable and not published.complete else 0)


def say_unmatched(unmatched: int, published: int, *, what: str) -> None:
    """Why that is a failure, and what to look at."""
    click.echo(
        f"sensor-platform: {what}: nobody subscribed to {unmatched} of {published} messages, "
        "nothing has kept them. Does a collector run, and does a route match?",
        err=True,
    )
