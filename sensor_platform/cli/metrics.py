"""`sensor-platform metrics`: the readings of a sensor, printed or exported."""

import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import click

from sensor_platform.cli.connecting import Time, command_database, command_settings
from sensor_platform.cli.connecting import as_json as json_option

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["table", "csv", "json", "parquet"]


@click.command(help="Print or export readings of a sensor, or its minutes, hours or days.")
@click.option("--sensor", required=True, help="WORK_UNIT/NAME, or NAME where it is unique.")
@click.option("--metric", help="Only this metric.")
@click.option(
    "--level",
    type=click.Choice(["readings", "minute", "hour", "day"]),
    default="readings",
    show_default=True,
    help="minute, hour, day: count, means, deviation, first, last and quality of each; see docs/rollups.md.",
)
@click.option("--from", "start", type=Time(), help="From this time on.")
@click.option("--to", "end", type=Time(), help="Before this time.")
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
    sensor: str,
    metric: str | None,
    level: str,
    start: datetime | None,
    end: datetime | None,
    kind: Kind,
    output: Path | None,
    as_json: bool,
) -> None:
    """Readings or rollups, oldest first."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.pipeline.read_out import LEVELS, stream_readings

    if kind == "parquet" and output is None:
        raise click.UsageError("--format parquet needs --output FILE: it is not for a terminal")
    if output is not None and kind not in _EXPORTS:
        raise click.UsageError(f"--output takes --format {' or '.join(_EXPORTS)}")
    if output is not None and output.exists():
        raise click.ClickException(f"{output} is there already: name a new file")
    with command_database(command_settings()) as database:
        parts = stream_readings(database, sensor=sensor, metric=metric, start=start, end=end, level=level)
        schema = LEVELS[level].schema
        if output is not None:
            _export(output, partial(_EXPORTS[kind], schema), parts)
        elif as_json or kind == "json":
            emit_json(_rows(parts))
        elif kind == "csv":
            _write_csv(schema, parts, sys.stdout.buffer)
        else:
            print_table(_rows(parts), schema.names)


def _export(
    output: Path, write: Callable[[Iterable["pa.Table"], IO[bytes]], None], parts: Iterable["pa.Table"]
) -> None:
    """The file is there when it is whole, or not at all."""
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as file:
            write(parts, file)
        part.replace(output)
    except OSError as err:
        raise click.ClickException(f"{output}: cannot be written: {err.strerror or err}") from err
    finally:
        part.unlink(missing_ok=True)


def _write_csv(schema: "pa.Schema", parts: Iterable["pa.Table"], file: IO[bytes]) -> None:
    from sensor_platform.pipeline.read_out import frame_of

    file.write((",".join(schema.names) + "\n").encode())
    for part in parts:
        text = frame_of(part).to_csv(index=False, header=False, date_format="%Y-%m-%dT%H:%M:%S.%fZ")
        file.write(text.encode())


def _write_parquet(schema: "pa.Schema", parts: Iterable["pa.Table"], file: IO[bytes]) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for part in parts:
            writer.write_table(part)


_EXPORTS = {"csv": _write_csv, "parquet": _write_parquet}


def _rows(parts: Iterable["pa.Table"]) -> list[dict[str, Any]]:
    """As Python's own values; None where the database has NULL."""
    return [row for part in parts for row in part.to_pylist()]
