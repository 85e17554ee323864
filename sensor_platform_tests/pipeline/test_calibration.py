"""Calibrations by event time: what is stored in the end is what one clean pass with today's registry stores."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.retry import retry
from sensor_platform.pipeline import recalibrated
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.pipeline.calibration import Calibration, differing, in_order, laid_over, overlap
from sensor_platform.pipeline.declarations import Declaration, RegistryError
from sensor_platform.pipeline.declare import declare, find_concerned
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.outdated import outdated
from sensor_platform.pipeline.prepare import prepare
from sensor_platform.pipeline.readings import trace
from sensor_platform.pipeline.registry import history, import_registry, list_series, set_sensor
from sensor_platform.pipeline.registry_export import as_csv, as_yaml
from sensor_platform.pipeline.registry_file import read_registry
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, in_metric, load, new_staging, routes, rows, stage, value
from sensor_platform_tests.pipeline.test_any_order import clear, roll_up_marked, snapshot
from sensor_platform_tests.waiting import wait_until

HOURS = [HOUR + timedelta(hours=n) for n in range(3)]
TEXT = routes(", text: true")
WAITING = """
    SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"""

SERIES_OF_P2 = """
    SELECT series.id FROM sensor_platform.series
    JOIN sensor_platform.sensor ON sensor.id = series.sensor_id WHERE sensor.name = 'p2'"""


def at(second: int) -> datetime:
    return HOUR + timedelta(seconds=second)


def calibrate(database: Database, scale: float, offset: float, start: int | None = None, end: int | None = None) -> Any:
    times = [None if second is None else at(second) for second in (start, end)]
    return set_sensor(database, "p1", metric="value", calibration=Calibration(*times, scale, offset), by="eve")


def values(database: Database) -> list[float]:
    return [number for number, *_ in in_metric(database)]


def test_a_calibration_holds_by_event_time_from_inclusive_to_exclusive(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "a", [value(1, at(0), unit="bar")])
    load(staging, database)
    calibrate(database, 2, 0.5, 10, 20)
    late_and_early = [
        value(3, at(20)),
        value(3, at(19)),
        value(3, at(10)),
        value(3, at(9)),
        value(3000, at(15), unit="mbar"),
    ]
    stage(staging, "b", late_and_early, first_sequence=2)
    load(staging, database)
    assert values(database) == [1, 3, 6.5, 6.5, 6.5, 3]
    assert mismatches(database) == []


def test_limits_are_asked_of_calibrated_values_and_texts_stay(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1, at(0), unit="bar")])
    load(staging, database, using=TEXT)
    set_sensor(database, "p1", metric="value", minimum=0, maximum=10, calibration=Calibration(None, None, 10, -5))
    content = [value(1.2, at(1)), value(1.6, at(2)), value(0.4, at(3)), value("off", at(4)), value(1e308, at(5))]
    stage(staging, "b", content, first_sequence=2)
    report = load(staging, database, using=TEXT)
    assert report.refused_by_code == {"above_maximum": 1, "below_minimum": 1, "incompatible_unit": 1}
    assert in_metric(database)[1:] == [(7.0, None, 2), (None, "off", 5)]


def test_digits_of_an_integer_that_is_calibrated_go(database: Database, staging: LocalStaging) -> None:
    big = 2**60 + 1
    stage(staging, "a", [value(big, at(0), unit="Wh")])
    load(staging, database)
    calibrate(database, 0.5, 0, 1)
    stage(staging, "b", [value(big, at(1))], first_sequence=2)
    load(staging, database)
    assert in_metric(database) == [(float(big), str(big), 1), (2.0**59, None, 2)]


def clean_pass(database: Database, staging: LocalStaging, folder: Path) -> None:
    """Everything from the beginning, with today's registry."""
    registry = folder / "today.yaml"
    registry.write_text(as_yaml(database))
    clear(database)
    import_registry(database, registry, by="eve")
    load(staging, database)
    roll_up_marked(database)


def test_a_changed_calibration_marks_the_hours_concerned_and_a_backfill_applies_it(
    database: Database, staging: LocalStaging, tmp_path: Path
) -> None:
    for number, hour in enumerate(HOURS):
        content = [value(number, at(100 * number), unit="bar"), value(9, at(100 * number + 50))]
        stage(staging, f"m{number}", content, hour=hour, first_sequence=10 * number)
    load(staging, database)
    before = values(database)
    done = calibrate(database, 2, 0, 40, 120)
    assert [(one.hour, one.micro_batches, one.kept) for one in done.outdated] == [(HOURS[0], 1, 0), (HOURS[1], 1, 0)]
    assert values(database) == before == [0, 9, 1, 9, 2, 9]
    assert outdated(database) == {HOURS[0]: 1, HOURS[1]: 1}
    for hour in outdated(database):
        load(staging, database, mode=Mode.AGAIN, hour=hour)
    assert outdated(database) == {}
    assert values(database) == [0, 18, 2, 9, 2, 9]
    roll_up_marked(database)
    mended = snapshot(database)
    clean_pass(database, staging, tmp_path)
    assert snapshot(database) == mended


def test_the_same_calibration_again_marks_nothing(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1, at(0), unit="bar")])
    load(staging, database)
    assert len(calibrate(database, 2, 0, 0, 100).outdated) == 1
    load(staging, database, mode=Mode.AGAIN)
    again = calibrate(database, 2, 0, 0, 100)
    assert (again.changes, again.outdated, outdated(database)) == ([], [], {})
    apart = calibrate(database, 3, 0, 50, 100)  # at other times than its reading
    assert (len(apart.changes), apart.outdated, outdated(database)) == (1, [], {})


def test_a_load_that_was_prepared_with_another_calibration_is_prepared_again(
    database: Database, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(staging, "a", [value(1, at(0), unit="bar")])
    load(staging, database)
    stage(staging, "b", [value(2, at(1))], first_sequence=2)
    prepared = []

    def meanwhile(*given: Any, **more: Any) -> Any:
        outcome = prepare(*given, **more)
        if not prepared:
            calibrate(database, 10, 0, 1)
        prepared.append(outcome.readings.value.tolist())
        return outcome

    monkeypatch.setattr("sensor_platform.pipeline.process.prepare", meanwhile)
    load(staging, database)
    assert prepared == [[2], [20]]
    assert values(database) == [1, 20]
    assert outdated(database) == {}


def test_while_an_import_looks_for_what_it_concerns_new_messages_are_loaded_and_a_backfill_waits(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "a", [value(1, at(0), unit="bar")], hour=HOURS[0])
    load(staging, database)
    said = [Declaration(("press", "p1", "value"), {"calibrations": (Calibration(at(0), at(100), 2, 0),)})]
    with ThreadPoolExecutor(1) as thread, database.begin() as connection:
        found = find_concerned(connection, said)
        stage(staging, "b", [value(2, at(1))], hour=HOURS[1], first_sequence=10)
        stage(staging, "c", [value(3, at(1000)), value(4, at(2000))], hour=HOURS[2], first_sequence=20)
        assert load(staging, database).readings.inserted == 3
        backfill = thread.submit(load, staging, database, mode=Mode.AGAIN)
        wait_until(lambda: backfill.done() or rows(database, WAITING) == [(1,)], "the backfill to wait", 60)
        assert not backfill.done()
        done = declare(connection, said, by="eve", found=found)
        connection.commit()
        backfill.result(timeout=60)
    assert [one.hour for one in done.outdated] == HOURS[:2]
    assert values(database) == [2, 4, 3, 4]
    assert outdated(database) == {}


def test_beside_a_series_that_is_new_an_import_looks_once_for_what_the_others_concern(
    database: Database, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(staging, "a", [value(1, at(0), unit="bar")], hour=HOURS[0])
    load(staging, database)
    own = Calibration(at(0), at(100), 2, 0)
    said = [
        Declaration(("press", "p1", "value"), {"calibrations": (own,)}),
        Declaration(("press", "p2", "value"), {"unit": "bar", "calibrations": (own,)}),
    ]
    looked_for: list[int] = []

    def spied(connection: sa.Connection, spans: Any) -> recalibrated.Found:
        looked_for.extend(series for series, _ in spans)
        return find(connection, spans)

    find = recalibrated.find
    with database.begin() as connection:
        found = find_concerned(connection, said)
        monkeypatch.setattr(recalibrated, "find", spied)
        done = declare(connection, said, by="eve", found=found)
    assert looked_for == [id_ for (id_,) in rows(database, SERIES_OF_P2)]
    assert [(one.hour, one.micro_batches) for one in done.outdated] == [(HOURS[0], 1)]


def test_trace_tells_the_calibration_that_a_reading_was_made_with(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(68, at(0), unit="°F"), value(20, at(5), unit="°C")])
    load(staging, database)
    set_sensor(database, "p1", metric="value", unit="°C", by="eve")
    calibrate(database, 1.1, 0.5, 0, 5)
    load(staging, database, mode=Mode.AGAIN)
    calibrate(database, 3, 0, 0, 5)  # and the hour is not loaded again

    def traced(second: int) -> tuple[Any, ...]:
        (found,) = trace(database, staging, "p1", "value", at(second))
        return found["reading"]["value"], found["calibration"], found["original"]

    one = {"valid_from": "2026-11-23T10:00:00Z", "valid_to": "2026-11-23T10:00:05Z", "scale": 1.1, "offset": 0.5}
    assert traced(0) == (22.5, {**one, "value_before": 20.0}, {"value": 68.0, "unit": "°F"})
    assert traced(5) == (20.0, None, None)
    load(staging, database, mode=Mode.AGAIN)
    assert traced(0)[:2] == (60.0, {**one, "scale": 3.0, "offset": 0.0, "value_before": 20.0})


def test_trace_of_what_a_retry_calibrated(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1, at(0), unit="bar"), value(2, at(1))])
    load(staging, database)
    set_sensor(database, "p1", metric="value", maximum=5)
    stage(staging, "b", [value(9, at(2))], first_sequence=9)
    assert load(staging, database).refused_by_code == {"above_maximum": 1}
    set_sensor(database, "p1", metric="value", maximum=float("nan"), calibration=Calibration(at(1), None, 2))
    report = retry(database, routes(), settings=Settings(), now=datetime.now(UTC) + timedelta(hours=1))
    assert (report.inserted, values(database)) == (1, [1, 2, 18])
    found = [trace(database, staging, "p1", "value", at(second))[0]["calibration"] for second in (1, 2)]
    assert (found[0], found[1]["value_before"]) == (None, 9.0)


def test_another_unit_converts_calibrations_and_marks_what_they_concern(
    database: Database, staging: LocalStaging
) -> None:
    stage(staging, "a", [value(10, at(0), unit="°C"), value(20, at(1))])
    load(staging, database)
    calibrate(database, 2, 5)
    load(staging, database, mode=Mode.AGAIN)
    assert values(database) == [25, 45]
    set_sensor(database, "p1", metric="value", unit="°F")
    assert list_series(database)[0]["calibrations"] == [
        {"valid_from": None, "valid_to": None, "scale": 2, "offset": -23}
    ]
    assert values(database) == [77, 113]
    assert outdated(database) == {HOUR: 1}
    assert trace(database, staging, "p1", "value", at(0))[0]["calibration"]["value_before"] == 50  # °F
    load(staging, database, mode=Mode.AGAIN)
    assert values(database) == [77, 113]


def test_a_calibration_needs_a_unit_and_times_of_its_own(
    database: Database, staging: LocalStaging, tmp_path: Path
) -> None:
    stage(staging, "a", [value(1, at(0))])
    load(staging, database)
    with pytest.raises(RegistryError, match="press/p1 value: a calibration is in the unit of its series"):
        calibrate(database, 2, 0)
    path = tmp_path / "plant.yaml"
    path.write_text(
        "sensors:\n"
        "  - work_unit: press\n"
        "    sensor: p1\n"
        "    metrics:\n"
        "      - metric: value\n"
        "        unit: bar\n"
        "        calibrations:\n"
        "          - {valid_to: 2026-02-01, scale: 2}\n"
        "          - {valid_from: 2026-01-31T23:00:00Z, scale: 3}\n"
    )
    with pytest.raises(RegistryError, match=r"yaml:5: press/p1 value: two calibrations hold from 2026-01-31 23:00"):
        import_registry(database, path, by="eve")
    assert list_series(database)[0]["unit"] is None
    path.write_text(path.read_text().replace("scale: 2}", "scale: 0}").replace("31T23:00:00Z, scale", "31 noon, scale"))
    with pytest.raises(RegistryError) as caught:
        read_registry(path)
    assert [problem.removeprefix(f"{path}:").split(": ", 2)[0] for problem in caught.value.problems] == ["8", "9"]
    assert "a scale of 0 leaves nothing" in caught.value.problems[0]
    assert "is not an ISO 8601 time" in caught.value.problems[1]


def test_calibrations_come_from_files_and_go_into_them(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "plant.csv"
    path.write_text(
        "work_unit,sensor,metric,unit,valid_from,valid_to,scale,offset\n"
        "press,p1,value,bar,2026-01-01,2026-07-01T02:00:00+02:00,1.5,\n"
        "press,p1,value,,2026-07-01,,,-0.25\n"
    )
    assert len(import_registry(database, path, by="eve").changes) == 3
    expected = [
        {"valid_from": "2026-01-01T00:00:00Z", "valid_to": "2026-07-01T00:00:00Z", "scale": 1.5, "offset": 0},
        {"valid_from": "2026-07-01T00:00:00Z", "valid_to": None, "scale": 1, "offset": -0.25},
    ]
    assert list_series(database)[0]["calibrations"] == expected
    assert history(database, limit=1)[0]["after"]["calibrations"] == expected
    for name, export in (("out.yaml", as_yaml), ("out.csv", as_csv)):
        (tmp_path / name).write_text(export(database))
        assert import_registry(database, tmp_path / name, by="eve").changes == []
    assert rows(database, "SELECT count(*) FROM calibration") == [(2,)]


seconds = st.one_of(st.none(), st.integers(0, 12))
calibrations = st.builds(
    lambda start, length, scale, offset: Calibration(
        None if start is None else at(start), None if length is None else at((start or 0) + length), scale, offset
    ),
    seconds,
    st.one_of(st.none(), st.integers(1, 6)),
    st.sampled_from([1.0, 2.0, 3.0]),
    st.sampled_from([0.0, 1.0]),
)


def holding(held: tuple[Calibration, ...], second: int) -> tuple[float, float]:
    found = [one for one in held if one.start_us <= at(second).timestamp() * 1e6 < one.end_us]
    assert len(found) <= 1
    return (found[0].scale, found[0].offset) if found else (1.0, 0.0)


@given(laid=st.lists(calibrations, max_size=6))
def test_the_last_calibration_that_is_laid_over_others_holds(laid: list[Calibration]) -> None:
    standing: tuple[Calibration, ...] = ()
    for new in laid:
        before, standing = standing, laid_over(standing, new)
        assert overlap(standing) is None
        spans = differing(before, standing)
        for second in range(-1, 20):
            holds = holding(standing, second)
            own = holding(in_order([new]), second) if new.changes_nothing is False else (1.0, 0.0)
            is_within = new.start_us <= at(second).timestamp() * 1e6 < new.end_us
            assert holds == (own if is_within else holding(before, second))
            marked = any((a is None or a <= at(second)) and (b is None or at(second) < b) for a, b in spans)
            assert marked == (holds != holding(before, second))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("load"), st.integers(0, 2)),
        st.tuples(st.just("again"), st.integers(0, 2)),
        st.tuples(st.just("calibrate"), calibrations),
        st.tuples(st.just("wish"), st.sampled_from(["bar", "kPa", "psi"])),
    ),
    max_size=6,
)
plans = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=3), min_size=3, max_size=3
)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=plans, steps=steps)
def test_whatever_was_calibrated_when_loading_the_outdated_hours_again_ends_in_one_clean_pass(
    database: Database, tmp_path_factory: pytest.TempPathFactory, plan: Any, steps: Any
) -> None:
    folder = tmp_path_factory.mktemp("calibration")
    staging = new_staging(folder)
    clear(database)
    registry = folder / "first.csv"
    registry.write_text("work_unit,sensor,metric,unit\npress,p1,value,bar\n")
    import_registry(database, registry, by="eve")
    for number, content in enumerate(plan):
        messages = [value(one, at(second), unit="bar") for one, second in content]
        stage(staging, f"m{number}", messages, hour=HOURS[number], first_sequence=10 * number)
    for step, what in steps:
        if step == "calibrate":
            set_sensor(database, "p1", metric="value", calibration=what)
        elif step == "wish":
            set_sensor(database, "p1", metric="value", unit=what)
        else:
            load(staging, database, mode=Mode.AGAIN if step == "again" else Mode.NEW, hour=HOURS[what])
        assert mismatches(database) == []
    load(staging, database)
    for hour in outdated(database):
        load(staging, database, mode=Mode.AGAIN, hour=hour)
    assert outdated(database) == {}
    roll_up_marked(database)
    found = snapshot(database)
    clean_pass(database, staging, folder)
    assert snapshot(database) == found
