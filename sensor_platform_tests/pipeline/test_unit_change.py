"""When the units of a series change, what stands is what one clean pass with today's routes and registry would give."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.pipeline.declarations import Declaration, RegistryError
from sensor_platform.pipeline.declare import declare
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.registry import set_sensor
from sensor_platform.pipeline.series import Seen, register
from sensor_platform.routes.model import Routes
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, TEXT, load, new_staging, routes, rows, stage, value
from sensor_platform_tests.pipeline.test_any_order import assert_the_first_stands, clear, roll_up_marked, snapshot
from sensor_platform_tests.pipeline.test_units import at, in_unit, unit_of, values, without_last_digits
from sensor_platform_tests.waiting import wait_until

REGISTRY = ("work_unit", "sensor", "series", "unit_change", "registry_change", "installation", "alembic_version")


def units(database: Database) -> tuple[Any, ...]:
    (row,) = rows(database, "SELECT unit, unit_by, unnamed_unit, unnamed_by FROM series")
    return row


def aside(database: Database) -> list[float]:
    return [
        number for (number,) in rows(database, "SELECT value FROM metric_duplicate ORDER BY time, sequence, ordinal")
    ]


def set_unit(database: Database, unit: str, **more: Any) -> None:
    set_sensor(database, "p1", metric="value", unit=unit, **more)


def refusals(said: Any, event: str) -> list[tuple[str, str, str]]:
    return [(line["route"], line["sensor"], line["unit"]) for line in said if line["event"] == event]


def test_an_aside_that_named_no_unit_stands_when_a_route_says_what_it_was_in(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "a", [value(20, at(0), unit="°C"), value(20, at(0)), value(68, at(0))])
    load(staging, database)
    assert (values(database), aside(database)) == ([20, 68], [20])
    stage(staging, "b", [value(1, at(9))], first_sequence=9)
    load(staging, database, using=in_unit("°F"))
    # 20 °C is 68 °F, as the third is one; the second was 20 °F.
    assert (values(database), aside(database)) == ([68, 20, 1], [68])
    assert units(database) == ("°F", "data", "°F", "data")
    assert rows(database, "SELECT name, inserted, duplicate_readings, accepted, duplicate FROM ledger ORDER BY 1") == [
        ("a", 2, 1, 2, 1),
        ("b", 1, 0, 1, 0),
    ]
    assert mismatches(database) == []


def test_a_person_who_wants_another_unit_says_nothing_of_what_was_sent(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "a", [value(20, at(0), unit="°C"), value(20, at(0)), value(7, at(1))])
    load(staging, database)
    set_unit(database, "K")
    assert (values(database), aside(database)) == ([293.15, 280.15], [293.15])
    assert units(database) == ("K", "a person", "°C", None)
    stage(staging, "b", [value(20, at(0)), value(8, at(2))], first_sequence=9)
    assert load(staging, database).readings.duplicate == 1
    assert values(database) == [293.15, 280.15, 281.15]


def test_a_value_is_never_converted_twice(database: Database, staging: LocalStaging) -> None:
    sent = [21.37, 0.1, 1e-7, 98.6, 451.0, -40.0]
    stage(staging, "a", [value(number, at(n), unit="°F") for n, number in enumerate(sent)])
    load(staging, database)
    for unit in ("K", "°C", "kelvin", "°F"):
        set_unit(database, unit)
    assert values(database)[2] == pytest.approx(1e-7, abs=1e-11)  # beside 255 K, a float has no room for more of it
    assert [*values(database)[:2], *values(database)[3:]] == [21.37, 0.1, 98.6, 451.0, -40.0]


def test_what_a_route_and_a_person_want_is_not_converted_twice(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(70.466, at(0), unit="°C"), value(2**60 + 1, at(1), unit="°C")])
    load(staging, database)
    set_unit(database, "degC")
    load(staging, database, mode=Mode.AGAIN, using=in_unit("K"))
    assert rows(database, f"SELECT value, {TEXT} FROM metric ORDER BY time") == [
        (70.466, None),
        (2.0**60, str(2**60 + 1)),
    ]


def test_digits_past_the_floats_stay_exact(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(2**60 + 1, at(0), unit="kWh"), value("1.5", at(1), unit="kWh")])
    load(staging, database)
    set_unit(database, "Wh")
    assert rows(database, f"SELECT value, {TEXT} FROM metric ORDER BY time") == [(2.0**60 * 1000, None), (1500, None)]
    stage(staging, "b", [value(2**53 + 1, at(2), unit="Wh")], first_sequence=9)
    load(staging, database)
    set_unit(database, "mWh")
    assert rows(database, "SELECT text FROM metric ORDER BY time")[2] == (str((2**53 + 1) * 1000),)
    set_unit(database, "Wh")
    assert rows(database, f"SELECT value, {TEXT} FROM metric ORDER BY time")[2] == (2.0**53, str(2**53 + 1))


def test_what_does_not_convert_is_refused_with_what_to_do(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(20, at(0), unit="degC"), value(7, at(1))])
    load(staging, database)
    with pytest.raises(RegistryError) as refused:
        set_unit(database, "bar")
    assert str(refused.value) == (
        "press/p1, metric 'value': its unit 'degC' does not convert to 'bar'. If the label was wrong and the numbers "
        "were in that all the time, say so with `sensors set --relabel`; if the device measures something else "
        "now, give it a new metric"
    )
    with pytest.raises(RegistryError, match='it has readings in "degC", which do not convert to "bar"'):
        set_unit(database, "bar", relabel=True)
    assert (unit_of(database), values(database)) == (("degC", None), [20, 7])
    assert rows(database, "SELECT count(*) FROM unit_change") == [(0,)]


def test_a_wrong_label_goes_and_numbers_and_limits_stay(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(20, at(0)), value(7, at(1))])
    load(staging, database)
    set_unit(database, "degC")
    set_sensor(database, "p1", metric="value", minimum=0, maximum=50)
    set_unit(database, "bar", relabel=True)
    assert values(database) == [20, 7]
    assert units(database) == ("bar", "a person", "bar", None)
    assert rows(database, "SELECT minimum, maximum FROM series") == [(0, 50)]
    stage(staging, "b", [value(1000, at(2), unit="mbar"), value(3, at(3))], first_sequence=9)
    load(staging, database)
    assert values(database) == [20, 7, 1, 3]


def test_a_unit_of_a_series_without_readings_is_any(database: Database) -> None:
    with database.begin() as connection:
        for unit in ("bar", "degC"):
            declare(connection, [Declaration(("press", "p1", "value"), {"unit": unit})], by="eve")
    assert units(database) == ("degC", "a person", "degC", None)


def test_a_label_that_a_route_gave_is_changed_in_the_route(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(20, at(0))])
    load(staging, database, using=in_unit("degC"))
    with pytest.raises(RegistryError, match=r"the route 'data' says .* in 'degC': change its units to 'bar'"):
        set_unit(database, "bar", relabel=True)
    stage(staging, "b", [value(3, at(1))], first_sequence=9)
    load(staging, database, using=in_unit("bar"))
    assert values(database) == [20, 3]
    assert units(database) == ("bar", "data", "bar", "data")


def test_a_route_does_not_relabel_what_readings_named(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(20, at(0), unit="degC")])
    load(staging, database)
    stage(staging, "b", [value(3, at(1)), value(5, at(2), unit="K")], first_sequence=9)
    with capture_logs() as said:
        report = load(staging, database, using=in_unit("bar"))
    assert refusals(said, "unit_of_route_refused") == [("data", "press/p1", "bar")]
    assert report.refused_by_code == {"incompatible_unit": 2}
    assert (unit_of(database), values(database)) == (("degC", None), [20])


def test_two_route_files_that_disagree_come_to_rest(database: Database, staging: LocalStaging) -> None:
    found = []
    for number, unit in enumerate(["degC", "°F", "degC", "°F", "degC", "°F"]):
        stage(staging, f"m{number}", [value(20, at(number))], first_sequence=10 * number)
        with capture_logs() as said:
            load(staging, database, using=in_unit(unit))
        found.append((unit_of(database)[0], refusals(said, "unit_to_and_fro")))
    warned = [("data", "press/p1", "°F")]
    assert found == [("degC", []), ("°F", []), ("degC", []), ("degC", warned), ("degC", []), ("degC", warned)]
    # Each reading is in the unit of the file that it was loaded with; those of before, of the last that was followed.
    assert values(database) == pytest.approx([20, 20, 20, -20 / 3, 20, -20 / 3])
    with capture_logs() as said:
        load(staging, database, mode=Mode.AGAIN, using=in_unit("°F"))
    assert refusals(said, "unit_to_and_fro") == []
    assert (unit_of(database), values(database)) == (("°F", "data"), [20] * 6)


def test_a_unit_set_by_hand_waits_for_one_that_is_being_registered(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(7, at(0))])
    load(staging, database)
    key = ("press", "p1", "value")
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"
    with ThreadPoolExecutor(1) as pool:
        with database.begin() as connection:
            register(connection, [Seen(key, "°C", "all", None, ("°C",))])
            person = pool.submit(set_unit, database, "K")
            wait_until(lambda: rows(database, waiting) == [(1,)], "somebody waits for the row of the series")
        person.result(timeout=60)
    # Who had prepared values in °C finds out that they are to be in K.
    assert rows(database, "SELECT unit_before, unit FROM unit_change") == [("°C", "K")]
    assert values(database) == [280.15]
    assert units(database) == ("K", "a person", "°C", None)


def test_a_route_asks_also_where_the_only_reading_does_not_convert(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(0, at(0), unit="°C")])
    load(staging, database)
    stage(staging, "b", [value(0, at(1), unit="kPa")], first_sequence=9)
    report = load(staging, database, using=in_unit("K"))
    assert report.refused_by_code == {"incompatible_unit": 1}
    assert (unit_of(database), values(database)) == (("K", "data"), [273.15])


NUMBERS = [0, 20, 68, 293.15, 21.37, -40, 70.466, 294.52]
readings = st.builds(
    lambda second, number, unit: value(number, at(second), **({} if unit is None else {"unit": unit})),
    st.integers(0, 2),
    st.sampled_from(NUMBERS),
    st.sampled_from(["°C", "degC", "°F", "K", "kPa", None, None, None]),
)
plans = st.lists(st.lists(readings, min_size=1, max_size=5), min_size=2, max_size=3)
#: Of a route, by micro-batch; no file that is edited to and fro.
named = st.permutations(["°C", "°F", "K", "degF"])
#: What a person does after a micro-batch.
wishes = st.lists(st.sampled_from([None, None, "K", "°F", "degC", "relabel"]), min_size=4, max_size=4)


def everything(database: Database) -> dict[str, Any]:
    source = """
        SELECT ledger.name, sequence, ordinal, series.units[source_unit::integer]
        FROM {} JOIN series ON series.id = series JOIN ledger ON ledger.id = micro_batch ORDER BY 1, 2, 3"""
    found = without_last_digits(snapshot(database))
    # Their sentences name the unit that the series had when they were written.
    found["letters"] = [row[:5] for row in found["letters"]]
    return found | {
        table: (found[table], rows(database, source.format(table))) for table in ("metric", "metric_duplicate")
    }


def one_clean_pass(database: Database, staging: LocalStaging, using: Routes) -> dict[str, Any]:
    """With the registry as it is."""
    clear(database, keep=REGISTRY)
    load(staging, database, using=using)
    roll_up_marked(database)
    return everything(database)


def wish(database: Database, unit: str | None) -> None:
    if unit == "relabel" and units(database)[3] is None:
        set_unit(database, "°F", relabel=True)
    elif unit not in (None, "relabel"):
        set_unit(database, str(unit))


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=plans, routed=st.lists(st.booleans(), min_size=4, max_size=4), named=named, wishes=wishes)
@example(
    plan=[[value(20, at(0), unit="°C"), value(20, at(0)), value(68, at(0))], [value(1, at(1))]],
    routed=[False, False, True, False],
    named=["°C", "K", "°F", "degF"],
    wishes=[None, None, None, "K"],
)
@example(
    plan=[[value(0, at(0), unit="°C")], [value(0, at(1), unit="kPa")]],
    routed=[False, False, True, False],
    named=["°C", "°F", "K", "degF"],
    wishes=[None, None, None, None],
)
def test_after_any_changes_it_is_as_after_one_clean_pass(
    database: Database, tmp_path_factory: pytest.TempPathFactory, plan: Any, routed: Any, named: Any, wishes: Any
) -> None:
    staging = new_staging(tmp_path_factory.mktemp("units"))
    clear(database)
    plan = [[value(20, at(9), unit="°C")], *plan]
    using = routes()
    for number, content in enumerate(plan):
        using = in_unit(named[number]) if routed[number] else routes()
        stage(staging, f"m{number}", content, hour=HOUR + timedelta(hours=number), first_sequence=10 * number)
        load(staging, database, using=using)
        wish(database, wishes[number])
        assert mismatches(database) == []
        assert_the_first_stands(database)
    roll_up_marked(database)
    assert everything(database) == one_clean_pass(database, staging, using)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=plans, wishes=st.lists(st.sampled_from(["K", "°F", "degC", "kelvin"]), min_size=1, max_size=4))
def test_a_wish_for_another_unit_changes_no_verdict_of_limits(
    database: Database, tmp_path_factory: pytest.TempPathFactory, plan: Any, wishes: Any
) -> None:
    staging = new_staging(tmp_path_factory.mktemp("units"))
    clear(database)
    stage(staging, "first", [value(20, at(9), unit="°C")])
    load(staging, database)
    set_sensor(database, "p1", metric="value", minimum=-10, maximum=50)
    for number, content in enumerate(plan, start=1):
        stage(staging, f"m{number}", content, hour=HOUR + timedelta(hours=number), first_sequence=10 * number)
        load(staging, database)
    for unit in wishes:
        set_unit(database, unit)
    roll_up_marked(database)
    assert everything(database) == one_clean_pass(database, staging, routes())
