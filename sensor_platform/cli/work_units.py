"""`sensor-platform work-units`: the places of the plant, and which lies in which (ISA-95)."""

import click

from sensor_platform.cli.connecting import as_json as json_option
from sensor_platform.cli.connecting import command_database, command_settings, user_name

COLUMNS = ("path", "level", "sensors", "description")


@click.group(help="List the work units, and say where they lie in the plant.")
def work_units() -> None:
    """Everything about places."""


@work_units.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List every work unit below the one that holds it, with its level and the number of its own sensors."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.pipeline.registry import list_work_units

    with command_database(command_settings()) as database:
        rows = list_work_units(database)
    if as_json:
        emit_json(rows)
    else:
        print_table(rows, COLUMNS)


@work_units.command("set")
@click.argument("name")
@click.option("--parent", help="The work unit that holds it; an empty text: none. Made when new.")
@click.option("--level", help="enterprise, site, area, line or cell, or a word of your own; an empty text: none.")
@click.option("--description", help="For people; an empty text takes it away.")
def set_command(name: str, parent: str | None, level: str | None, description: str | None) -> None:
    """Set where work unit NAME lies in the plant, and what it is. It is made when new."""
    from sensor_platform.cli.sensors import tell
    from sensor_platform.pipeline.registry import set_work_unit

    if not name or (parent is None and level is None and description is None):
        raise click.UsageError("nothing to set: give a name, and --parent, --level or --description")
    with command_database(command_settings()) as database:
        declared = set_work_unit(database, name, parent=parent, level=level, description=description, by=user_name())
    tell(declared)
