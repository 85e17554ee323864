"""`publish --queue` and `publish --drain`: messages that are on the disk first, and sent when a broker answers."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sensor_platform.cli.output import emit_json
from sensor_platform.cli.published import say_unmatched
from sensor_platform.settings import Settings

if TYPE_CHECKING:
    from sensor_platform.mqtt.offline_queue import OfflineQueue, QueueTotals
    from sensor_platform.mqtt.outbox import Delivered, Outbox

OUTBOX_FOLDER = "outbox"
#: A person waits: that long for a subscriber to come back.
UNMATCHED_FOR_S = 5


def publish(
    settings: Settings,
    folder: Path | None,
    messages: Iterable[tuple[str, bytes]],
    options: dict[str, Any],
    *,
    wait_when_full: bool,
    retry_for_s: float,
    as_json: bool,
) -> None:
    """Puts the messages into the queue, then sends what it can. What is queued is done: exit code 0."""
    from sensor_platform.mqtt.outbox import Outbox

    with _queue(settings, folder, wait_when_full=wait_when_full) as queue:
        with Outbox(settings, queue, unmatched_for_s=min(retry_for_s, UNMATCHED_FOR_S)) as outbox:
            for topic, payload in messages:
                outbox.publish(topic, payload, **options)
            outbox.wait_until_sent(give_up_after_s=retry_for_s)
        _finish(outbox, queue.totals(), as_json=as_json, may_wait=not _needs_a_person(outbox))


def drain(
    settings: Settings,
    folder: Path | None,
    *,
    again: bool,
    discard_refused: bool,
    retry_for_s: float,
    as_json: bool,
) -> None:
    """Sends what waits in the queue; exit code 1 when something is left."""
    from sensor_platform.mqtt.outbox import Outbox

    with _queue(settings, folder) as queue:
        if discard_refused:
            click.echo(f"{queue.discard_refused()} refused messages are forgotten", err=True)
        if again:
            queue.restore()
        with Outbox(settings, queue, unmatched_for_s=min(retry_for_s, UNMATCHED_FOR_S)) as outbox:
            outbox.wait_until_sent(give_up_after_s=retry_for_s)
        _finish(outbox, queue.totals(), as_json=as_json, may_wait=False)


def _queue(settings: Settings, folder: Path | None, *, wait_when_full: bool = False) -> "OfflineQueue":
    from sensor_platform.mqtt.offline_queue import OfflineQueue

    return OfflineQueue(
        folder or settings.home / OUTBOX_FOLDER,
        max_messages=settings.mqtt.outbox_max_messages,
        max_bytes=settings.mqtt.outbox_max_bytes,
        when_full="block" if wait_when_full else "refuse",
    )


def _needs_a_person(outbox: "Outbox") -> bool:
    """Whether trying again will not help: wrong password, untrusted certificate."""
    from sensor_platform.errors import CredentialsRefusedError, TlsRefusedError

    return isinstance(outbox.trouble, CredentialsRefusedError | TlsRefusedError)


def _finish(outbox: "Outbox", totals: "QueueTotals", *, as_json: bool, may_wait: bool) -> None:
    delivered = outbox.delivered
    published = delivered.confirmed + delivered.unmatched + delivered.refused
    if as_json:
        counts = ("confirmed", "unmatched", "refused", "expired")
        told = {name: getattr(delivered, name) for name in counts}
        emit_json({"published": published, **told, "queued": totals.waiting, "queued_refused": totals.refused})
    else:
        click.echo(f"{published} published, {delivered.confirmed} confirmed, {totals.waiting} in the queue", err=True)
    _say(delivered, totals, outbox)
    if delivered.unmatched:
        say_unmatched(delivered.unmatched, published, what="the queue")
    failed = delivered.unmatched or delivered.refused or delivered.expired or (totals.waiting and not may_wait)
    sys.exit(1 if failed else 0)


def _say(delivered: "Delivered", totals: "QueueTotals", outbox: "Outbox") -> None:
    if totals.waiting:
        why = f": {outbox.trouble}" if outbox.trouble else ""
        click.echo(
            f"sensor-platform: {totals.waiting} messages wait in the queue{why}\nSend them: publish --drain", err=True
        )
    if delivered.expired:
        click.echo(f"sensor-platform: {delivered.expired} messages had expired and are gone", err=True)
    if totals.refused:
        click.echo(
            f"sensor-platform: the queue keeps {totals.refused} messages that the broker refused. "
            "Send them again with --drain --again, or forget them with --drain --discard-refused.",
            err=True,
        )
