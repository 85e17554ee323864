"""`sensor-platform process`: load what is pending, without the daemon."""

from dataclasses import asdict
from datetime import UTC, datetime

import click

from sensor_platform.cli.connecting import as_json as json_option
from sensor_platform.cli.connecting import command_database, command_routes, command_settings


@click.command(help="Load all that is pending once, in this process.")
@json_option
def process(as_json: bool) -> None:
    """Decodes, validates and loads every sealed micro-batch that is not in the ledger."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.database.migrate import upgrade
    from sensor_platform.dead_letters.rebirths import try_to_ask
    from sensor_platform.embedded.status import count
    from sensor_platform.pipeline.process import process as process_pending
    from sensor_platform.staging.place import open_staging

    settings = command_settings()
    routes = command_routes(settings)
    with command_database(settings) as database:
        upgrade(database)
        staging = open_staging(settings)
        report = process_pending(staging, database, routes, settings=settings)
        try_to_ask(database, settings, now=datetime.now(UTC))
        pending = count(staging, database).pending
    loaded, readings = asdict(report.messages), asdict(report.readings)
    # As in status: what was found is what was loaded and what is left, being in open files.
    messages = {"staged": loaded.pop("staged") + pending, "pending": pending, **loaded}
    if as_json:
        emit_json({"messages": messages, "readings": readings})
        return
    click.echo(f"{report.micro_batches} micro-batches loaded.", err=True)
    if report.sparkplug_gaps:
        click.echo(
            f"{report.sparkplug_gaps} times messages of a Sparkplug node are missing (table sparkplug_node).", err=True
        )
    for name, counts in (("messages", messages), ("readings", readings)):
        print_table([{name: kind, "count": count} for kind, count in counts.items()], [name, "count"])
