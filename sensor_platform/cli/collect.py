"""`sensor-platform collect`: the collector as a process of its own."""

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sensor_platform.settings import Settings


class _Collect(click.Command):
    """Its help ends with the table of exit codes."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from sensor_platform.errors import TROUBLES

        with formatter.section("Exit codes with --once-connected-or-fail, and 78 for bad configuration"):
            formatter.write_dl([(str(code), f"{kind}: {meaning}") for kind, (code, meaning) in TROUBLES.items()])


@click.command(cls=_Collect)
@click.option("--unmanaged", is_flag=True, help="Collect whatever the control row in the database says.")
@click.option("--collector", "name", default="c0", show_default=True, help="Name; the first part of its files' names.")
@click.option(
    "--once-connected-or-fail",
    is_flag=True,
    help="End with the first error that comes before it is connected and subscribed; the exit code tells its kind.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    help="Start so many collectors that share the messages: c0, c1, ... or NAME-0, NAME-1, ... with --collector NAME.",
)
@click.option("--leave", is_flag=True, help="Take what the broker still has for this collector, end its session, exit.")
def collect(unmanaged: bool, name: str, once_connected_or_fail: bool, workers: int | None, leave: bool) -> None:
    """Run the collector alone.

    It stages what the broker sends and acknowledges it, until SIGTERM or Ctrl-C: then it drains, seals and disconnects.
    A second signal, or an end that takes longer than MQTT_STOP_TIMEOUT, ends it at once with exit code 1; nothing
    acknowledged is lost by that.

    Without --once-connected-or-fail it tries again whatever stands in the way.
    """
    from sensor_platform.cli.stopping import stop_on_signals
    from sensor_platform.embedded.run_file import resolved
    from sensor_platform.errors import TROUBLES, SensorPlatformError
    from sensor_platform.log import set_up_logging
    from sensor_platform.mqtt.collector import Collector
    from sensor_platform.settings import load_settings

    if workers is not None and (leave or once_connected_or_fail):
        raise click.UsageError("--workers goes with neither --leave nor --once-connected-or-fail")
    set_up_logging()
    settings = resolved(load_settings())
    if workers is not None:
        _run_workers(settings, workers, name=name, unmanaged=unmanaged)
        return
    database_url = settings.database_url.get_secret_value() if settings.database_url else None
    collector = Collector(
        settings,
        database_url=database_url,
        managed=not unmanaged,
        name=name,
        once_connected_or_fail=once_connected_or_fail,
        leave=leave,
    )
    stop_on_signals(collector.request_stop, within_s=settings.mqtt.stop_timeout_s)
    try:
        with collector:
            collector.run()
    except SensorPlatformError as err:
        if err.kind not in TROUBLES:
            raise
        click.echo(f"sensor-platform: {err.kind}: {err}", err=True)
        sys.exit(TROUBLES[err.kind][0])


def _run_workers(settings: "Settings", count: int, *, name: str, unmanaged: bool) -> None:
    from sensor_platform.embedded.workers import Workers

    options = ["--unmanaged"] if unmanaged else []
    Workers(settings, count, name=name, options=options, on_event=lambda text: click.echo(text, err=True)).run()
