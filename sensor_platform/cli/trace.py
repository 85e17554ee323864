"""`sensor-platform trace`: from a number to its bytes."""

from datetime import datetime

import click

from sensor_platform.cli.connecting import Time, command_database, command_settings
from sensor_platform.cli.connecting import as_json as json_option


@click.command(help="Show the bytes that a reading came from.")
@click.argument("sensor")
@click.argument("metric")
@click.argument("time", type=Time())
@json_option
def trace(sensor: str, metric: str, time: datetime, as_json: bool) -> None:
    """Shows every reading of METRIC of SENSOR at TIME with its message; exit 1 when there is none."""
    from sensor_platform.cli.output import emit_json, iso, print_table
    from sensor_platform.pipeline.readings import trace as trace_reading
    from sensor_platform.staging.store import open_staging

    settings = command_settings()
    with command_database(settings) as database:
        found = trace_reading(database, open_staging(settings), sensor, metric, time)
    if as_json:
        emit_json(found)
    for one in () if as_json else found:
        reading = one.pop("reading")
        rows = [{"what": name, "is": value} for name, value in {**reading, **one}.items()]
        print_table(rows, ["what", "is"])
    if not found:
        click.echo(f"{sensor} has no reading of {metric} at {iso(time)}.", err=True)
        raise SystemExit(1)
