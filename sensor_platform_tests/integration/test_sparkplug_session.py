"""A Sparkplug session through the pipeline: births, aliases, a restart in the middle, a rebirth, a death."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.retry import retry
from sensor_platform.pipeline import contents, outdated
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.pipeline.mode import Mode
from sensor_platform.routes.file import parse_routes
from sensor_platform.settings import Settings
from sensor_platform.transformers import sparkplug_births
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, new_staging, rows, stage
from sensor_platform_tests.transformers.sparkplug import birth, data, death, metric

ROUTES = "routes: [{name: sparkplug, filter: 'spBv1.0/#', format: sparkplug}]"
DOUBLE, INT32 = 10, 3
HOURS = [HOUR + timedelta(hours=number) for number in range(4)]
WHO = "plant/edge"


def ms(hour: int, second: int) -> int:
    return int((HOURS[hour] + timedelta(seconds=second)).timestamp() * 1000)


def node_birth(hour: int, second: int, force: int, *, bdseq: int) -> tuple[str, bytes]:
    return birth(WHO, metric("force", force, DOUBLE, double_value=0.0, unit="kN"), bdseq=bdseq, at=ms(hour, second))


def device_birth(hour: int, second: int, strokes: int) -> tuple[str, bytes]:
    return birth(f"{WHO}/press", metric("strokes", strokes, INT32, int_value=0), at=ms(hour, second))


def force(hour: int, second: int, alias: int, value: float) -> tuple[str, bytes]:
    return data(WHO, metric(None, alias, None, double_value=value), at=ms(hour, second))


def strokes(hour: int, second: int, alias: int, value: int) -> tuple[str, bytes]:
    return data(f"{WHO}/press", metric(None, alias, None, int_value=value % 2**32), at=ms(hour, second))


SESSION = [
    [node_birth(0, 0, 1, bdseq=7), device_birth(0, 1, 2), force(0, 2, 1, 10.5), strokes(0, 3, 2, 1)],
    [force(1, 0, 1, 11.5), strokes(1, 1, 2, -2)],  # a restart of everything lies before this hour
    # The node connects again, and now its aliases mean something else.
    [
        node_birth(2, 0, 2, bdseq=8),
        device_birth(2, 1, 1),
        death(WHO, bdseq=7),
        force(2, 3, 2, 12.5),
        strokes(2, 4, 1, 3),
    ],
    [force(3, 0, 2, 13.5), death(WHO, bdseq=8)],
]
SERIES = [
    ("edge", "force", [0.0, 10.5, 11.5, 0.0, 12.5, 13.5]),
    ("edge", "online", [1.0, 1.0, 0.0]),
    ("edge/press", "online", [1.0, 1.0, 0.0]),
    ("edge/press", "strokes", [0.0, 1.0, -2.0, 0.0, 3.0]),
]


def stage_hour(folder: Path, hour: int, messages: Sequence[tuple[str, bytes]]) -> None:
    staged = [Message(payload, topic=topic) for topic, payload in messages]
    stage(new_staging(folder), f"a-{hour}", staged, hour=HOURS[hour], first_sequence=100 * hour)


def restart() -> None:
    """What a process remembers is gone; the objects of the next load are new ones anyway."""
    contents.remembered.clear()
    sparkplug_births.remembered.clear()


def load_all(folder: Path, url: str, *, mode: Mode = Mode.NEW, hour: int | None = None) -> None:
    restart()
    with Database(url) as database:
        load(
            new_staging(folder),
            database,
            mode=mode,
            using=parse_routes(ROUTES),
            hour=None if hour is None else HOURS[hour],
        )


def series(database: Database) -> list[tuple[str, str, list[float]]]:
    found = rows(
        database,
        "SELECT sensor.name, series.metric, array_agg(value ORDER BY time, sequence) FROM metric "
        "JOIN series ON series.id = metric.series JOIN sensor ON sensor.id = series.sensor_id "
        "GROUP BY sensor.name, series.metric ORDER BY sensor.name, series.metric",
    )
    return [(sensor, name, values) for sensor, name, values in found]


def test_a_session_with_a_restart_in_the_middle_gives_the_right_series(database: Database, tmp_path: Path) -> None:
    for hour, messages in enumerate(SESSION):
        stage_hour(tmp_path, hour, messages)
        load_all(tmp_path, database.url)
    assert series(database) == SERIES
    assert rows(database, "SELECT unit FROM sensor_platform.series WHERE metric = 'force'") == [("kN",)]
    assert rows(database, "SELECT sum(dead_lettered), sum(ignored), sum(staged) FROM ledger") == [(0, 1, 13)]
    assert mismatches(database) == []


def test_a_backfill_of_any_hour_after_a_rebirth_gives_the_same_series(database: Database, tmp_path: Path) -> None:
    for hour, messages in enumerate(SESSION):
        stage_hour(tmp_path, hour, messages)
    load_all(tmp_path, database.url)
    for hour in (0, 1, 3, 2):
        load_all(tmp_path, database.url, mode=Mode.AGAIN, hour=hour)
        assert series(database) == SERIES
    assert outdated.outdated(database) == {}
    assert mismatches(database) == []


def test_data_that_is_loaded_before_its_birth_waits_for_it(database: Database, tmp_path: Path) -> None:
    stage_hour(tmp_path, 1, SESSION[1])
    load_all(tmp_path, database.url)
    assert rows(database, "SELECT code FROM dead_letter") == [("no_birth",), ("no_birth",)]
    for hour in (2, 3, 0):
        stage_hour(tmp_path, hour, SESSION[hour])
        load_all(tmp_path, database.url)
    restart()
    letters = [letter for (letter,) in rows(database, "SELECT id FROM dead_letter")]
    assert retry(database, parse_routes(ROUTES), settings=Settings(), ids=letters).states == {"resolved": 2}
    assert series(database) == SERIES
    assert mismatches(database) == []
