"""`sensor-platform alerts`: what fires, and what fired."""

import click

from sensor_platform.cli.connecting import as_json as json_option
from sensor_platform.cli.connecting import command_database, command_settings

COLUMNS = ("id", "state", "rule", "subject", "value", "threshold", "pending_since", "fired_at", "resolved_at", "detail")


@click.group()
def alerts() -> None:
    """List alerts."""


@alerts.command("list")
@click.option("--all", "ended", is_flag=True, help="Also alerts that have ended.")
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1), help="The newest so many.")
@json_option
def list_alerts(ended: bool, limit: int, as_json: bool) -> None:
    """Alerts that are pending or firing, the newest first."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.health.alerts import listed

    with command_database(command_settings()) as database:
        rows = listed(database, ended=ended, limit=limit)
    if as_json:
        emit_json(rows)
    elif rows:
        print_table(rows, [name for name in COLUMNS if ended or name != "resolved_at"])
    else:
        click.echo("no alert has fired" if ended else "no alert is pending or firing", err=True)
