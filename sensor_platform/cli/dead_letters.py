"""`sensor-platform dead-letters`: what was refused, and what to do about it."""

from typing import TYPE_CHECKING, Any

import click

from sensor_platform.cli.connecting import as_json as json_option
from sensor_platform.cli.connecting import command_database, command_routes, command_settings, user_name

if TYPE_CHECKING:
    from sensor_platform.database.engine import Database

KEYS = (
    "id",
    "state",
    "stage",
    "code",
    "detail",
    "topic",
    "payload_base64",
    "received_at",
    "micro_batch",
    "sequence",
    "attempts",
    "next_attempt_at",
)
STATES = ("pending", "retrying", "resolved", "exhausted", "discarded")
STAGES = ("route", "decode", "schema", "range", "time")


@click.group(help="List, show, retry or discard dead letters.")
def dead_letters() -> None:
    """Everything about dead letters."""


@dead_letters.command("list")
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only this state; may be repeated.")
@click.option("--stage", "stages", type=click.Choice(STAGES), multiple=True, help="Only this stage; may be repeated.")
@click.option("--code", "codes", multiple=True, help="Only this code; may be repeated.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(min=1), help="At most this many.")
@json_option
def list_command(
    states: tuple[str, ...], stages: tuple[str, ...], codes: tuple[str, ...], limit: int, as_json: bool
) -> None:
    """List dead letters, newest first."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.dead_letters.store import list_letters

    with command_database(command_settings()) as database:
        letters = list_letters(database, states=states, stages=stages, codes=codes, limit=limit)
    if as_json:
        emit_json([_keys(letter) for letter in letters])
    else:
        print_table(letters, ["id", "state", "stage", "code", "topic", "received_at", "attempts", "detail"])


@dead_letters.command()
@click.argument("letter", type=int)
@json_option
def show(letter: int, as_json: bool) -> None:
    """Show one dead letter with its bytes."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.dead_letters.store import show as show_letter

    with command_database(command_settings()) as database:
        found = show_letter(database, letter)
    if as_json:
        emit_json(_keys(found))
    else:
        print_table([{"what": name, "is": value} for name, value in found.items()], ["what", "is"])


@dead_letters.command()
@click.argument("ids", type=int, nargs=-1)
@click.option("--code", "codes", multiple=True, help="Only letters with this code; may be repeated.")
@click.option("--stage", "stages", type=click.Choice(STAGES), multiple=True, help="Only this stage; may be repeated.")
@click.option("--route", "routes_only", multiple=True, help="Only letters of this route; may be repeated.")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(min=1), help="At most this many.")
@click.option("--dry-run", is_flag=True, help="Say what a retry would do, and do nothing.")
@json_option
def retry(
    *,
    ids: tuple[int, ...],
    codes: tuple[str, ...],
    stages: tuple[str, ...],
    routes_only: tuple[str, ...],
    limit: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Decode letters again, with today's routes. Without IDS: those that are due."""
    from sensor_platform.cli.output import emit_json, print_table
    from sensor_platform.dead_letters.retry import retry as retry_letters

    settings = command_settings()
    routes = command_routes(settings)
    with command_database(settings) as database:
        report = retry_letters(
            database,
            routes,
            settings=settings,
            ids=ids or None,
            codes=codes,
            stages=stages,
            routes_only=routes_only,
            limit=limit,
            dry_run=dry_run,
            by=user_name(),
        )
        # What became of them, or would: a dry run leaves the stored letter as it was.
        letters = [{**_stored(database, row["id"]), **row} for row in report.outcomes] if as_json else []
    if as_json:
        emit_json([_keys(letter) for letter in letters])
        return
    print_table(report.outcomes, ["id", "state", "code", "attempts", "next_attempt_at", "detail"])
    for micro_batch, why in report.left.items():
        click.echo(f"letters of {micro_batch} are left for later: {why}", err=True)
    would = "would be" if dry_run else "were"
    click.echo(f"{report.letters} letters {would} tried: {report.inserted} readings {would} inserted.", err=True)


@dead_letters.command()
@click.argument("ids", type=int, nargs=-1, required=True)
@click.option("--why", required=True, help="The reason, for those who come after.")
@json_option
def discard(ids: tuple[int, ...], why: str, as_json: bool) -> None:
    """Mark letters as not to be tried again. The bytes stay."""
    from sensor_platform.cli.output import emit_json
    from sensor_platform.dead_letters.store import discard as discard_letters
    from sensor_platform.dead_letters.store import show as show_letter

    with command_database(command_settings()) as database:
        count = discard_letters(database, ids, by=user_name(), why=why)
        letters = [show_letter(database, letter) for letter in ids] if as_json else []
    if as_json:
        emit_json([_keys(letter) for letter in letters])
    else:
        click.echo(f"{count} dead letters are discarded.", err=True)


def _stored(database: "Database", letter: int) -> dict[str, Any]:
    """The letter with its bytes; one that only a dry run made is nowhere."""
    from sensor_platform.dead_letters.states import UnknownLetterError
    from sensor_platform.dead_letters.store import show as show_letter

    try:
        return show_letter(database, letter)
    except UnknownLetterError:
        return dict.fromkeys(KEYS)


def _keys(letter: dict[str, Any]) -> dict[str, Any]:
    return {key: letter[key] for key in KEYS}
