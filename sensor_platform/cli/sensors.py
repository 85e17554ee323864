"""`sensor-platform sensors`: what was registered on first sight, and what people know better."""

from typing import Any

import click

from sensor_platform.cli.connecting import as_json as json_option
from sensor_platform.cli.connecting import command_database, command_settings

COLUMNS = ("work_unit", "sensor", "metric", "unit", "minimum", "maximum", "conflicts", "description", "parent")


@click.group(help="List sensors, set their limits and their work units.")
def sensors() -> None:
    """Everything about sensors and places."""


@sensors.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List every series: a metric of a sensor, with its unit and limits."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.pipeline.registry import list_series

    with command_database(command_settings()) as database:
        rows = list_series(database)
    if as_json:
        emit_json(rows)
    else:
        print_table(rows, COLUMNS)


@sensors.command("set")
@click.argument("sensor")
@click.option("--description", help="For people.")
@click.option("--metric", help="The series that the limits and the unit are for.")
@click.option("--minimum", type=float, help="Readings below are refused; nan takes the limit away.")
@click.option("--maximum", type=float, help="Readings above are refused; nan takes the limit away.")
@click.option("--unit", help="Stored values are converted to it; readings of other units are converted too.")
def set_command(sensor: str, description: str | None, metric: str | None, **values: Any) -> None:
    """Set what is known of SENSOR. Limits hold for what is loaded from now on, and for hours loaded again."""
    from sensor_platform.pipeline.registry import set_sensor

    limits = {name: value for name, value in values.items() if value is not None}
    if limits and metric is None:
        raise click.UsageError(f"--{next(iter(limits))} needs --metric")
    if not limits and description is None:
        raise click.UsageError("nothing to set: give --description, --minimum, --maximum or --unit")
    with command_database(command_settings()) as database:
        set_sensor(database, sensor, description=description, metric=metric, **limits)
    click.echo(f"{sensor} is set.", err=True)


@sensors.command("work-unit")
@click.argument("name")
@click.option("--parent", required=True, help="The place that holds it; an empty text for none. Made when new.")
def work_unit(name: str, parent: str) -> None:
    """Say where work unit NAME lies in the plant."""
    from sensor_platform.pipeline.registry import set_parent

    with command_database(command_settings()) as database:
        set_parent(database, name, parent or None)
    click.echo(f"{name} lies in {parent}." if parent else f"{name} lies in no other place.", err=True)
