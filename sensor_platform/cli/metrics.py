"""`sensor-platform metrics`: the readings of a sensor, printed or exported."""

import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import click

from sensor_platform.cli.connecting import Time, command_database, command_settings, in_order
from sensor_platform.cli.connecting import as_json as json_option

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["table", "csv", "json", "parquet"]


@click.command(help="Print or export readings of a sensor, or the minutes, hours or days of a sensor or work unit.")
@click.option("--sensor", help="WORK_UNIT/NAME, or NAME where it is unique.")
@click.option("--work-unit", help="All that lies in it together: --level minute, hour or day.")
@click.option("--metric", help="Only this metric.")
@click.option(
    "--level",
    type=click.Choice(["readings", "minute", "hour", "day"]),
    help="minute, hour, day: count, means, deviation, first, last and quality of each; see docs/rollups.md. "
    "Default: readings.",
)
@click.option("--from", "start", type=Time(), help="From this time on, UTC.")
@click.option("--to", "end", type=Time(), help="Before this time, UTC.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
    help="csv and parquet are written as they are read, however many readings there are.",
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="A new file. Default: stdout.")
@json_option
def metrics(
    *,
    sensor: str | None,
    work_unit: str | None,
    metric: str | None,
    level: str | None,
    start: datetime | None,
    end: datetime | None,
    kind: Kind,
    output: Path | None,
    as_json: bool,
) -> None:
    """Readings or rollups, oldest first."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.pipeline.read_out import Wanted, stream_csv, stream_readings, view_of

    if (sensor is None) == (work_unit is None):
        raise click.UsageError("give --sensor or --work-unit")
    if work_unit is not None and level in (None, "readings"):
        raise click.UsageError("--work-unit needs --level minute, hour or day: readings are of sensors")
    in_order(start, end)
    if kind == "parquet" and output is None:
        raise click.UsageError("--format parquet needs --output FILE: it is not for a terminal")
    if output is not None and kind not in ("csv", "parquet"):
        raise click.UsageError("--output takes --format csv or parquet")
    if output is not None and output.exists():
        raise click.ClickException(f"{output} is there already: name a new file")
    of: Wanted = {"sensor": sensor, "work_unit": work_unit, "metric": metric, "start": start, "end": end}
    of["level"] = level or "readings"
    schema = view_of(of).schema
    with command_database(command_settings()) as database:
        if as_json or kind == "json":
            emit_json(_rows(stream_readings(database, **of)))
        elif kind == "table":
            print_table(_rows(stream_readings(database, **of)), schema.names)
        elif kind == "parquet":
            assert output is not None
            _export(output, partial(_write_parquet, schema, stream_readings(database, **of)))
        elif output is not None:
            _export(output, partial(_write_lines, stream_csv(database, **of)))
        else:
            _write_lines(stream_csv(database, **of), sys.stdout.buffer)


def _export(output: Path, write: Callable[[IO[bytes]], None]) -> None:
    """The file is there when it is whole, or not at all."""
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as file:
            write(file)
        part.replace(output)
    except OSError as err:
        raise click.ClickException(f"{output}: cannot be written: {err.strerror or err}") from err
    finally:
        part.unlink(missing_ok=True)


def _write_lines(lines: Iterable[bytes], file: IO[bytes]) -> None:
    for line in lines:
        file.write(line)


def _write_parquet(schema: "pa.Schema", parts: Iterable["pa.Table"], file: IO[bytes]) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for part in parts:
            writer.write_table(part)


def _rows(parts: Iterable["pa.Table"]) -> list[dict[str, Any]]:
    """As Python's own values; None where the database has NULL."""
    return [row for part in parts for row in part.to_pylist()]
