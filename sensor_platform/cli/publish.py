"""`sensor-platform publish`: messages from the command line. What goes through the queue on disk is in `cli.outbox`."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sensor_platform.cli.published import finish

if TYPE_CHECKING:
    from sensor_platform.mqtt.message import MessageProperties
    from sensor_platform.mqtt.publisher import Published
    from sensor_platform.settings import Settings

#: A broker that answers slowly is not one that is away.
LEAST_STALL_S = 10


@click.command()
@click.argument("topic", required=False)
@click.argument("payload", required=False)
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The payload is in a file.")
@click.option("--lines", is_flag=True, help="Each line is a message of its own; blank ones are left out.")
@click.option("--qos", type=click.IntRange(0, 2), default=1, show_default=True, help="QoS 0 is never confirmed.")
@click.option("--retain", is_flag=True, help="The broker keeps it for those who subscribe later.")
@click.option("--content-type", metavar="TYPE", help="MQTT 5: such as application/json.")
@click.option("--user-property", "user_properties", metavar="NAME=VALUE", multiple=True, help="MQTT 5; repeatable.")
@click.option("--expiry", "message_expiry_s", metavar="SECONDS", type=int, help="MQTT 5: after that nobody gets it.")
@click.option("--response-topic", metavar="TOPIC", help="MQTT 5: where an answer is expected.")
@click.option("--correlation-data", metavar="TEXT", help="MQTT 5: what the answer repeats.")
@click.option("--text/--bytes", "is_text", default=None, help="MQTT 5: the payload is UTF-8 text, or is bytes.")
@click.option(
    "--retry-for",
    "retry_for_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=10,
    show_default=True,
    help="How long to try, ever less often, while no broker answers.",
)
@click.option("--queue", is_flag=True, help="On the disk first, in the home folder; sent now, or by a later --drain.")
@click.option("--queue-folder", type=click.Path(file_okay=False, path_type=Path), help="The same, in another folder.")
@click.option("--wait-when-full", is_flag=True, help="Wait for room in a full queue; without it, exit code 1.")
@click.option("--drain", is_flag=True, help="Send what waits in the queue. Takes no TOPIC.")
@click.option("--again", is_flag=True, help="With --drain: also what the broker refused before.")
@click.option("--discard-refused", is_flag=True, help="With --drain: forget what the broker refused.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: published, confirmed, unmatched.")
def publish(
    *,
    topic: str | None,
    payload: str | None,
    file: Path | None,
    lines: bool,
    qos: int,
    retain: bool,
    retry_for_s: float,
    queue: bool,
    queue_folder: Path | None,
    wait_when_full: bool,
    drain: bool,
    again: bool,
    discard_refused: bool,
    as_json: bool,
    **properties: Any,
) -> None:
    """Publish PAYLOAD to TOPIC; without PAYLOAD, or with "-", what stands on standard input.

    Exit code 1 when the broker does not confirm it, or nobody subscribes to the topic: nothing would have kept it. With
    --queue a message is safe once it is on the disk, whether a broker answers or not.
    """
    from sensor_platform.cli import outbox
    from sensor_platform.cli.connecting import command_settings
    from sensor_platform.mqtt.message import check_topic

    if drain == (topic is not None):
        raise click.UsageError("give either a TOPIC or --drain")
    if payload not in (None, "-") and file is not None:
        raise click.UsageError("give either PAYLOAD or --file")
    settings = command_settings()
    if topic is None:
        outbox.drain(
            settings,
            queue_folder,
            again=again,
            discard_refused=discard_refused,
            retry_for_s=retry_for_s,
            as_json=as_json,
        )
        return
    options = {"qos": qos, "retain": retain, "properties": _properties(**properties)}
    messages = ((topic, each) for each in _payloads(payload, file, lines=lines))
    check_topic(topic)
    if queue or queue_folder:
        outbox.publish(
            settings,
            queue_folder,
            messages,
            options,
            wait_when_full=wait_when_full,
            retry_for_s=retry_for_s,
            as_json=as_json,
        )
        return
    published = _publish(settings, messages, options, retry_for_s=retry_for_s)
    finish(published, what=f'"{topic}"', as_json=as_json, confirmable=qos > 0)


def _publish(
    settings: "Settings", messages: Iterable[tuple[str, bytes]], options: dict[str, Any], *, retry_for_s: float
) -> "Published":
    from sensor_platform.mqtt.publisher import Published, Publisher

    stall_timeout_s = max(retry_for_s, LEAST_STALL_S)
    with Publisher(settings, retry_for_s=retry_for_s, stall_timeout_s=stall_timeout_s) as publisher:
        if options["qos"] > 0:
            return publisher.publish_all(messages, **options)
        count = 0
        for topic, payload in messages:
            publisher.publish(topic, payload, **options)
            count += 1
        return Published(published=count, confirmed=0, unmatched=0)


def _payloads(payload: str | None, file: Path | None, *, lines: bool) -> Iterator[bytes]:
    """From the argument, a file or standard input, read as they are asked for."""
    if payload is not None and payload != "-":
        data = payload.encode(errors="surrogateescape")
        yield from _not_blank(data.splitlines()) if lines else [data]
        return
    with file.open("rb") if file else nullcontext(sys.stdin.buffer) as source:
        yield from _not_blank(source) if lines else [source.read()]


def _not_blank(lines: Iterable[bytes]) -> Iterator[bytes]:
    return (line.rstrip(b"\r\n") for line in lines if line.strip())


def _properties(*, user_properties: tuple[str, ...], correlation_data: str | None, **plain: Any) -> "MessageProperties":
    from sensor_platform.mqtt.message import MessageProperties

    pairs = []
    for each in user_properties:
        name, equals, value = each.partition("=")
        if not equals:
            raise click.BadParameter(f'"{each}" is not NAME=VALUE', param_hint="--user-property")
        pairs.append((name, value))
    data = None if correlation_data is None else correlation_data.encode(errors="surrogateescape")
    return MessageProperties(user_properties=tuple(pairs), correlation_data=data, **plain)
