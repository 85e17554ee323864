"""`sensor-platform alerts`: what fires, and what fired."""

from datetime import datetime
from typing import Any

import click

COLUMNS = ("id", "state", "rule", "subject", "value", "threshold", "pending_since", "fired_at", "resolved_at", "detail")


@click.group()
def alerts() -> None:
    """List alerts."""


@alerts.command("list")
@click.option("--all", "ended", is_flag=True, help="Also alerts that have ended.")
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1), help="The newest so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON value on stdout.")
def list_alerts(ended: bool, limit: int, as_json: bool) -> None:
    """Alerts that are pending or firing, the newest first."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.database.engine import connect_database
    from sensor_platform.embedded.run_file import resolved
    from sensor_platform.health.alerts import listed
    from sensor_platform.settings import load_settings

    with connect_database(resolved(load_settings())) as database:
        rows = [{name: _plain(row[name]) for name in COLUMNS} for row in listed(database, ended=ended, limit=limit)]
    if as_json:
        emit_json(rows)
    elif rows:
        print_table(rows, [name for name in COLUMNS if ended or name != "resolved_at"])
    else:
        click.echo("no alert has fired" if ended else "no alert is pending or firing", err=True)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
