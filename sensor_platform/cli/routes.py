"""`sensor-platform routes`: what is in the route file, what is wrong with it, and what may be in it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sensor_platform.cli.cases import test
from sensor_platform.cli.connecting import command_routes, command_settings
from sensor_platform.cli.contracts import asyncapi, contracts
from sensor_platform.cli.discover import discover

if TYPE_CHECKING:
    from sensor_platform.routes.model import Routes


@click.group()
def routes() -> None:
    """Check the route file, test it with golden payloads, propose one; print contracts, schema, AsyncAPI document."""


for command in (test, discover, contracts, asyncapi):
    routes.add_command(command)


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

    settings = command_settings()
    found = command_routes(settings.model_copy(update={"routes_file": file}) if file else settings)
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


@routes.command()
@click.option("--json", "as_json", is_flag=True, help="A list of family, about and filters.")
def devices(as_json: bool) -> None:
    """List the device families whose routes come along; `include: [NAME]` in a route file takes them in."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.routes.file import parse_routes
    from sensor_platform.routes.included import families, family_text

    listed = []
    for family in families():
        text = family_text(family)
        filters = [route.filter for route in parse_routes(text, source=f"devices/{family}.yaml") if not route.ignore]
        listed.append({"family": family, "about": text.split("\n")[0].removeprefix("# "), "filters": sorted(filters)})
    if as_json:
        emit_json(listed)
        return
    print_table([{**each, "filters": ", ".join(each["filters"])} for each in listed], ["family", "about", "filters"])


@routes.command()
@click.argument("family")
def show(family: str) -> None:
    """Print the route file of a device family, to read it or to change a copy of it."""
    from sensor_platform.routes.included import families, family_text

    if family not in families():
        raise click.BadParameter(f'unknown device family "{family}". Known: {", ".join(families())}.')
    click.echo(family_text(family), nl=False)


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
