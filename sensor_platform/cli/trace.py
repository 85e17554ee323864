"""`sensor-platform trace`: from a number to its bytes, and from bytes to what became of them."""

from datetime import UTC, datetime
from typing import Any

import click

from sensor_platform.cli.connecting import Time, command_database, command_routes, command_settings, in_order
from sensor_platform.cli.connecting import as_json as json_option

#: Shown as a table each, rather than in a cell.
_LISTS = ("readings", "thinned", "dead_letters", "definitions")


@click.command(help="Show the bytes that a reading came from, or what became of a message.")
@click.argument("sensor", required=False)
@click.argument("metric", required=False)
@click.argument("time", type=Time(), required=False)
@click.option("--message", metavar="MICRO_BATCH:SEQUENCE", help="What became of this message.")
@click.option("--topic", help="List the messages received on this topic, or on those that a filter matches.")
@click.option("--from", "start", type=Time(), help="With --topic: received from this time on.")
@click.option("--to", "end", type=Time(), help="With --topic: received before this time. Default: now.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(min=1), help="With --topic.")
@json_option
def trace(
    *,
    sensor: str | None,
    metric: str | None,
    time: datetime | None,
    message: str | None,
    topic: str | None,
    start: datetime | None,
    end: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """SENSOR METRIC TIME: every reading then, with its message; --message and --topic: from bytes to numbers."""
    ways = [sensor is not None, message is not None, topic is not None]
    if sum(ways) != 1:
        raise click.UsageError("give SENSOR METRIC TIME, or --message, or --topic")
    if message is not None:
        _message(message, as_json)
    elif topic is not None:
        if start is None:
            raise click.UsageError("--topic needs --from: every file received since is read")
        in_order(start, end)
        _topic(topic, start, end or datetime.now(UTC), limit, as_json=as_json)
    elif sensor is None or metric is None or time is None:
        raise click.UsageError("SENSOR needs METRIC and TIME")
    else:
        _reading(sensor, metric, time, as_json=as_json)


def _reading(sensor: str, metric: str, time: datetime, *, as_json: bool) -> None:
    """Every reading of METRIC of SENSOR at TIME with its message; exit 1 when there is none."""
    from sensor_platform.cli.output import emit_json, iso
    from sensor_platform.pipeline.readings import trace as trace_reading
    from sensor_platform.staging.place import open_staging

    settings = command_settings()
    with command_database(settings) as database:
        found = trace_reading(database, open_staging(settings), sensor, metric, time)
    if as_json:
        emit_json(found)
    for one in () if as_json else found:
        reading = one.pop("reading")
        _print({**reading, **one})
    if not found:
        click.echo(f"{sensor} has no reading of {metric} at {iso(time)}.", err=True)
        raise SystemExit(1)


def _message(message: str, as_json: bool) -> None:
    from sensor_platform.cli.field import place_of
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.pipeline.lineage import became
    from sensor_platform.staging.place import open_staging

    settings = command_settings()
    place = place_of("--message", message)
    with command_database(settings) as database:
        found = became(database, open_staging(settings), command_routes(settings), *place, settings=settings)
    if as_json:
        emit_json(found)
        return
    _print({name: value for name, value in found.items() if name not in _LISTS})
    for name in _LISTS:
        if found[name]:
            click.echo(f"\n{name.replace('_', ' ')}")
            print_table([_flat(row) for row in found[name]], list(_flat(found[name][0])))
    if not found["made_as_today"]:
        click.echo(
            "Its route or transformer has changed since: `sensor-platform reprocess` makes its hour anew.", err=True
        )


def _topic(topic: str, start: datetime, end: datetime, limit: int, *, as_json: bool) -> None:
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.pipeline.received import received
    from sensor_platform.routes.filters import parse_filter
    from sensor_platform.staging.place import open_staging

    try:
        topics = parse_filter(topic)
    except ValueError as err:
        raise click.UsageError(f"--topic {topic}: {err}") from err
    settings = command_settings()
    with command_database(settings) as database:
        found = received(database, open_staging(settings), topics, start=start, end=end, limit=limit)
    if as_json:
        emit_json(found)
        return
    rows = [{**row, "message": f"{row['micro_batch']}:{row['sequence']}"} for row in found]
    print_table(rows, ["message", "received_at", "topic", "payload_bytes", "loaded"])
    if len(found) == limit:
        click.echo(f"These are the first {limit}; --limit shows more.", err=True)


def _print(values: dict[str, Any]) -> None:
    from sensor_platform.cli.output import print_table

    print_table([{"what": name, "is": value} for name, value in values.items()], ["what", "is"])


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """`behind` as --message takes it."""
    behind = row.get("behind")
    return {**row, "behind": f"{behind['micro_batch']}:{behind['sequence']}"} if behind else row
