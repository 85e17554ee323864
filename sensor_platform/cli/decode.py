"""`sensor-platform decode`: what a payload becomes, without broker, staging or database."""

import math
import sys
from datetime import UTC, datetime
from typing import Any

import click


@click.command()
@click.option("--topic", required=True, help="The topic that the payload is published to; it chooses the route.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: route, readings, refused.")
def decode(topic: str, as_json: bool) -> None:
    """Decode and validate the payload on standard input, as received now.

    The readings go to standard output, what is refused to standard error. Exit code 1 if anything was refused.
    The limits of sensors and the units of series stand in the database and are not asked.
    """
    result = explain(topic, sys.stdin.buffer.read(), received_at=datetime.now(UTC))
    if as_json:
        from sensor_platform.cli.output import emit_json

        emit_json(result)
    else:
        _print(result)
    sys.exit(1 if result["refused"] else 0)


def explain(topic: str, payload: bytes, *, received_at: datetime) -> dict[str, Any]:
    """Route, readings and refusals of one payload."""
    import numpy as np
    import pandas as pd

    from sensor_platform.pipeline.decode import decode as decode_messages
    from sensor_platform.pipeline.decode import one_message
    from sensor_platform.routes.file import load_routes
    from sensor_platform.settings import load_settings
    from sensor_platform.validation.readings import validate

    settings = load_settings()
    table = one_message(topic, payload, received_at)
    decoded = decode_messages(table, load_routes(settings), max_payload_bytes=settings.mqtt.max_payload_bytes)
    readings = decoded.readings
    context = {
        "received_at": table["received_at"].cast("int64")[0].as_py(),
        "series_unit": pd.Series([None] * len(readings), index=readings.index, dtype=object),
        "minimum": np.nan,
        "maximum": np.nan,
    }
    validated = validate(readings.assign(**context))
    refusals = sorted([*decoded.refusals, *validated.refusals], key=lambda refusal: refusal.ordinal)
    return {
        "route": decoded.route_of[0],
        "readings": [_reading(row) for row in validated.accepted.to_dict("records")],
        "refused": [{"stage": r.stage, "code": r.code, "detail": r.detail} for r in refusals],
        "ignored": bool(decoded.ignored[0]),
    }


def _reading(row: dict[Any, Any]) -> dict[str, Any]:
    from sensor_platform.transformers.contract import Quality
    from sensor_platform.transformers.times import iso

    return {
        **{name: row[name] for name in ("work_unit", "sensor", "metric")},
        "time": iso(row["time"]),
        "value": row["value"] if math.isfinite(row["value"]) else None,
        **{name: row[name] for name in ("text", "unit")},
        "quality": Quality(row["quality"]).name.lower(),
    }


def _print(result: dict[str, Any]) -> None:
    from sensor_platform.cli.output import print_table

    click.echo(f"route: {result['route'] or 'none'}{', ignored' if result['ignored'] else ''}", err=True)
    if result["readings"]:
        print_table(result["readings"], list(result["readings"][0]))
    for refused in result["refused"]:
        click.echo(f"refused: {refused['stage']}, {refused['code']}: {refused['detail']}", err=True)
