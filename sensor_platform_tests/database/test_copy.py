"""Binary COPY, column-wise: what goes in comes out, for every mixture of numbers and texts."""

import math
from dataclasses import fields
from typing import Any

import numpy as np
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from sensor_platform.database.copy import COLUMNS, ReadingRows, copy_readings
from sensor_platform.database.engine import Database
from sensor_platform.database.raw import cursor
from sensor_platform.pipeline.committed import read_rows

US_2001 = 978_307_200_000_000
US_2200 = 7_258_118_400_000_000

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
# (value, text) as a load has them: a NaN beside a text is NULL; beside a number there is no empty text.
contents = st.one_of(
    st.tuples(st.floats(), st.none()),
    st.tuples(st.just(math.nan), text),
    st.tuples(st.floats(allow_nan=False), text.filter(bool)),
)
reading = st.tuples(
    st.integers(US_2001, US_2200), contents, st.integers(0, 2**62), st.integers(0, 2**31 - 1), st.booleans()
)


def as_rows(readings: list[Any]) -> ReadingRows:
    texts = np.empty(len(readings), dtype=object)
    texts[:] = [content[1] for _, content, *_ in readings]
    return ReadingRows(
        time=np.array([one[0] for one in readings], np.int64),
        value=np.array([content[0] for _, content, *_ in readings], np.float64),
        sequence=np.array([one[2] for one in readings], np.int64),
        series=np.array([one[3] for one in readings], np.int32),
        micro_batch=np.arange(len(readings), dtype=np.int32),
        ordinal=np.zeros(len(readings), np.int32),
        quality=np.array([one[3] % 3 for one in readings], np.int16),
        timed_by_receipt=np.array([one[4] for one in readings], dtype=bool),
        source_unit=np.array([one[3] % 128 - 1 for one in readings], np.int8),
        text=texts,
    )


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(reading, max_size=8), st.booleans())
@example([(US_2001, (-0.0, None), 1, 1, False), (US_2001, (math.nan, ""), 1, 1, True)], True)
def test_the_tables_hold_what_goes_in(database: Database, readings: list[Any], with_places: bool) -> None:
    places = np.arange(len(readings)) if with_places else None
    with database.connect() as connection:
        connection.execute(
            sa.text("CREATE TEMPORARY TABLE out (place integer, LIKE sensor_platform.metric) ON COMMIT DROP")
        )
        copy_readings(cursor(connection), sql.Identifier("out"), as_rows(readings), places)
        microseconds = "(extract(epoch FROM time) * 1000000)::bigint"
        columns = [{"time": microseconds, "source_unit": "source_unit::integer"}.get(name, name) for name in COLUMNS]
        query = sql.SQL("SELECT place, {} FROM out ORDER BY micro_batch").format(sql.SQL(", ".join(columns)))
        found = cursor(connection).execute(query).fetchall()
    expected = [
        (
            place if with_places else None,
            at,
            None if math.isnan(value) and words is not None else value,
            sequence,
            series,
            place,
            0,
            "gub"[series % 3],
            by_receipt,
            series % 128 - 1,
            words or "",
        )
        for place, (at, (value, words), sequence, series, by_receipt) in enumerate(readings)
    ]
    assert list(map(repr, found)) == list(map(repr, expected))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(reading, min_size=1, max_size=8))
@example([(US_2001, (math.nan, None), 1, 1, False), (US_2001, (math.nan, ""), 1, 1, True)])
def test_what_goes_in_comes_out_again(database: Database, readings: list[Any]) -> None:
    given = as_rows(readings)
    with database.connect() as connection:
        connection.execute(sa.text("CREATE TEMPORARY TABLE out (LIKE sensor_platform.metric) ON COMMIT DROP"))
        copy_readings(cursor(connection), sql.Identifier("out"), given)
        found = read_rows(connection, sql.SQL("SELECT * FROM out ORDER BY micro_batch"))
    for column in fields(ReadingRows):
        assert repr(getattr(found, column.name).tolist()) == repr(getattr(given, column.name).tolist()), column.name


def test_nothing_is_a_stream_too(database: Database) -> None:
    with database.connect() as connection:
        copy_readings(cursor(connection), sql.Identifier("sensor_platform", "metric"), as_rows([]))
        assert connection.execute(sa.text("SELECT count(*) FROM sensor_platform.metric")).scalar_one() == 0
