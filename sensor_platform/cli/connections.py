"""`sensor-platform connections`: when the collectors' connections came and went, and why."""

from collections.abc import Mapping
from typing import Any

import click

from sensor_platform.cli.connecting import as_json as json_option
from sensor_platform.cli.connecting import command_database, command_settings


@click.command()
@click.option("--collector", help="Of this one only.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="The newest so many.")
@json_option
def connections(collector: str | None, limit: int, as_json: bool) -> None:
    """List connections made, lost, closed and failed, the newest first."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.health.connections import listed

    with command_database(command_settings()) as database:
        rows = listed(database, collector=collector, limit=limit)
    if as_json:
        emit_json(rows)
    elif rows:
        print_table([_in_short(row) for row in rows], ("at", "collector", "event", "what"))
    else:
        click.echo("no connection has been made yet", err=True)


def _in_short(row: Mapping[str, Any]) -> dict[str, str]:
    """What fits into 80 columns; `--json` has all of it."""
    from sensor_platform.cli.output import iso

    if row["event"] == "connected":
        session = "session present" if row["session_present"] else "new session"
        what = f"{row['broker']}, MQTT {row['protocol']}, {session}"
    else:
        what = f"{row['kind']}: {row['reason']}"
    at = iso(row["at"].replace(microsecond=0)).replace("T", " ")
    return {"at": at, "collector": row["collector"], "event": row["event"], "what": what}
