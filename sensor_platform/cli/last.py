"""`sensor-platform last`: the newest reading of each series, with its age and quality."""

from datetime import UTC, datetime

import click

from sensor_platform.cli.connecting import as_json as json_option
from sensor_platform.cli.connecting import command_database, command_settings


@click.command(help="Print the last value of each series, with its age.")
@click.option("--sensor", help="Only this sensor: WORK_UNIT/NAME, or NAME where it is unique.")
@click.option("--metric", help="Only this metric.")
@json_option
def last(sensor: str | None, metric: str | None, as_json: bool) -> None:
    """Prints a row a series, by name."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.pipeline.last import COLUMNS, last_values

    with command_database(command_settings()) as database:
        rows = last_values(database, now=datetime.now(UTC), sensor=sensor, metric=metric)
    if as_json:
        emit_json(rows)
    else:
        print_table(rows, COLUMNS)
