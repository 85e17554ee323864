"""`sensor-platform reprocess`: make received hours again with today's routes, or say first what that would change."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from sensor_platform.cli.connecting import Time, command_database, command_routes, command_settings, in_order, user_name
from sensor_platform.cli.connecting import as_json as json_option

if TYPE_CHECKING:
    from sensor_platform.cli.webserver import Webserver
    from sensor_platform.pipeline.changes import Differences, RouteChanges
    from sensor_platform.routes.model import Routes
    from sensor_platform.settings import Settings

HOUR = timedelta(hours=1)
SAYS_EVERY_S = 5.0
#: Of received hours, as the partitions of `readings` are named.
KEY = "%Y-%m-%d-%H:%M"
_COLUMNS = ["route", "added", "removed", "changed", "newly_accepted", "newly_refused", "refused_otherwise", "classes"]


@click.command(help="Make received hours again with today's routes; --dry-run says what that would change.")
@click.option("--from", "start", type=Time(), required=True, help="The first received hour: the one that holds this.")
@click.option("--to", "end", type=Time(), required=True, help="Up to the hour that holds this, or begins with it.")
@click.option("--route", help="Only hours that hold messages of this route, and what changes of it. Hours stay whole.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and do nothing.")
@click.option("--dagster-url", metavar="URL", help="Of the Dagster webserver. Default: that of the running platform.")
@json_option
def reprocess(
    *, start: datetime, end: datetime, route: str | None, dry_run: bool, dagster_url: str | None, as_json: bool
) -> None:
    """Hours are whole: what other routes made of them is made again, too."""
    in_order(start, end)
    first, last = _floor(start), _floor(end - timedelta(microseconds=1)) + HOUR
    settings = command_settings()
    routes = command_routes(settings)
    _known(settings, routes, route)
    webserver = None if dry_run else _webserver(settings, dagster_url)
    partitions = _partitions(settings) if webserver is None else _asked(webserver, settings)
    hours = _hours(settings, (first, last), routes, route, partitions)
    if not hours.named:
        of = "" if route is None else f" of {route}"
        click.echo(f"No hour from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} has staged messages{of}.", err=True)
        raise SystemExit(1)
    if webserver is None:
        _say(settings, hours, routes, route, as_json=as_json)
    else:
        _launch(webserver, _keys(partitions, hours.named), hours, route, as_json=as_json)


def _known(settings: "Settings", routes: "Routes", route: str | None) -> None:
    from sensor_platform.pipeline.known import UnknownRouteError, find_route

    if route is None:
        return
    with command_database(settings) as database, database.read_only() as connection:
        try:
            find_route(connection, route, today=[one.name for one in routes])
        except UnknownRouteError as err:
            raise click.UsageError(str(err)) from err


class _Progress:
    """Says on stderr how far a long look is, each `SAYS_EVERY_S`."""

    def __init__(self, does: str) -> None:
        self._does, self._said_at = does, time.monotonic()

    def __call__(self, hour: datetime, number: int, of: int) -> None:
        if time.monotonic() - self._said_at >= SAYS_EVERY_S:
            self._said_at = time.monotonic()
            click.echo(f"{hour:%Y-%m-%d %H:%M} is {self._does}, hour {number} of {of} …", err=True)


@dataclass(frozen=True, slots=True)
class _Hours:
    """Those that are made again: `named` by the person, and those that have no partition but that of one of them."""

    named: list[datetime]
    taken_with: list[datetime]

    @property
    def all(self) -> list[datetime]:
        return sorted([*self.named, *self.taken_with])

    def notes(self) -> Iterable[str]:
        if self.taken_with:
            first, last = min(self.taken_with), max(self.taken_with)
            yield (
                f"{len(self.taken_with)} more hours, {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}, are made again "
                "with these: the first partition stands for all hours before it, the last for all after"
            )


def _hours(
    settings: "Settings",
    window: tuple[datetime, datetime],
    routes: "Routes",
    route: str | None,
    partitions: Sequence[str],
) -> _Hours:
    from sensor_platform.pipeline.foresee import hours_of, taken_with
    from sensor_platform.staging.place import open_staging

    staging, (start, end) = open_staging(settings), window
    first, last = (datetime.strptime(key, KEY).replace(tzinfo=UTC) for key in (partitions[0], partitions[-1]))
    with command_database(settings) as database:
        named = hours_of(
            staging, database, start=start, end=end, routes=routes, route=route, on_hour=_Progress("looked through")
        )
    return _Hours(named, taken_with(staging, named, first=first, last=last) if named else [])


def _partitions(settings: "Settings") -> list[str]:
    """The first and the last of them, for who does not ask Dagster: it counts from the same hour."""
    from sensor_platform.database.migrate import first_hour

    with command_database(settings) as database:
        first = first_hour(database)
    return [f"{hour.astimezone(UTC):{KEY}}" for hour in (first, _floor(datetime.now(UTC)) + HOUR)]


def _say(settings: "Settings", hours: _Hours, routes: "Routes", route: str | None, *, as_json: bool) -> None:
    """The dry run."""
    from sensor_platform.cli.output import emit_json
    from sensor_platform.pipeline.foresee import foresee
    from sensor_platform.staging.place import open_staging

    with command_database(settings) as database:
        found = foresee(
            open_staging(settings),
            database,
            routes,
            settings=settings,
            hours=hours.all,
            on_hour=_Progress("decoded again"),
        )
    shown = found.differences if route is None else found.differences.of_route(route)
    others = sorted(found.differences.routes.keys() - shown.routes.keys())
    answer = {
        "hours": hours.all,
        "taken_with_them": hours.taken_with,
        "route": route,
        **asdict(shown),
        "total": asdict(shown.total),
        "changes_of_other_routes": others,
        "bytes_deleted": found.bytes_deleted,
        "damaged": list(found.damaged),
    }
    if as_json:
        emit_json(answer)
        return
    _print(shown)
    looked_at = f"{shown.micro_batches} micro-batches with {shown.messages} messages of {len(hours.all)} hours"
    would = "" if found.differences.routes or found.differences.units else " A backfill would change nothing."
    click.echo(f"{looked_at} were decoded again; nothing was changed.{would}", err=True)
    renamed = route is not None and route not in {one.name for one in routes}
    for line in (*hours.notes(), *_notes(shown, found.bytes_deleted, found.damaged, others)):
        click.echo(line, err=True)
    if renamed:
        click.echo(f"No route is called {route} today: what it made is told under the routes of today.", err=True)


def _notes(shown: "Differences", bytes_deleted: int, damaged: Iterable[str], others: list[str]) -> Iterable[str]:
    if shown.not_loaded_before:
        yield f"{shown.not_loaded_before} of the micro-batches are not loaded yet, and would be."
    for unit in shown.units:
        of = "/".join((unit["work_unit"], unit["sensor"])) + " " + unit["metric"]
        yield f"{of}: {unit['unit_before']} becomes {unit['unit']}; what stands of other hours is converted, too."
    if shown.thinned != shown.thinned_before:
        yield f"{shown.thinned} readings would be thinned, {shown.thinned_before} are."
    if others:
        yield f"Hours are whole: messages of {', '.join(others)} change, too. Without --route all is shown."
    if bytes_deleted:
        yield f"{bytes_deleted} micro-batches stay as they are: retention has deleted their bytes."
    if names := list(damaged):
        yield f"{len(names)} micro-batches are damaged and stay as they are: {', '.join(names[:5])}"


def _print(shown: "Differences") -> None:
    from sensor_platform.cli.output import print_table

    if shown.routes:
        print_table([_row(name, one) for name, one in shown.routes.items()], _COLUMNS)
    for name, one in shown.routes.items():
        for kind, samples in one.samples.items():
            click.echo(f"\n{name}: {kind.replace('_', ' ')}")
            rows = [{key: _cell(value) for key, value in sample.items()} for sample in samples]
            print_table(rows, list(rows[0]))


def _row(name: str, one: "RouteChanges") -> dict[str, Any]:
    return {"route": name, **{column: _cell(getattr(one, column)) for column in _COLUMNS[1:]}}


def _cell(value: Any) -> Any:
    """Counts by name, and readings, in a line."""
    if not isinstance(value, dict):
        return value
    if "quality" in value:
        said = value["value"] if value["text"] is None else value["text"]
        return str(said) if value["quality"] == "good" else f"{said} ({value['quality']})"
    return ", ".join(f"{count} {name}" for name, count in value.items())


def _webserver(settings: "Settings", url: str | None) -> "Webserver":
    from sensor_platform.cli.webserver import Webserver
    from sensor_platform.embedded.run_file import read_run_file
    from sensor_platform.errors import DagsterUnavailableError

    if url is None and (running := read_run_file(settings.home)) is not None:
        url = running.dagster_url
    if url is None:
        raise DagsterUnavailableError(
            f"no platform is running in {settings.home}: start one with `sensor-platform up`, or give --dagster-url; "
            "--dry-run needs neither"
        )
    return Webserver(url)


def _asked(webserver: "Webserver", settings: "Settings") -> list[str]:
    """The partitions as Dagster has them; when it does not answer, the platform that it is of may be why."""
    from sensor_platform.embedded.process import is_alive
    from sensor_platform.embedded.run_file import read_record
    from sensor_platform.errors import DagsterUnavailableError

    try:
        return webserver.partitions()
    except DagsterUnavailableError as err:
        platform = read_record(settings.home)
        if platform is None or platform.dagster_url != webserver.url:
            raise
        state = "is stopping, or starts its webserver again" if is_alive(platform.pid, platform.started_at) else "ended"
        raise DagsterUnavailableError(
            f"{err}. The platform in {settings.home} {state}: see `sensor-platform status`; --dry-run needs no Dagster"
        ) from err


def _launch(webserver: "Webserver", keys: list[str], hours: _Hours, route: str | None, *, as_json: bool) -> None:
    from sensor_platform.cli.output import emit_json

    title = f"reprocess {keys[0]} to {keys[-1]}" + (f" for route {route}" if route else "")
    backfill = webserver.backfill(keys, title=title, by=user_name())
    page = webserver.page_of(backfill)
    if as_json:
        emit_json({"backfill": backfill, "partitions": keys, "hours": hours.all, "url": page})
        return
    click.echo(f"{len(hours.all)} hours are made again, whole, by backfill {backfill}: {page}", err=True)
    for line in hours.notes():
        click.echo(line, err=True)
    click.echo("What it changes stands in the metadata of `readings` when its runs have ended.", err=True)


def _keys(partitions: Sequence[str], hours: list[datetime]) -> list[str]:
    """The partitions that stand for `hours`: the first stands for all before it, the last for all after."""
    named = (hour.astimezone(UTC).strftime(KEY) for hour in hours)
    return sorted({min(max(key, partitions[0]), partitions[-1]) for key in named})


def _floor(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
