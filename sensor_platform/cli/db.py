"""`sensor-platform db`: the tables."""

import click

from sensor_platform.cli.connecting import command_database, command_settings


@click.group(help="Create, upgrade or describe the tables; who may do what with them.")
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


@db.command()
@click.argument("role")
@click.argument("part", type=click.Choice(["collector", "loader", "reader"]))
def grant(role: str, part: str) -> None:
    """Give the PostgreSQL role ROLE the rights of one PART, and no other on the tables.

    collector: stage and tell how it stands. loader: what Dagster, the API and the other commands do. reader: look.
    """
    from sensor_platform.database.roles import Part
    from sensor_platform.database.roles import grant as grant_part

    with command_database(command_settings()) as database, database.begin() as connection:
        grant_part(connection, role, Part(part))
    click.echo(f"{role} has the rights of the {part}.", err=True)
