"""`status`: how the platform is, and what became of its messages."""

import sys
from typing import Any

import click

COLLECTOR_COLUMNS = ("collector", "state", "connected", "since", "last_commit_at", "connected_since", "lost_24h")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def status(as_json: bool) -> None:
    """Say how the platform is, and what became of its messages.

    Exit code 0 when every part answers (a switched-off collector included), otherwise 1.
    """
    from sensor_platform.cli.output import emit_json
    from sensor_platform.embedded.run_file import read_run_file, resolved
    from sensor_platform.embedded.status import status as look
    from sensor_platform.settings import load_settings

    settings = resolved(load_settings())
    found = look(settings, read_run_file(settings.home))
    if not found["parts"]:
        click.echo(
            f"no platform is running in {settings.home}: start one with `sensor-platform up`, "
            "or set DATABASE_URL and MQTT_BROKER_URL",
            err=True,
        )
    if as_json:
        emit_json(found)
    else:
        _print(found)
    sys.exit(0 if found["ready"] else 1)


def _print(found: dict[str, Any]) -> None:
    from sensor_platform.cli.output import print_table

    click.echo("ready" if found["ready"] else "not ready")
    parts = [{"part": name, **part} for name, part in found["parts"].items()]
    print_table(parts, ["part", "answers", "state", "restarts", "pid"])
    collector = dict(found["collector"])
    several = collector.pop("collectors")
    tables = {"collector": collector, **{name: found[name] for name in ("messages", "readings", "staging")}}
    for name, figures in tables.items():
        click.echo(f"\n{name}")
        print_table([figures], list(figures))
    if several:
        click.echo("\ncollectors")
        print_table(several, COLLECTOR_COLUMNS)
    for each in several:
        _print_troubles(each)
    click.echo(f"\ndead letters pending: {found['dead_letters_pending']}, alerts firing: {found['alerts_firing']}")


def _print_troubles(collector: dict[str, Any]) -> None:
    name = collector["collector"]
    if collector["error"]:
        click.echo(f"{name}: in the way: {collector['error_kind']}: {collector['error']}")
    if lost := collector["last_lost"]:
        click.echo(f"{name}: last lost {lost['at']}: {lost['kind']}: {lost['reason']}")
    for warning in collector["warnings"]:
        click.echo(f"{name}: warning: {warning['kind']}: {warning['detail']}")
