"""`sensor-platform routes contracts` and `routes asyncapi`: the contracts, documented by themselves."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sensor_platform.cli.connecting import as_json as json_option
from sensor_platform.cli.connecting import command_routes, command_settings

if TYPE_CHECKING:
    from sensor_platform.routes.contract import Contract
    from sensor_platform.routes.model import Routes
    from sensor_platform.settings import Settings

COLUMNS = ("route", "version", "rule", "required", "type", "minimum", "maximum", "max_rate_per_s", "one_of", "about")

file_argument = click.argument("file", required=False, type=click.Path(path_type=Path))


@click.command()
@file_argument
@json_option
def contracts(file: Path | None, as_json: bool) -> None:
    """Show what the routes of FILE, or of the route file in use, ask of their readings.

    Each contract once a route that has it, its metrics in the order of the file.
    """
    from sensor_platform.cli.output import emit_json, print_table

    _, routes = _read(file)
    found = described(routes)
    if as_json:
        emit_json(found)
        return
    if found:
        print_table([row for one in found for row in _rows(one)], COLUMNS)
    without = [route.name for route in routes if route.promises is None and not route.ignore]
    if without:
        click.echo(f"without a contract: {', '.join(without)}", err=True)


@click.command()
@file_argument
@click.option("--json", "as_json", is_flag=True, help="JSON instead of YAML.")
def asyncapi(file: Path | None, as_json: bool) -> None:
    """Print the routes of FILE, or of the route file in use, as an AsyncAPI 3.0 document, for whoever publishes.

    The broker is that of the settings, without any secret.
    """
    import sys

    from ruamel.yaml import YAML

    from sensor_platform.cli.output import emit_json
    from sensor_platform.routes.asyncapi import asyncapi as document_of

    settings, routes = _read(file)
    document = document_of(routes, settings)
    if as_json:
        emit_json(document)
        return
    yaml = YAML()
    yaml.width = 120
    yaml.representer.ignore_aliases = lambda _: True
    yaml.dump(document, sys.stdout)


def _read(file: Path | None) -> tuple["Settings", "Routes"]:
    settings = command_settings()
    settings = settings.model_copy(update={"routes_file": file}) if file else settings
    return settings, command_routes(settings)


def described(routes: "Routes") -> list[dict[str, Any]]:
    """By route with a contract: the contract, with everything that it leaves to the defaults."""
    return [
        {"route": route.name, "route_version": route.version, **_whole(route.promises)}
        for route in routes
        if route.promises is not None
    ]


def _whole(contract: "Contract") -> dict[str, Any]:
    whole = contract.model_dump(mode="json")
    kinds = {name: {"type": rule.kind} for name, rule in contract.metrics.items()}
    return whole | {"metrics": {name: rule | kinds[name] for name, rule in whole["metrics"].items()}}


def _rows(contract: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for names and for other metrics, where something is asked of them, and a row a metric."""
    who = {"route": contract["route"], "version": contract["version"]}
    names = [
        {"rule": f"{name.replace('_', ' ')} matches {contract[name]}"}
        for name in ("work_unit", "sensor")
        if contract[name] is not None
    ]
    metrics = [
        {
            **rule,
            "rule": name,
            "required": "yes" if rule["required"] else None,
            "one_of": ", ".join(map(str, rule["one_of"])) if rule["one_of"] else None,
            "about": rule["description"],
        }
        for name, rule in contract["metrics"].items()
    ]
    others = {"rule": f"other metrics: {contract['other_metrics']}"}
    return [who | row for row in [*names, *metrics, others]]
