"""Options of commands that take a message from the field: out of the staging area, or one that became a dead letter."""

from typing import TYPE_CHECKING

import click

from sensor_platform.cli.connecting import command_database, command_settings

if TYPE_CHECKING:
    from sensor_platform.pipeline.message import OneMessage
    from sensor_platform.routes.model import Routes

from_staged = click.option(
    "--from-staged", "staged", metavar="MICRO_BATCH:SEQUENCE", help="A staged message, as `trace` names it."
)
from_dead_letter = click.option(
    "--from-dead-letter", "dead_letter", type=int, metavar="ID", help="The message of this dead letter."
)


def place_of(option: str, text: str) -> tuple[str, int]:
    """Micro-batch and sequence of MICRO_BATCH:SEQUENCE."""
    micro_batch, _, sequence = text.rpartition(":")
    if not micro_batch or not sequence.isdecimal():
        raise click.UsageError(f'{option}: "{text}" is not MICRO_BATCH:SEQUENCE')
    return micro_batch, int(sequence)


def before_it(message: "OneMessage", routes: "Routes", max_payload_bytes: int) -> "tuple[OneMessage, ...]":
    """The messages that say what one from the field means; what is not known of them is said on standard error."""
    from sensor_platform.errors import SensorPlatformError
    from sensor_platform.pipeline.defining import asks_for_definitions, messages_before
    from sensor_platform.staging.place import open_staging

    if not asks_for_definitions(message, routes, max_payload_bytes=max_payload_bytes):
        return ()
    settings = command_settings()
    try:
        with command_database(settings) as database:
            staging = open_staging(settings)
            found = messages_before(message, routes, database, staging, max_payload_bytes=max_payload_bytes)
    except SensorPlatformError as err:
        click.echo(f"what was said before this message is not known: {err}", err=True)
        return ()
    for note in found.notes:
        click.echo(note, err=True)
    return found.messages


def message_from(staged: str | None, dead_letter: int | None) -> "OneMessage":
    """The message that one of the two options names."""
    settings = command_settings()
    if staged is not None:
        from sensor_platform.pipeline.message import staged_message
        from sensor_platform.staging.place import open_staging

        return staged_message(open_staging(settings), *place_of("--from-staged", staged))
    from sensor_platform.dead_letters.store import message_of

    assert dead_letter is not None
    with command_database(settings) as database:
        return message_of(database, dead_letter)
