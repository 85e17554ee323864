"""`sensor-platform simulate`: the messages of a simulated plant, for a while or until Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from sensor_platform.cli.published import finish

if TYPE_CHECKING:
    from sensor_platform.simulator.fleet import Fleet


@click.command()
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), default=100, show_default=True, help="Messages/s.")
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), help="Seconds; without it, until Ctrl-C.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed is another plant.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: published, confirmed, unmatched.")
def simulate(rate: float, duration: float | None, seed: int, as_json: bool) -> None:
    """Publish the messages of a simulated plant: presses, a paint line, an assembly line.

    About two in a hundred are rubbish or partial, and two are exact repeats: what real plants send.
    """
    from sensor_platform.embedded.run_file import resolved
    from sensor_platform.mqtt.publisher import Publisher
    from sensor_platform.settings import load_settings
    from sensor_platform.simulator.fleet import Fleet

    stop = threading.Event()
    with Publisher(resolved(load_settings())) as publisher:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        click.echo("publishing" + ("; Ctrl-C ends it" if duration is None else f" for {duration:g} s"), err=True)
        timer = _stop_after(duration, stop)
        try:
            published = publisher.publish_all(_pairs(Fleet(seed=seed)), rate=rate, stop=stop)
        finally:
            if timer:
                timer.cancel()
    finish(published, what="the fleet's topics", as_json=as_json)


def _pairs(fleet: "Fleet") -> Iterator[tuple[str, bytes]]:
    return ((message.topic, message.payload) for message in fleet.messages())


def _stop_after(duration: float | None, stop: threading.Event) -> threading.Timer | None:
    if duration is None:
        return None
    timer = threading.Timer(duration, stop.set)
    timer.daemon = True
    timer.start()
    return timer
