"""`sensor-platform routes`: what is in the route file, what is wrong with it, and what may be in it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sensor_platform.cli.cases import test

if TYPE_CHECKING:
    from sensor_platform.routes.model import Routes


@click.group()
def routes() -> None:
    """Check the route file, test it with golden payloads; print its schema."""


routes.add_command(test)


@routes.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object: file, routes, subscriptions, overlaps, widened."
)
def check(file: Path | None, as_json: bool) -> None:
    """Check FILE, or the route file in use, and print its routes, most specific first.

    A file that cannot be used: its line, and what is accepted, on standard error; exit code 78.
    """
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.routes.file import load_routes
    from sensor_platform.settings import load_settings

    settings = load_settings()
    found = load_routes(settings.model_copy(update={"routes_file": file}) if file else settings)
    described = describe(found)
    if as_json:
        emit_json(described)
        return
    print_table(described["routes"], ["name", "filter", "format", "version"])
    for overlap in described["overlaps"]:
        click.echo(f"{overlap['first']} and {overlap['second']} share topics: {overlap['first']} has them", err=True)
    for subscription in described["widened"]:
        click.echo(
            f"{subscription} is subscribed, since filters overlap only in part and a broker would deliver twice; topics"
            " of it without a route become dead letters: add a route with `ignore: true` for those you do not want",
            err=True,
        )


@routes.command()
def schema() -> None:
    """Print the JSON Schema of route files, for editors.

    With the YAML language server: a first line `# yaml-language-server: $schema=routes.schema.json`.
    """
    from sensor_platform.cli.output import emit_json
    from sensor_platform.transformers.route_schema import json_schema

    emit_json(json_schema())


def describe(found: "Routes") -> dict[str, Any]:
    """The routes, what the collector subscribes to for them, and which of them share topics."""
    return {
        "file": found.source,
        "routes": [
            {
                "name": route.name,
                "filter": route.filter,
                "format": route.format or None,
                "ignore": route.ignore,
                "conflicts": route.conflicts,
                "retained": route.retained,
                "version": route.version,
            }
            for route in found
        ],
        "subscriptions": found.filters,
        "overlaps": [{"first": first.name, "second": second.name} for first, second in found.overlaps()],
        "widened": found.widened(),
    }
