"""`sensor-platform db`: the tables."""

from dataclasses import asdict

import click

from sensor_platform.cli.connecting import as_json as json_option
from sensor_platform.cli.connecting import command_database, command_settings


@click.group(help="Create, upgrade, describe and prune the tables; who may do what with them; what room they take.")
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


@db.command()
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@json_option
def prune(dry_run: bool, as_json: bool) -> None:
    """Delete readings, rollups and bytes of dead letters that are older than the settings keep them.

    METRIC_RETENTION_DAYS, METRICS_MINUTE_RETENTION_DAYS, METRICS_HOURLY_RETENTION_DAYS, METRICS_DAILY_RETENTION_DAYS,
    DEAD_LETTER_RETENTION_DAYS; 0, the default, keeps everything. The ledger stays and says what is gone.
    """
    from datetime import UTC, datetime

    from sensor_platform.cli.output import emit_json
    from sensor_platform.dead_letters.retention import prune_letters
    from sensor_platform.pipeline.expiry import expire

    settings, now = command_settings(), datetime.now(UTC)
    kept = settings.retention
    with command_database(settings) as database:
        expired = expire(database, kept.by_level, now=now, dry_run=dry_run)
        states = kept.dead_letter_states.split(",")
        letters = prune_letters(database, days=kept.dead_letter_days, states=states, now=now, dry_run=dry_run)
    if as_json:
        emit_json({**asdict(expired), "dead_letters": asdict(letters)})
        return
    would = "would be" if dry_run else "were"
    dropped = ", ".join(expired.partitions) or "none"
    click.echo(f"Partitions that {would} dropped: {dropped}.", err=True)
    if not dry_run:
        click.echo(f"{expired.readings} readings expired; rollups deleted: {sum(expired.rollups.values())}.", err=True)
    if expired.brought_back:
        click.echo(f"A backfill brought {expired.brought_back} days back: their rollups were made anew.", err=True)
    click.echo(f"{letters.messages} messages with dead letters {would} emptied or deleted.", err=True)
    if expired.partitions_left:
        click.echo(f"Left, since somebody was reading them: {', '.join(expired.partitions_left)}.", err=True)


@db.command()
@json_option
def room(as_json: bool) -> None:
    """Show how many bytes each table and its indexes take."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.pipeline.room import tables_room

    with command_database(command_settings()) as database:
        tables = [asdict(table) for table in tables_room(database)]
    if as_json:
        emit_json(tables)
    else:
        print_table(tables, list(tables[0]))
