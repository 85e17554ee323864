"""A metric whose type flips: one stray word is a dead letter, and decides nothing about the series."""

from datetime import UTC, datetime

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.routes.file import parse_routes
from sensor_platform.routes.model import Routes
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import Message, in_metric, load, routes, rows, stage, value

BY_PATH = parse_routes("""\
routes:
  - name: named
    filter: factory/{work_unit}/sensors/{sensor}/data
    format: json
    options:
      readings:
        - {metric: value, value: $.t, unit_field: $.u}
""")
IN_WIDE = parse_routes("""\
routes:
  - name: named
    filter: factory/{work_unit}/sensors/{sensor}/data
    format: json
    options:
      wide:
        include: [value]
        values:
          value: {unit_field: $.u}
""")

SERIES = "SELECT metric, unit FROM series"
LETTERS = "SELECT code, count(*) FROM dead_letter GROUP BY code"


def stray(word: object, unit: str) -> list[Message]:
    """The same thing said in the three ways of a route: a word and then a number, of another unit."""
    return [Message({"value": word, "t": word, "u": unit, "unit": unit})]


@pytest.mark.parametrize("using", [routes(), BY_PATH, IN_WIDE], ids=["default rules", "by path", "in wide"])
def test_a_stray_word_before_the_numbers_is_a_dead_letter_and_pins_nothing(
    database: Database, staging: LocalStaging, using: Routes
) -> None:
    stage(staging, "a-1", [*stray("N/A", "degF"), *stray(20, "degC")])
    stage(staging, "a-2", [*stray("N/A", "degF"), *stray("21.5", "degC"), *stray(True, "degC"), *stray(22, "degC")])
    load(staging, database, using=using)
    assert [found for found, _, _ in in_metric(database)] == [20, 21.5, 1, 22]
    assert rows(database, SERIES) == [("value", "degC")]
    assert rows(database, LETTERS) == [("value_not_number", 2)]


def test_a_word_alone_makes_no_series(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a-1", [*stray("N/A", "degF")])
    load(staging, database)
    assert rows(database, SERIES) == []
    assert rows(database, LETTERS) == [("value_not_number", 1)]


def test_a_reading_that_is_refused_for_its_time_pins_no_unit(database: Database, staging: LocalStaging) -> None:
    unset_clock = datetime(1970, 1, 1, tzinfo=UTC)
    stage(staging, "a-1", [value(68, unset_clock, unit="degF"), value(20, unit="degC")])
    load(staging, database)
    assert rows(database, SERIES) == [("value", "degC")]
    assert rows(database, LETTERS) == [("before_valid_time", 1)]


def test_a_route_that_takes_texts_keeps_both(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a-1", [value("N/A"), value(20)])
    load(staging, database, using=routes(", text: true"))
    assert [(None if number != number else number, text) for number, text, _ in in_metric(database)] == [
        (None, "N/A"),
        (20, None),
    ]
