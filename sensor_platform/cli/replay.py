"""`sensor-platform replay`: recorded data from a CSV file, published as messages."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sensor_platform.cli.published import finish

if TYPE_CHECKING:
    from sensor_platform.settings import Settings
    from sensor_platform.simulator.arrival import Arrival
    from sensor_platform.simulator.recording import Recording

#: `--wait` gives up when nothing has moved for so long.
STANDSTILL_S = 120


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--topic", required=True, help="The topic of every message, such as factory/line-1/sensors/press-3/data.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="A multiple of recorded time; without it, as fast as the broker confirms.",
)
@click.option("--time-column", metavar="C", help="Default: the first named timestamp, time, datetime, date or ts.")
@click.option("--exclude", metavar="C", multiple=True, help="A column that is no metric. May be given several times.")
@click.option("--wait", is_flag=True, help="Return when all are in the ledger.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: published, confirmed, unmatched.")
def replay(
    *,
    file: Path,
    topic: str,
    speed: float | None,
    time_column: str | None,
    exclude: tuple[str, ...],
    wait: bool,
    as_json: bool,
) -> None:
    """Publish FILE, a CSV with a header, a message a row, in file order.

    Delimiter "," or ";". Each column besides the time is a metric; an empty cell is left out.
    """
    from sensor_platform.embedded.run_file import resolved
    from sensor_platform.mqtt.message import check_topic
    from sensor_platform.mqtt.publisher import Publisher
    from sensor_platform.settings import load_settings
    from sensor_platform.simulator.recording import Recording, paced

    settings = resolved(load_settings())
    check_topic(topic)
    arrival = _arrival(settings, topic) if wait else None
    recording = Recording(file, time_column=time_column, exclude=exclude)
    with recording, Publisher(settings) as publisher, _progress(recording) as advance:
        rows = paced(iter(recording), speed=speed)
        published = publisher.publish_all(_messages(rows, topic, advance))
    if recording.texts:
        click.echo(
            f"{recording.texts} cells are no numbers and were sent as text (first: {recording.first_text})", err=True
        )
    if arrival:
        arrival.wait(published.confirmed, standstill_s=STANDSTILL_S)
    finish(published, what=f'"{topic}"', as_json=as_json)


def _messages(rows: Iterator[Any], topic: str, advance: Any) -> Iterator[tuple[str, bytes]]:
    for row in rows:
        yield topic, row.payload
        advance()


def _progress(recording: "Recording") -> AbstractContextManager[Any]:
    """A progress bar on a terminal; nothing in a log file."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        return nullcontext(lambda: None)
    return _Bar(console, recording)


class _Bar(AbstractContextManager[Any]):
    def __init__(self, console: Any, recording: "Recording") -> None:
        from rich.progress import Progress

        self._progress = Progress(console=console)
        self._recording = recording

    def __enter__(self) -> Any:
        self._progress.start()
        self._task = self._progress.add_task(self._recording.name, total=self._recording.size_bytes)
        return lambda: self._progress.update(self._task, completed=self._recording.read_bytes)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def _arrival(settings: "Settings", topic: str) -> "Arrival":
    """Made before anything is published, so that what is missing for --wait is said first."""
    from sensor_platform.database.engine import connect_database
    from sensor_platform.simulator.arrival import Arrival, of_topic
    from sensor_platform.staging.place import open_staging

    database = connect_database(settings)
    return Arrival(open_staging(settings), database, since=datetime.now(UTC), count_ours=of_topic(topic))
