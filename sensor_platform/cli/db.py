"""`sensor-platform db`: the tables."""

import click

from sensor_platform.cli.connecting import command_database, command_settings


@click.group(help="Create, upgrade or describe the tables.")
def db() -> None:
    """Everything about the tables."""


@db.command()
def upgrade() -> None:
    """Create the tables, or bring them to this version. Safe to run at any time, by several at once."""
    from sensor_platform.database.migrate import upgrade as upgrade_database

    with command_database(command_settings()) as database:
        upgrade_database(database)
    click.echo("The tables are of this version.", err=True)


@db.command()
def describe() -> None:
    """Print every table and view with its columns, as the database's own comments tell them: a page of Markdown."""
    from sensor_platform.database.describe import describe as described
    from sensor_platform.database.describe import markdown

    with command_database(command_settings()) as database, database.connect() as connection:
        click.echo(markdown(described(connection)), nl=False)
