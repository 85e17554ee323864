"""What most commands begin with: the settings, with the running platform's own addresses where none are set."""

import getpass
from typing import TYPE_CHECKING, Any

import click

from sensor_platform.settings import Settings, load_settings

if TYPE_CHECKING:
    from datetime import datetime

    from sensor_platform.database.engine import Database
    from sensor_platform.routes.model import Routes


def command_settings() -> Settings:
    """Settings of a command: explicit ones win over those of the platform that runs in this home."""
    from sensor_platform.embedded.run_file import resolved
    from sensor_platform.log import set_up_logging

    set_up_logging()
    return resolved(load_settings())


def command_routes(settings: Settings) -> "Routes":
    """The routes of `settings`; beside a running platform it is said whose they are: a forecast is as good as they."""
    from sensor_platform.embedded.run_file import read_run_file, routes_of
    from sensor_platform.routes.file import load_routes
    from sensor_platform.routes.place import PACKAGED, route_file

    routes = load_routes(settings)
    running = read_run_file(settings.home)
    if running is not None and (theirs := routes_of(running)) is not None:
        ours = (route_file(settings) or PACKAGED).absolute()
        of = "as the running platform" if ours == theirs else f"while the running platform takes {theirs}"
        click.echo(f"Routes of {ours}, {of}.", err=True)
    return routes


def command_database(settings: Settings) -> "Database":
    """The database of `settings`; a `with` closes it."""
    from sensor_platform.database.engine import connect_database

    return connect_database(settings)


def user_name() -> str:
    """Who gives the command, for the records."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as containers have
        return "cli"


class Time(click.ParamType[Any]):
    """An ISO 8601 time; without an offset it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from datetime import UTC, datetime

        if isinstance(value, datetime):
            return value
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not an ISO 8601 time, such as 2026-11-23T10:00:00Z", param, ctx)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def in_order(start: "datetime | None", end: "datetime | None") -> None:
    """--from is inclusive and --to is not: what begins with its end has nothing in it."""
    if start is not None and end is not None and end <= start:
        raise click.UsageError("--to must be later than --from")


as_json = click.option("--json", "as_json", is_flag=True, help="One JSON value on stdout, and nothing else.")
