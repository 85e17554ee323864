"""`sensor-platform staging`: what lies in the staging area, and how long."""

from dataclasses import asdict

import click

from sensor_platform.cli.connecting import as_json as json_option
from sensor_platform.cli.connecting import command_database, command_settings


@click.group(help="Upload what waits, compact and delete what is old.")
def staging() -> None:
    """Everything about staged micro-batches."""


@staging.command()
@click.option("--days", type=click.FloatRange(min=0), help="Instead of STAGING_RETENTION_DAYS; 0 deletes nothing.")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@json_option
def prune(days: float | None, dry_run: bool, as_json: bool) -> None:
    """Delete micro-batches older than STAGING_RETENTION_DAYS that are in the ledger.

    Readings and dead letters stay, and so does what was not processed. The ledger says what was deleted, and when.
    """
    from datetime import UTC, datetime

    from sensor_platform.cli.output import emit_json
    from sensor_platform.pipeline.retention import prune as prune_staging
    from sensor_platform.staging.place import open_staging

    settings = command_settings()
    kept_days = settings.staging_retention_days if days is None else days
    with command_database(settings) as database:
        pruned = prune_staging(open_staging(settings), database, days=kept_days, now=datetime.now(UTC), dry_run=dry_run)
    if as_json:
        emit_json(asdict(pruned))
        return
    if not kept_days:
        click.echo("STAGING_RETENTION_DAYS is 0: every micro-batch is kept.", err=True)
        return
    would = "would be" if dry_run else "were"
    click.echo(f"{pruned.micro_batches} micro-batches with {pruned.messages} messages {would} deleted.", err=True)
    if pruned.unprocessed:
        click.echo(f"{pruned.unprocessed} as old are kept: they were not processed.", err=True)


@staging.command()
@click.option("--hours", type=click.FloatRange(min=0), help="Instead of STAGING_COMPACTION_HOURS; 0 compacts nothing.")
@json_option
def compact(hours: float | None, as_json: bool) -> None:
    """Compact hours that ended STAGING_COMPACTION_HOURS ago or earlier: one file in place of many, and far smaller.

    Only what is in the ledger. Each message is compared with its original before that goes. Exit 1 when an hour could
    not be compacted: its files stay as they are.
    """
    from datetime import UTC, datetime

    from sensor_platform.cli.output import emit_json
    from sensor_platform.errors import StagingError
    from sensor_platform.pipeline.compaction import compact as compact_staging
    from sensor_platform.staging.place import open_staging

    settings = command_settings()
    after_hours = settings.staging_compaction_hours if hours is None else hours
    with command_database(settings) as database:
        done = compact_staging(open_staging(settings), database, after_hours=after_hours, now=datetime.now(UTC))
    compacted = done.compacted
    if as_json:
        emit_json({"before": done.before, "hours": done.hours, **asdict(compacted), "failed": done.failed})
    elif not after_hours:
        click.echo("STAGING_COMPACTION_HOURS is 0: every micro-batch keeps its own file.", err=True)
    else:
        click.echo(
            f"{compacted.micro_batches} micro-batches of {done.hours} hours were compacted: {compacted.messages} "
            f"messages, {compacted.bytes_before} bytes before, {compacted.bytes_after} after.",
            err=True,
        )
    if compacted.damaged:
        click.echo(f"{compacted.damaged} cannot be read, and stay as they are: the log says which.", err=True)
    if done.failed:
        raise StagingError("not compacted: " + "\n".join(done.failed))


@staging.command()
@json_option
def upload(as_json: bool) -> None:
    """Upload what waits on this disk, without a collector; exit 1 when the object store refuses."""
    from sensor_platform.cli.output import emit_json
    from sensor_platform.errors import ConfigurationError
    from sensor_platform.staging.uploader import open_uploader

    settings = command_settings()
    uploader = open_uploader(settings)
    if uploader is None:
        raise ConfigurationError("STAGING_URL names no object store: micro-batches stay where they are")
    uploader.check()
    uploaded = uploader.upload_waiting()
    if as_json:
        emit_json({"uploaded": uploaded})
    else:
        click.echo(f"{uploaded} micro-batches uploaded.", err=True)
