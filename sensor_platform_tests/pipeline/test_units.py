"""Each series has one unit: readings convert on the way in, and what was sent can be told again."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sensor_platform.database.engine import Database
from sensor_platform.errors import ConfigurationError
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.prepare import prepare
from sensor_platform.pipeline.readings import trace
from sensor_platform.pipeline.registry import list_series, set_sensor
from sensor_platform.pipeline.rollups import changed_days
from sensor_platform.routes.file import parse_routes
from sensor_platform.routes.model import Routes
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import (
    HOUR,
    ROUTES,
    in_metric,
    load,
    new_staging,
    routes,
    rows,
    stage,
    value,
)
from sensor_platform_tests.pipeline.test_any_order import assert_the_first_stands, clear, roll_up_marked, snapshot


def at(second: int) -> Any:
    return HOUR + timedelta(seconds=second)


def in_unit(unit: str) -> Routes:
    return routes(f', units: {{value: "{unit}"}}')


def values(database: Database) -> list[float]:
    return [number for number, *_ in in_metric(database)]


def unit_of(database: Database) -> tuple[str | None, str | None]:
    (row,) = rows(database, "SELECT unit, unit_by FROM series")
    return row


def traced(database: Database, staging: LocalStaging, second: int) -> tuple[float, str, Any]:
    (found,) = trace(database, staging, "p1", "value", at(second))
    return found["reading"]["value"], found["reading"]["unit"], found["original"]


def test_the_first_unit_stays_and_others_convert_or_are_refused(database: Database, staging: LocalStaging) -> None:
    first = [value(1, at(0)), value(2, at(1), unit="C"), value(212, at(2), unit="°F"), value(9, at(3), unit="kPa")]
    stage(staging, "a", first)
    assert load(staging, database).refused_by_code == {"incompatible_unit": 1}
    second = [value(32, at(4), unit="F"), value(5, at(5), unit="°C"), value(1, at(6), unit="pcs"), value(6, at(7))]
    stage(staging, "b", second, first_sequence=5)
    assert load(staging, database).refused_by_code == {"unknown_unit": 1}
    assert unit_of(database) == ("C", None)
    assert values(database) == [1, 2, 100, 0, 5, 6]
    assert traced(database, staging, 1) == (2.0, "C", None)
    assert traced(database, staging, 2) == (100.0, "C", {"value": 212.0, "unit": "°F"})
    assert traced(database, staging, 5) == (5.0, "C", {"value": 5.0, "unit": "°C"})
    assert traced(database, staging, 7) == (6.0, "C", None)
    assert mismatches(database) == []


def test_a_unit_that_nobody_knows_is_a_label(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1, at(0), unit="pcs"), value(2, at(1), unit="pcs"), value(3, at(2), unit="m")])
    assert load(staging, database).refused_by_code == {"unknown_unit": 1}
    assert values(database) == [1, 2]
    assert unit_of(database) == ("pcs", None)


def test_equal_readings_in_two_units_are_one(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(100, unit="°C"), value(212, unit="°F"), value(373.15, unit="K")])
    assert load(staging, database).readings.duplicate == 2
    assert values(database) == [100]


def test_the_unit_of_the_route_comes_first(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(212, at(0), unit="°F"), value(7, at(1)), value(1, at(2), unit="bar")])
    assert load(staging, database, using=in_unit("degC")).refused_by_code == {"incompatible_unit": 1}
    assert unit_of(database) == ("degC", "data")
    assert values(database) == [100, 7]
    assert traced(database, staging, 0) == (100.0, "degC", {"value": 212.0, "unit": "°F"})


def test_limits_are_in_the_unit_of_the_series(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(20, at(0), unit="°C")])
    load(staging, database)
    set_sensor(database, "p1", metric="value", minimum=0, maximum=50)
    stage(staging, "b", [value(68, at(1), unit="°F"), value(31, at(2), unit="°F")], first_sequence=2)
    assert load(staging, database).refused_by_code == {"below_minimum": 1}
    set_sensor(database, "p1", metric="value", unit="°F")
    (series,) = list_series(database)
    assert (series["minimum"], series["maximum"], series["unit"]) == (32, 122, "°F")


def test_integers_past_the_floats_stay_exact(database: Database, staging: LocalStaging) -> None:
    big = 2**60 + 1
    stage(staging, "a", [value(1, at(0), unit="Wh"), value(big, at(1), unit="Wh"), value(2**53 + 1, at(2), unit="kWh")])
    load(staging, database)
    assert in_metric(database)[1:] == [
        (float(big), str(big), 2),
        (float((2**53 + 1) * 1000), str((2**53 + 1) * 1000), 3),
    ]


def test_a_value_beyond_a_float_is_refused(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1, at(0), unit="nA"), value(1e300, at(1), unit="kA"), value(2, at(2), unit="nA")])
    assert load(staging, database).refused_by_code == {"incompatible_unit": 1}
    assert values(database) == [1, 2]


def test_a_unit_set_by_hand_converts_what_stands_and_outlasts_the_route(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "a", [value(20, at(0), unit="°C"), value(212, at(1), unit="°F"), value(7, at(2))])
    load(staging, database)
    roll_up_marked(database)
    set_sensor(database, "p1", metric="value", unit="K")
    assert values(database) == [293.15, 373.15, 280.15]  # what named no unit was in °C, and is so still
    assert changed_days(database) != []
    assert traced(database, staging, 0) == (293.15, "K", {"value": 20.0, "unit": "°C"})
    assert traced(database, staging, 2) == (280.15, "K", {"value": 7.0, "unit": "°C"})
    load(staging, database, mode=Mode.AGAIN)
    assert values(database) == [293.15, 373.15, 280.15]
    load(staging, database, mode=Mode.AGAIN, using=in_unit("°F"))
    assert unit_of(database) == ("K", "a person")
    assert values(database) == [293.15, 373.15, pytest.approx(259.26, abs=0.01)]  # the route says that it was °F
    changes = rows(database, 'SELECT unit_before, unit, "by" FROM unit_change ORDER BY id')
    assert changes == [("°C", "K", "a person"), ("°C", "°F", "data")]


def test_a_load_that_was_prepared_in_the_old_unit_is_prepared_again(
    database: Database, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(staging, "a", [value(20, at(0), unit="°C")])
    load(staging, database)
    stage(staging, "b", [value(30, at(1), unit="°C")], first_sequence=2)
    prepared = []

    def meanwhile(*given: Any, **more: Any) -> Any:
        outcome = prepare(*given, **more)
        if not prepared:
            set_sensor(database, "p1", metric="value", unit="°F")
        prepared.append(outcome.readings.value.tolist())
        return outcome

    monkeypatch.setattr("sensor_platform.pipeline.process.prepare", meanwhile)
    load(staging, database)
    assert prepared == [[30], [86]]
    assert values(database) == [68, 86]


def test_the_least_and_the_greatest_floats_convert_too(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(number, at(n), unit="mm") for n, number in enumerate([5e-324, 1e308, 2500, 0])])
    load(staging, database)
    stage(staging, "b", [value(1, at(9), unit="m")], first_sequence=9)
    load(staging, database, using=in_unit("m"))
    assert values(database) == [0.0, 1e305, 2.5, 0.0, 1.0]
    stage(staging, "c", [value(1, at(10), unit="mm")], first_sequence=10)
    with capture_logs() as said:
        load(staging, database, using=in_unit("µm"))  # which a float does not hold of 1e305 m
    assert [line["stays"] for line in said if line["event"] == "unit_of_route_refused"] == ["m"]
    assert values(database) == [0.0, 1e305, 2.5, 0.0, 1.0, 1e-3]


def test_another_name_for_the_same_unit_changes_no_reading(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(2**60 + 1, at(0), unit="C")])
    load(staging, database)
    before = in_metric(database)
    roll_up_marked(database)
    stage(staging, "b", [value(2**60 + 1, at(0), unit="C")], first_sequence=2)
    report = load(staging, database, using=in_unit("degC"))
    assert unit_of(database) == ("degC", "data")
    assert in_metric(database) == before
    assert report.messages.duplicate == 1
    assert changed_days(database) == []


def test_another_route_does_not_change_the_unit(database: Database, staging: LocalStaging) -> None:
    other = ROUTES.replace("name: data", "name: other") % ', units: {value: "°F"}'
    stage(staging, "a", [value(20, at(0), unit="°C")])
    load(staging, database, using=in_unit("°C"))
    stage(staging, "b", [value(68, at(1), unit="°F")], first_sequence=2)
    load(staging, database, using=parse_routes(other))
    assert unit_of(database) == ("°C", "data")
    assert values(database) == [20, 20]


def test_readings_of_before_are_converted_by_the_unit_that_their_series_had(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "a", [value(20, at(0), unit="°C")])
    load(staging, database)
    with database.begin() as connection:  # as the migration leaves what stands
        connection.execute(sa.text("""UPDATE sensor_platform.metric SET source_unit = (-1)::"char" """))
        connection.execute(sa.text("UPDATE sensor_platform.series SET units = '{}'"))
    assert traced(database, staging, 0) == (20.0, "°C", None)
    set_sensor(database, "p1", metric="value", unit="°F")
    assert traced(database, staging, 0) == (68.0, "°F", {"value": 20.0, "unit": "°C"})


def test_a_unit_that_is_no_text_is_refused_with_its_line() -> None:
    with pytest.raises(
        ConfigurationError, match=r'routes.yaml:2: route "data": units: "value": 5 is not a unit as text'
    ):
        routes(", units: {value: 5}")


def test_a_number_takes_no_more_than_64_bytes_of_a_page(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(20, at(0), unit="°C"), value(68, at(1), unit="°F")])
    load(staging, database)
    # 24 of them are the header of the row.
    assert rows(database, "SELECT max(pg_column_size(metric.*)) FROM metric") == [(64,)]


UNITS = ["°C", "degC", "°F", "K", None, None]
readings = st.builds(
    lambda second, number, unit: value(number, at(second), **({} if unit is None else {"unit": unit})),
    st.integers(0, 3),
    st.sampled_from([0, 20, 68, 293.15, 21.37, -40]),
    st.sampled_from(UNITS),
)
plans = st.lists(st.lists(readings, min_size=1, max_size=4), min_size=2, max_size=4)
VARIANTS = ["", ', units: {value: "°F"}', ', units: {"v*": degC}', ", units: {value: K}", ', units: {value: "°C"}']
steps = st.lists(
    st.tuples(st.sampled_from(["new", "again"]), st.integers(0, 3), st.integers(0, len(VARIANTS) - 1)), max_size=5
)


def everything(database: Database) -> dict[str, Any]:
    source = """
        SELECT ledger.name, sequence, ordinal, series.unit, unit_by, series.units[source_unit::integer]
        FROM metric JOIN series ON series.id = series JOIN ledger ON ledger.id = micro_batch ORDER BY 1, 2, 3"""
    return without_last_digits(snapshot(database)) | {"source": rows(database, source)}


def without_last_digits(found: dict[str, Any]) -> dict[str, Any]:
    """A sum of floats depends on the order in which the rows lie."""
    sums = {name: lines for name, lines in found.items() if name.startswith("metrics_")}
    rounded = {
        name: [tuple(round(one, 6) if isinstance(one, float) else one for one in line) for line in lines]
        for name, lines in sums.items()
    }
    return {**found, **rounded}


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=plans, steps=steps, final=st.integers(1, len(VARIANTS) - 1), order=st.permutations(range(4)))
def test_whatever_units_the_route_named_before_backfills_end_in_one_clean_pass(
    database: Database, tmp_path_factory: pytest.TempPathFactory, plan: Any, steps: Any, final: int, order: list[int]
) -> None:
    staging = new_staging(tmp_path_factory.mktemp("units"))
    variants = [routes(options) for options in VARIANTS]
    for number, content in enumerate(plan):
        stage(staging, f"m{number}", content, hour=HOUR + timedelta(hours=number), first_sequence=10 * number)
    clear(database)
    load(staging, database, using=variants[final])
    roll_up_marked(database)
    clean = everything(database)
    clear(database)
    for mode, hour, variant in steps:
        load(staging, database, mode=Mode(mode), using=variants[variant], hour=HOUR + timedelta(hours=hour))
        assert mismatches(database) == []
        assert_the_first_stands(database)
    for hour in order:
        load(staging, database, mode=Mode.AGAIN, using=variants[final], hour=HOUR + timedelta(hours=hour))
    roll_up_marked(database)
    assert everything(database) == clean
    assert mismatches(database) == []
