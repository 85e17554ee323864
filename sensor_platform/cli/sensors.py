"""`sensor-platform sensors`: what was registered on first sight, and what people know better."""

import math
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sensor_platform.cli.connecting import Time, command_database, command_settings, user_name
from sensor_platform.cli.connecting import as_json as json_option

if TYPE_CHECKING:
    from sensor_platform.pipeline.calibration import Calibration
    from sensor_platform.pipeline.declare import Change, Declared

#: Hours that are named.
MOST_HOURS = 24

COLUMNS = (
    "work_unit",
    "sensor",
    "metric",
    "unit",
    "minimum",
    "maximum",
    "conflicts",
    "description",
    "parent",
    "expected_interval_s",
    "calibrations",
    "declared",
    "seen",
)


@click.group(help="List sensors, set what is known of them, import and export the registry.")
def sensors() -> None:
    """Everything about sensors."""


@sensors.command("list")
@click.option("--undeclared", is_flag=True, help="Only sensors that were seen and that nobody has declared.")
@click.option("--never-seen", is_flag=True, help="Only sensors that were declared and that sent nothing yet.")
@click.option("--silent", is_flag=True, help="Only sensors of which readings are overdue by their expected interval.")
@json_option
def list_command(undeclared: bool, never_seen: bool, silent: bool, as_json: bool) -> None:
    """List every series: a metric of a sensor, with its unit and limits. `declared`: a person imported or set something
    of the sensor; `seen`: a reading of it came."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.pipeline.registry import list_series, silent_sensors

    with command_database(command_settings()) as database:
        rows = list_series(database)
        if silent:
            with database.connect() as connection:
                found = silent_sensors(connection, now=datetime.now(UTC))
            rows = [row for row in rows if found.get((row["work_unit"], row["sensor"]))]
    rows = [row for row in rows if not (undeclared and row["declared"]) and not (never_seen and row["seen"])]
    if as_json:
        emit_json(rows)
    else:
        print_table([{**row, "calibrations": _calibrations(row["calibrations"])} for row in rows], COLUMNS)


@sensors.command("set")
@click.argument("sensor")
@click.option("--description", help="For people; an empty text takes it away.")
@click.option("--expected-interval", type=float, help="Seconds between two readings; nan takes it away.")
@click.option("--metric", help="The series that the limits and the unit are for.")
@click.option("--minimum", type=float, help="Readings below are refused; nan takes the limit away.")
@click.option("--maximum", type=float, help="Readings above are refused; nan takes the limit away.")
@click.option("--unit", help="Stored values are converted to it; readings of other units are converted too.")
@click.option(
    "--relabel",
    is_flag=True,
    help="With --unit: the label was wrong; numbers that came without a unit, and limits, stay.",
)
@click.option("--scale", type=float, help="Calibration: value * scale + offset, in the unit of the series.")
@click.option("--offset", type=float, help="See --scale. A scale of 1 and an offset of 0 take calibrations away.")
@click.option("--valid-from", type=Time(), help="Event time from which the calibration holds; not given: always.")
@click.option("--valid-to", type=Time(), help="Event time up to which it holds, exclusive; not given: ever after.")
def set_command(
    sensor: str,
    description: str | None,
    expected_interval: float | None,
    metric: str | None,
    relabel: bool,
    **values: Any,
) -> None:
    """Set what is known of SENSOR. Limits hold for what is loaded from now on, and for hours loaded again. So do
    calibrations, by the event time of each reading; hours that were made with others are named, and marked."""
    from sensor_platform.pipeline.registry import set_sensor

    calibration = _calibration({name: values.pop(name) for name in ("scale", "offset", "valid_from", "valid_to")})
    of_series = {name: value for name, value in values.items() if value is not None}
    if calibration is not None:
        of_series["calibration"] = calibration
    if of_series and metric is None:
        raise click.UsageError(f"--{next(iter(of_series))} needs --metric")
    if relabel and "unit" not in of_series:
        raise click.UsageError("--relabel needs --unit")
    if expected_interval is not None and not 0 < expected_interval < math.inf and not math.isnan(expected_interval):
        raise click.UsageError(f"--expected-interval {expected_interval:g}: it is a number of seconds above 0")
    for name in ("minimum", "maximum"):
        if math.isinf(of_series.get(name, 0.0)):
            problem = f"--{name} {of_series[name]}: it is not a finite number; nan takes a limit away"
            raise click.UsageError(problem)
    if not of_series and description is None and expected_interval is None:
        options = "--description, --expected-interval, --minimum, --maximum, --unit or --scale and --offset"
        raise click.UsageError(f"nothing to set: give {options}")
    with command_database(command_settings()) as database:
        declared = set_sensor(
            database,
            sensor,
            description=description,
            expected_interval_s=expected_interval,
            metric=metric,
            relabel=relabel,
            by=user_name(),
            **of_series,
        )
    tell(declared)


@sensors.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@json_option
def import_command(file: Path, dry_run: bool, as_json: bool) -> None:
    """Import the registry from FILE, YAML or CSV: all of it, or nothing. What FILE leaves out stays as it stands."""
    from sensor_platform.cli.output import emit_json
    from sensor_platform.pipeline.registry import import_registry

    with command_database(command_settings()) as database:
        done = import_registry(database, file, by=user_name(), dry_run=dry_run)
    if as_json:
        outdated = [asdict(one) for one in done.outdated]
        emit_json({"dry_run": dry_run, "changes": [as_row(change) for change in done.changes], "outdated": outdated})
        _warn_of_units(done)
    else:
        tell(done, dry_run=dry_run)


@sensors.command("export")
@click.option("--format", "form", type=click.Choice(["yaml", "csv"]), default="yaml", show_default=True)
def export(form: str) -> None:
    """Print the registry as a file that `sensors import` reads, undeclared sensors included."""
    from sensor_platform.pipeline.registry_export import as_csv, as_yaml

    with command_database(command_settings()) as database:
        click.echo(as_csv(database) if form == "csv" else as_yaml(database), nl=False)


@sensors.command("history")
@click.argument("name", required=False)
@click.option("--limit", default=100, show_default=True, type=click.IntRange(min=1), help="At most this many.")
@json_option
def history_command(name: str | None, limit: int, as_json: bool) -> None:
    """Print who changed what in the registry and when, the newest first; of NAME alone, a sensor or a work unit."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.pipeline.registry import HISTORY, history

    with command_database(command_settings()) as database:
        rows = history(database, name=name, limit=limit)
    if as_json:
        emit_json(rows)
    else:
        print_table(rows, HISTORY)


@sensors.command("clocks")
@json_option
def clocks_command(as_json: bool) -> None:
    """List how far the clock of each sensor is ahead of ours, in seconds (below 0: behind), the most wrong first.

    Of sensors heard of in the last two hours, by readings with a time of their own. No `skew_s`: it cannot be told.
    """
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.pipeline.clocks import COLUMNS as CLOCK_COLUMNS
    from sensor_platform.pipeline.clocks import clocks

    with command_database(command_settings()) as database:
        rows = clocks(database, now=datetime.now(UTC))
    if as_json:
        emit_json(rows)
    else:
        print_table(rows, CLOCK_COLUMNS)


def as_row(change: "Change") -> dict[str, Any]:
    """A change as a JSON object."""
    names = dict(zip(("work_unit", "sensor", "metric"), change.subject, strict=False))
    from sensor_platform.pipeline.declare import plain

    return {"kind": change.kind, **names, "before": plain(change.before), "after": plain(change.after)}


def tell(declared: "Declared", *, dry_run: bool = False) -> None:
    """A line a change on stdout; on stderr how many there are, and which hours are to be made again."""
    for change in declared.changes:
        click.echo(_line(change))
    _warn_of_units(declared)
    count = f"{len(declared.changes)} change{'' if len(declared.changes) == 1 else 's'}"
    click.echo(f"{count} would be made." if dry_run else f"{count} made.", err=True)
    hours = [f"{one.hour:%Y-%m-%dT%H}Z" for one in declared.outdated if one.micro_batches]
    if hours:
        micro_batches = sum(one.micro_batches for one in declared.outdated)
        more = f" and {len(hours) - MOST_HOURS} more" if len(hours) > MOST_HOURS else ""
        would = "would keep" if dry_run else "keep"
        click.echo(
            f"{micro_batches} micro-batches {would} values of another calibration until these received hours are loaded"
            f" again: {', '.join(hours[:MOST_HOURS])}{more}.",
            err=True,
        )
    if kept := sum(one.kept for one in declared.outdated):
        click.echo(f"{kept} micro-batches keep theirs: retention has deleted their bytes.", err=True)


def _warn_of_units(declared: "Declared") -> None:
    """A plant may have units of its own, as routes may: texts that convert to nothing. A slip looks the same."""
    from sensor_platform.pipeline.declarations import spelled
    from sensor_platform.transformers.units import expression

    units: dict[str, list[str]] = {}
    for change in declared.changes:
        unit = change.after.get("unit")
        if unit is not None and expression(unit) is None:
            units.setdefault(unit, []).append(spelled(change.subject))
    for unit, series in units.items():
        more = f" and {len(series) - 1} more" if len(series) > 1 else ""
        click.echo(
            f"{series[0]}{more}: the unit {unit!r} is not known: it converts to no other, and readings that name "
            "another are refused (unknown_unit). `sensors set --unit … --relabel` mends a slip.",
            err=True,
        )


def _calibration(values: dict[str, Any]) -> "Calibration | None":
    from pydantic import ValidationError

    from sensor_platform.pipeline.declarations import CalibrationEntry, wrong

    given = {name: value for name, value in values.items() if value is not None}
    if not given:
        return None
    if not {"scale", "offset"} & given.keys():
        raise click.UsageError("--valid-from and --valid-to are of a calibration: give --scale or --offset")
    try:
        said = {name: value if isinstance(value, float) else value.isoformat() for name, value in given.items()}
        return CalibrationEntry.model_validate(said).calibration()
    except ValidationError as err:
        first = err.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        of = f"--{name.replace('_', '-')} {given[name]}: " if name in given else ""
        raise click.UsageError(f"{of}{wrong(first)}") from err


def _calibrations(rows: list[dict[str, Any]]) -> str:
    """For a cell of a table."""
    return "; ".join(
        f"* {one['scale']} + {one['offset']} from {one['valid_from'] or '-'} to {one['valid_to'] or '-'}"
        for one in rows
    )


def _line(change: "Change") -> str:
    from sensor_platform.pipeline.declarations import spelled

    is_new = not change.before
    before = {name: _shown(value) for name, value in change.before.items()}
    after = {name: _shown(value) for name, value in change.after.items()}
    was = {name: "" if is_new else f"{before[name] or '-'} -> " for name in after}
    fields = [f"{name} {was[name]}{now or '-'}" for name, now in after.items()]
    head = f"{'new' if is_new else 'changed'}: {change.kind.replace('_', ' ')} {spelled(change.subject)}"
    return f"{head}: {', '.join(fields)}" if fields else head


def _shown(value: Any) -> str:
    from sensor_platform.cli.output import shown

    return _calibrations([one.described() for one in value]) if isinstance(value, tuple) else shown(value)
