"""`sensor-platform rollups`: minutes, hours and days made in this process, without the daemon."""

import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta

import click

from sensor_platform.cli.connecting import Time, command_database, command_settings, in_order
from sensor_platform.cli.connecting import as_json as json_option


@click.command(help="Make the rollups of changed days, or all of some days again.")
@click.option(
    "--from", "start", type=Time(), help="Make the day that holds this again, changed or not, and those up to --to."
)
@click.option("--to", "end", type=Time(), help="Before this time: the day that begins with it is not one of them, UTC.")
@json_option
def rollups(start: datetime | None, end: datetime | None, as_json: bool) -> None:
    """A day at a time, each committed on its own: what is interrupted goes on where it was. Exit 1 when days of the
    rollups differ from their readings."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.pipeline.mode import Mode
    from sensor_platform.pipeline.reconciliation import reconcile
    from sensor_platform.pipeline.rollups import LEVELS, changed_days, roll_up

    if start is None and end is not None:
        raise click.UsageError("--to needs --from")
    in_order(start, end)
    rows, made = [], []
    with command_database(command_settings()) as database:
        mode = Mode.NEW if start is None else Mode.AGAIN
        for day in changed_days(database) if start is None else _days(start, end):
            report = roll_up(database, first=day, last=day, mode=mode)
            made += report.days
            rows.append({"date": day.isoformat(), **report.rows})
        random.shuffle(made)  # some of them are held against their readings
        differences = reconcile(database, made=made).differences
    if as_json:
        emit_json({"days": rows, "differences": differences})
    else:
        print_table(rows, ("date", *LEVELS))
    for difference in () if as_json else differences:
        click.echo(difference, err=True)
    if differences:
        raise SystemExit(1)


def _days(start: datetime, end: datetime | None) -> Iterator[date]:
    """The days that hold [start, end), in UTC; without `end` that of `start`."""
    first = start.date()
    last = first if end is None else (end - timedelta(microseconds=1)).date()
    for n in range((last - first).days + 1):
        yield first + timedelta(days=n)
