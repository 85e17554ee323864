"""`sensor-platform subscriptions`: what the collectors subscribe to, changed while they run."""

from typing import TYPE_CHECKING

import click

from sensor_platform.cli.connecting import as_json as json_option
from sensor_platform.cli.connecting import command_database, command_settings, user_name

if TYPE_CHECKING:
    from sensor_platform.database.subscriptions import Changed, Listed


@click.group()
def subscriptions() -> None:
    """List what the collectors subscribe to; add and remove filters while they run.

    Filters of the routes stand in the route file; those added here stand in the database, and every running collector
    takes them up within a second.
    """


@subscriptions.command()
@click.argument("filters", metavar="FILTER...", nargs=-1, required=True)
@json_option
def add(filters: tuple[str, ...], as_json: bool) -> None:
    """Subscribe to each FILTER (`+` and `#` are wildcards): all of them, or none where one is refused."""
    from sensor_platform.database.subscriptions import add as add_filters
    from sensor_platform.routes.file import load_routes

    settings = command_settings()
    routes = load_routes(settings, with_transformers=False)
    with command_database(settings) as database:
        _say("added", add_filters(database, routes, filters, by=user_name()), as_json=as_json)


@subscriptions.command()
@click.argument("filters", metavar="FILTER...", nargs=-1, required=True)
@json_option
def remove(filters: tuple[str, ...], as_json: bool) -> None:
    """Unsubscribe from each FILTER that was added: all of them, or none where one is refused."""
    from sensor_platform.database.subscriptions import remove as remove_filters
    from sensor_platform.routes.file import load_routes

    settings = command_settings()
    routes = load_routes(settings, with_transformers=False)
    with command_database(settings) as database:
        _say("removed", remove_filters(database, routes, filters), as_json=as_json)


@subscriptions.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List every filter, where it comes from, and what the broker answered each running collector."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.database.subscriptions import listed
    from sensor_platform.routes.file import load_routes

    settings = command_settings()
    with command_database(settings) as database:
        found = listed(database, load_routes(settings, with_transformers=False))
    if as_json:
        emit_json([each.as_dict() for each in found])
        return
    rows = [{**each.as_dict(), "origin": _origin(each), "collectors": _answers(each)} for each in found]
    print_table(rows, ["filter", "origin", "added_at", "added_by", "subscribed_as", "collectors"])


def _say(verb: str, changed: "Changed", *, as_json: bool) -> None:
    from sensor_platform.cli.output import emit_json

    for note in changed.notes:
        click.echo(note, err=True)
    if as_json:
        emit_json({verb: changed.filters, "notes": changed.notes})
    else:
        for name in changed.filters:
            click.echo(f"{verb} {name}")


def _origin(each: "Listed") -> str:
    return f"route {each.route}" if each.route else each.origin


def _answers(each: "Listed") -> str:
    return ", ".join(
        f"{answer.collector} {answer.state}" + (f" ({answer.detail})" if answer.detail else "")
        for answer in each.collectors
    )
