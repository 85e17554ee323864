"""`sensor-platform publish`: one message, and whether anything took it. `finish` serves replay and simulate, too."""

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sensor_platform.mqtt.publisher import Published


@click.command()
@click.argument("topic")
@click.argument("payload", required=False)
@click.option("--qos", type=click.IntRange(0, 2), default=1, show_default=True, help="QoS 0 is never confirmed.")
@click.option("--retain", is_flag=True, help="The broker keeps it for those who subscribe later.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: published, confirmed, unmatched.")
def publish(topic: str, payload: str | None, qos: int, retain: bool, as_json: bool) -> None:
    """Publish PAYLOAD to TOPIC; without PAYLOAD, or with "-", what stands on standard input.

    Exit code 1 when nobody subscribes to the topic: nothing would have kept the message.
    """
    from sensor_platform.embedded.run_file import resolved
    from sensor_platform.mqtt.publisher import Published, Publisher
    from sensor_platform.settings import load_settings

    check_topic(topic)
    data = sys.stdin.buffer.read() if payload in (None, "-") else str(payload).encode()
    with Publisher(resolved(load_settings())) as publisher:
        if qos == 0:
            publisher.publish(topic, data, qos=0, retain=retain).result()
            published = Published(published=1, confirmed=0, unmatched=0)
        else:
            published = publisher.publish_all([(topic, data)], qos=qos, retain=retain)
    finish(published, what=f'"{topic}"', as_json=as_json, confirmable=qos > 0)


def check_topic(topic: str) -> str:
    """A topic that a message may be published to [MQTT-3.3.2-2]."""
    if not topic or "+" in topic or "#" in topic or "\0" in topic:
        raise click.BadParameter(f'"{topic}" is not a topic: + and # are for subscriptions', param_hint="topic")
    return topic


def finish(published: "Published", *, what: str, as_json: bool, confirmable: bool = True) -> None:
    """Prints the counts and ends the command: exit code 1 unless all was confirmed."""
    from sensor_platform.cli.output import emit_json

    if as_json:
        counts = ("published", "confirmed", "unmatched")
        emit_json({name: getattr(published, name) for name in counts})
    else:
        click.echo(f"{published.published} published, {published.confirmed} confirmed", err=True)
    if published.unmatched:
        click.echo(
            f"sensor-platform: {what}: nobody subscribed to {published.unmatched} of {published.published} messages, "
            "nothing has kept them. Does a collector run, and does a route match?",
            err=True,
        )
    sys.exit(1 if confirmable and not published.complete else 0)
