"""`sensor-platform metrics`: the readings of a sensor."""

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import click

from sensor_platform.cli.connecting import Time, command_database, command_settings
from sensor_platform.cli.connecting import as_json as json_option

if TYPE_CHECKING:
    import pandas as pd


@click.command(help="Print readings of a sensor.")
@click.option("--sensor", required=True, help="WORK_UNIT/NAME, or NAME where it is unique.")
@click.option("--metric", help="Only this metric.")
@click.option("--from", "start", type=Time(), help="From this time on.")
@click.option("--to", "end", type=Time(), help="Before this time.")
@click.option("--format", "kind", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@json_option
def metrics(
    *,
    sensor: str,
    metric: str | None,
    start: datetime | None,
    end: datetime | None,
    kind: Literal["table", "csv", "json"],
    as_json: bool,
) -> None:
    """Prints readings, oldest first."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.pipeline.readings import COLUMNS, read_metrics

    with command_database(command_settings()) as database:
        frame = read_metrics(database, sensor=sensor, metric=metric, start=start, end=end)
    if as_json or kind == "json":
        emit_json(_rows(frame))
    elif kind == "csv":
        frame.to_csv(sys.stdout, index=False, date_format="%Y-%m-%dT%H:%M:%S.%fZ")
    else:
        print_table(_rows(frame), COLUMNS)


def _rows(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """Rows with None for what the database has as NULL: a text alone has no value."""
    rows = [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
    for row in rows:
        row["time"] = row["time"].to_pydatetime()
        if row["text"] is not None and row["value"] != row["value"]:
            row["value"] = None
    return rows
