"""`up`: every part of the platform, until Ctrl-C or SIGTERM."""

import signal
import threading
from types import FrameType
from urllib.parse import urlsplit

import click

from sensor_platform.embedded.run_file import Running


def say(line: str) -> None:
    """Words go to stderr."""
    click.echo(line, err=True)


def links(running: Running, *, token: str) -> list[str]:
    """What to open, for a person. No password; the token stands in the fragment, which reaches no server's log."""
    from sqlalchemy import make_url

    broker = urlsplit(running.mqtt_url)
    user = running.mqtt_username or broker.username
    broker = broker._replace(netloc=broker.netloc.rpartition("@")[2])
    return [
        f"  Dagster UI  {running.dagster_url}",
        f"  live page   {running.api_url}/#token={token}",
        f"  broker      {broker.geturl()}" + (f" (user {user})" if user else ""),
        f"  database    {make_url(running.database_url).render_as_string(hide_password=True)}",
    ]


@click.command()
@click.option("--dev", is_flag=True, hidden=True, help="Dagster's development server in place of its three parts.")
def up(dev: bool) -> None:
    """Start every part of the platform and keep it running.

    PostgreSQL and the broker come along unless DATABASE_URL and MQTT_BROKER_URL name yours. Ctrl-C or SIGTERM stops
    everything in order.
    """
    from pathlib import Path

    from sensor_platform.embedded.platform import Platform
    from sensor_platform.settings import load_settings

    stop = stop_signals()
    settings = load_settings()
    say(f"starting in {settings.home}")
    with Platform(settings, development=dev, on_event=say) as platform:
        if platform.wait_ready(unless=stop):
            token = Path(platform.running.token_file).read_text(encoding="utf-8").strip()
            say("\n".join(["ready", *links(platform.running, token=token)]))
            while not stop.wait(0.5):
                platform.check()
        say("stopping")
    say("stopped")


def stop_signals() -> threading.Event:
    """An event that Ctrl-C, SIGTERM and a closed terminal set."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, on_signal)
    return stop
