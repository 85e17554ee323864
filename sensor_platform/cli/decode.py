"""`sensor-platform decode`: what a payload becomes, step by step. Neither broker nor database are needed for it."""

import math
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from sensor_platform.cli.connecting import command_routes, command_settings
from sensor_platform.cli.field import before_it, from_dead_letter, from_staged, message_from

if TYPE_CHECKING:
    from sensor_platform.pipeline.explain import Explanation
    from sensor_platform.pipeline.message import OneMessage
    from sensor_platform.pipeline.registered import Registered

WIDTH = 80


@click.command()
@click.option("--topic", help="The topic that the payload is published to; it chooses the route.")
@from_staged
@from_dead_letter
@click.option("--registry", is_flag=True, help="Ask the database for units, limits and calibrations of series too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: route, readings, refused, ignored, steps.")
def decode(topic: str | None, staged: str | None, dead_letter: int | None, registry: bool, as_json: bool) -> None:
    """Explain what becomes of a payload: of that on standard input, as received now on --topic, or of one from the
    field, as it was received.

    Exit code 1 if anything was refused. Limits, units and calibrations stand in the database and are asked only with
    --registry.
    """
    from sensor_platform.pipeline.explain import explain

    message = _message(topic, staged, dead_letter)
    settings = command_settings()
    routes, size = command_routes(settings), settings.mqtt.max_payload_bytes
    before = before_it(message, routes, size) if message.staged_at is not None else ()
    with _judge() if registry else nullcontext() as judge:
        found = explain(message, routes, max_payload_bytes=size, before=before, judge=judge)
    if as_json:
        from sensor_platform.cli.output import emit_json

        emit_json(described(found))
    else:
        click.echo("\n".join(_lines(message, found)))
    sys.exit(1 if found.refusals else 0)


@contextmanager
def _judge() -> "Iterator[Registered]":
    from sensor_platform.cli.connecting import command_database
    from sensor_platform.pipeline.catalogue import Catalogue
    from sensor_platform.pipeline.registered import Registered

    with command_database(command_settings()) as database:
        yield Registered(Catalogue(database.read_only))


def _message(topic: str | None, staged: str | None, dead_letter: int | None) -> "OneMessage":
    if sum(source is not None for source in (topic, staged, dead_letter)) != 1:
        raise click.UsageError("say one of --topic (with a payload on stdin), --from-staged and --from-dead-letter")
    if topic is None:
        return message_from(staged, dead_letter)
    from sensor_platform.pipeline.message import OneMessage

    return OneMessage(topic.encode("utf-8", "surrogatepass"), sys.stdin.buffer.read(), datetime.now(UTC))


def described(found: "Explanation") -> dict[str, Any]:
    """The JSON object of the command."""
    return {
        "route": found.route,
        "readings": [_reading(row) for row in found.readings.to_dict("records")],
        "refused": [{"stage": r.stage, "code": r.code, "detail": r.detail} for r in found.refusals],
        "ignored": found.ignored,
        "steps": [{"step": step.step, "ok": step.ok, "says": list(step.says)} for step in found.steps],
    }


def _reading(row: dict[Any, Any]) -> dict[str, Any]:
    from sensor_platform.transformers.contract import Quality
    from sensor_platform.transformers.times import iso
    from sensor_platform.transformers.units import original

    source = row["source_unit"] if isinstance(row["source_unit"], str) else None
    calibration = row.get("calibration")
    value = row["value"] if calibration is None else calibration.before(row["value"])
    sent = {} if source is None else {"original": original(value, source, row["unit"])}
    return {
        **{name: row[name] for name in ("work_unit", "sensor", "metric")},
        "time": iso(row["time"]),
        "value": row["value"] if math.isfinite(row["value"]) else None,
        **{name: row[name] for name in ("text", "unit")},
        "quality": Quality(row["quality"]).name.lower(),
        **sent,
    }


def _lines(message: "OneMessage", found: "Explanation") -> Iterator[str]:
    """For a person, at most 80 columns wide."""
    yield from _wrapped("topic", message.topic_text)
    for step in found.steps:
        for place, sentence in enumerate(step.says):
            yield from _wrapped(step.step if place == 0 else "", sentence)
    for place, row in enumerate(found.readings.to_dict("records")):
        yield from _wrapped("readings" if place == 0 else "", _sentence(_reading(row)))
    ending = f"would be loaded: {len(found.readings)}; refused: {len(found.refusals)}"
    yield from _wrapped("result", "the message is ignored" if found.ignored else ending)


def _sentence(reading: dict[str, Any]) -> str:
    value = reading["value"] if reading["text"] is None else reading["text"]
    unit = f" {reading['unit']}" if reading["unit"] is not None else ""
    quality = "" if reading["quality"] == "good" else f", {reading['quality']}"
    sent = reading.get("original")
    quality += "" if sent is None else f", sent as {sent['value']} {sent['unit']}"
    place = f"{reading['work_unit']}/{reading['sensor']}"
    return f"{place} {reading['metric']} = {value}{unit} at {reading['time']}{quality}"


def _wrapped(heading: str, sentence: str) -> list[str]:
    return textwrap.wrap(
        _printable(sentence),
        width=WIDTH,
        initial_indent=f"{heading:<13}",
        subsequent_indent=" " * 15,
        break_on_hyphens=False,
        replace_whitespace=False,
    ) or [heading]


def _printable(text: str) -> str:
    """What a payload or topic says to a terminal becomes what a person can read."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
