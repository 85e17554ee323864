"""What a dry run says that a backfill would change is what it then changes, and the dry run changes nothing."""

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensor_platform.database.engine import Database
from sensor_platform.pipeline import process as processing
from sensor_platform.pipeline.changes import Differences, RouteChanges
from sensor_platform.pipeline.expiry import expire
from sensor_platform.pipeline.foresee import Foreseen, foresee, hours_of
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.retention import prune
from sensor_platform.routes.file import parse_routes
from sensor_platform.routes.model import Route, Routes
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform.transformers import registry
from sensor_platform.transformers.contract import READING_COLUMNS, Decoded, PayloadColumn, Refusal
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, new_staging, routes, rows, stage, value
from sensor_platform_tests.pipeline.test_any_order import VARIANTS, clear, micro_batches, snapshot, stage_all
from sensor_platform_tests.pipeline.test_definitions import ROUTES as DEFINING
from sensor_platform_tests.pipeline.test_definitions import decode_defining, say

HOURS = [HOUR + timedelta(hours=number) for number in range(3)]
SECOND = timedelta(seconds=1)
TEXT = routes(", text: true")
STRICT = routes(", contract: {version: 2, metrics: {value: {maximum: 2}}}")
OTHER = parse_routes("routes: [{name: x, filter: 'x/{work_unit}/{sensor}', format: json}]")
CELSIUS = routes(', units: {value: "degC"}')


def scaled(factor: float) -> Routes:
    return parse_routes(f"""
routes:
  - name: data
    filter: factory/{{work_unit}}/sensors/{{sensor}}/data
    format: json
    options:
      time: {{field: $.timestamp}}
      readings: [{{metric: value, value: $.value, scale: {factor}}}]
""")


def foreseen(database: Database, staging: LocalStaging, using: Routes) -> Foreseen:
    """The dry run of all hours, during which nothing changes."""
    before = everything(database)
    found = foresee(staging, database, using, settings=Settings(), hours=HOURS)
    assert everything(database) == before
    return found


def everything(database: Database) -> dict[str, Any]:
    tables = ("series", "sensor", "work_unit", "unit_change", "definition", "definition_content", "changed_bucket")
    more = {name: sorted(map(repr, rows(database, f"SELECT * FROM {name}"))) for name in (*tables, "high_water_mark")}
    return {**snapshot(database), **more}


def again(database: Database, staging: LocalStaging, using: Routes) -> Differences:
    made = load(staging, database, mode=Mode.AGAIN, using=using).differences
    assert made is not None
    return made


def told(database: Database) -> tuple[dict[Any, Any], dict[Any, str], dict[Any, str]]:
    """As anybody could read it from the tables: readings by message, open letters, the class of each message."""
    query = """
        SELECT ledger.name, sequence, sensor.name, series.metric, time, (value + 0.0)::text, text, quality
        FROM (SELECT * FROM metric UNION ALL SELECT * FROM metric_duplicate) AS reading
        JOIN series ON series.id = series JOIN sensor ON sensor.id = sensor_id JOIN ledger ON ledger.id = micro_batch
        ORDER BY ledger.name, sequence, ordinal"""
    readings = defaultdict(list)
    for name, sequence, *slot, number, text, quality in rows(database, query):
        readings[name, sequence, *slot].append((number, text, quality))
    letters = rows(
        database,
        "SELECT name, sequence, ordinal, code FROM dead_letter JOIN ledger ON ledger.id = micro_batch"
        " WHERE state <> 'resolved'",
    )
    taken, refused = {key[:2] for key in readings}, {row[:2] for row in letters}
    classes = {one: "partial" if one in refused else "accepted" for one in taken}
    return (
        readings,
        {row[:3]: row[3] for row in letters},
        {**dict.fromkeys(refused - taken, "dead_lettered"), **classes},
    )


def compared(before: Any, after: Any) -> RouteChanges:
    """The difference of two answers of `told`, counted slot by slot. Without messages that came from nothing."""
    counts: Counter[str] = Counter()
    for slot in before[0].keys() | after[0].keys():
        old, new = Counter(before[0].get(slot, [])), Counter(after[0].get(slot, []))
        went, came = (old - new).total(), (new - old).total()
        both = min(went, came)
        counts += Counter(changed=both, removed=went - both, added=came - both)
    old_letters, new_letters = before[1], after[1]
    accepted = Counter(code for place, code in old_letters.items() if place not in new_letters)
    refused = Counter(code for place, code in new_letters.items() if place not in old_letters)
    both_refused = [(code, new_letters[place]) for place, code in old_letters.items() if place in new_letters]
    otherwise = Counter(f"{was} -> {now}" for was, now in both_refused if was != now)
    messages = before[2].keys() | after[2].keys()
    moved = [(before[2].get(one, "ignored"), after[2].get(one, "ignored")) for one in messages]
    classes = Counter(f"{was} -> {now}" for was, now in moved if was != now)
    return RouteChanges(
        counts["added"], counts["removed"], counts["changed"], *map(dict, (accepted, refused, otherwise, classes))
    )


def assert_foreseen(database: Database, staging: LocalStaging, using: Routes) -> Differences:
    """A dry run, the backfill, and the tables before and after it all tell the same."""
    said = foreseen(database, staging, using)
    before = told(database)
    made = again(database, staging, using)
    assert said.differences == made
    loaded_before = {what: count for what, count in made.total.classes.items() if not what.startswith("pending")}
    if not made.units:  # then the tables have the same values in another unit
        assert replace(made.total, classes=loaded_before) == compared(before, told(database))
    nothing = again(database, staging, using)
    assert (nothing.routes, nothing.units, nothing.thinned) == ({}, [], made.thinned)
    return made


@pytest.fixture(params=[50, 1], ids=["one group", "a group each"])
def _groups(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processing, "GROUP_MICRO_BATCHES", request.param)


def staged(staging: LocalStaging) -> None:
    """Three hours: numbers, texts, a repeat in another micro-batch, a value without a time, rubbish, another topic."""
    stage(staging, "a-1", [value(1), value(2, HOUR + SECOND), value("warm", HOUR + 2 * SECOND)])
    stage(staging, "a-2", [value(1), value(3, None), Message(b"rubbish")], hour=HOURS[1], first_sequence=10)
    both = [{"timestamp": HOUR.isoformat(), "value": number} for number in (4, "hot")]
    stage(staging, "b-1", [Message(both), value(5)], hour=HOURS[1], first_sequence=20)
    stage(staging, "b-2", [Message({"value": 6}, topic="nobody/knows")], hour=HOURS[2], first_sequence=30)


@pytest.mark.usefixtures("_groups")
def test_another_scale_changes_every_value(database: Database, staging: LocalStaging) -> None:
    for number in range(3):
        stage(staging, f"a-{number}", [value(number, HOURS[number]), value(7)], hour=HOURS[number])
    load(staging, database, using=scaled(1))
    made = assert_foreseen(database, staging, scaled(10))
    assert (made.micro_batches, made.messages, made.total.changed) == (3, 6, 5)  # 0 stays 0
    assert made.routes["data"].samples["changed"][0] == {
        "work_unit": "press",
        "sensor": "p1",
        "metric": "value",
        "time": HOUR,
        "before": {"value": 7.0, "text": None, "quality": "good"},
        "after": {"value": 70.0, "text": None, "quality": "good"},
        "unit": None,
        "message": "a-0:2",
        "topic": "factory/press/sensors/p1/data",
    }


@pytest.mark.usefixtures("_groups")
def test_what_was_refused_and_is_not_any_more(database: Database, staging: LocalStaging) -> None:
    staged(staging)
    load(staging, database)
    made = assert_foreseen(database, staging, TEXT)
    data = made.routes["data"]
    assert (data.added, data.removed, data.changed) == (2, 0, 0)
    assert data.newly_accepted == {"value_not_number": 2}
    assert data.classes == {"dead_lettered -> accepted": 1, "partial -> accepted": 1}
    assert data.samples["newly_accepted"][0] == {
        "message": "a-1:3",
        "topic": "factory/press/sensors/p1/data",
        "code": "value_not_number",
    }


@pytest.mark.usefixtures("_groups")
def test_a_stricter_contract_refuses_by_code(database: Database, staging: LocalStaging) -> None:
    staged(staging)
    load(staging, database)
    data = assert_foreseen(database, staging, STRICT).routes["data"]
    assert (data.removed, data.newly_refused) == (3, {"above_maximum": 3})
    assert data.classes["accepted -> dead_lettered"] == 2


@pytest.mark.usefixtures("_groups")
def test_another_unit_converts_what_stands_and_says_so(database: Database, staging: LocalStaging) -> None:
    for number, sent in enumerate((50, 212)):
        stage(staging, f"a-{number}", [value(sent, HOURS[number], unit="degF")], hour=HOURS[number])
    load(staging, database)
    made = assert_foreseen(database, staging, CELSIUS)
    (change,) = made.units
    assert (change["metric"], change["unit_before"], change["unit"], change["by"]) == ("value", "degF", "degC", "data")
    assert made.routes == {}
    assert rows(database, "SELECT round(value::numeric, 6) FROM metric ORDER BY time") == [(10,), (100,)]


@pytest.mark.usefixtures("_groups")
@pytest.mark.parametrize(
    "changed",
    [routes(", ignore: true"), parse_routes("routes: [{name: x, filter: 'x/{work_unit}/{sensor}', format: json}]")],
)
def test_a_route_that_ignores_or_is_gone(database: Database, staging: LocalStaging, changed: Routes) -> None:
    staged(staging)
    load(staging, database)
    made = assert_foreseen(database, staging, changed)
    # Of a route that is gone the messages are still told under its name.
    assert made.routes["data"].removed == 6


@pytest.mark.usefixtures("_groups")
def test_another_unit_of_readings_that_name_none(database: Database, staging: LocalStaging) -> None:
    for number, sent in enumerate((value(50, HOURS[0]), value(10, HOURS[1], unit="degC"))):
        stage(staging, f"a-{number}", [sent], hour=HOURS[number])
    load(staging, database, using=routes(', units: {value: "degF"}'))
    made = assert_foreseen(database, staging, CELSIUS)
    assert [(one["unit_before"], one["unit"]) for one in made.units] == [("degF", "degC")]
    # The first was in degC all the time, though the route said otherwise.
    assert rows(database, "SELECT round(value::numeric, 6) FROM metric ORDER BY time") == [(50,), (10,)]


@pytest.mark.usefixtures("_groups")
def test_thinning_more_or_less(database: Database, staging: LocalStaging) -> None:
    thinning = routes(", report_by_exception: {'*': {deadband: 1, longest_silence_s: 60}}")
    stage(staging, "a-1", [value(10 + n / 10, HOUR + n * SECOND) for n in range(4)])
    load(staging, database)
    made = assert_foreseen(database, staging, thinning)
    assert (made.total.removed, made.thinned_before, made.thinned) == (3, 0, 3)
    back = assert_foreseen(database, staging, routes())
    assert (back.total.added, back.thinned_before, back.thinned) == (3, 3, 0)


@pytest.fixture
def _defining(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._registered, "defining", registry.Registered("defining", "1", decode_defining))


@pytest.mark.usefixtures("_groups", "_defining")
def test_a_definition_that_arrives_late_but_stands_before(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a-1", say("a", "b"), hour=HOURS[1], first_sequence=10)
    stage(staging, "a-2", say("c"), hour=HOURS[2], first_sequence=20)
    load(staging, database, using=DEFINING)
    stage(staging, "a-0", say("+force"), hour=HOURS[0])
    made = assert_foreseen(database, staging, DEFINING)
    assert (made.not_loaded_before, made.total.added, made.total.newly_accepted) == (1, 3, {"invalid_frame": 3})
    assert made.total.classes == {"pending -> ignored": 1, "dead_lettered -> accepted": 3}


@pytest.mark.usefixtures("_groups", "_defining")
def test_a_definition_that_is_another_now_reaches_the_hours_after_it(
    database: Database, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, texts in enumerate((("+force", "a"), ("b",), ("+stroke", "c"))):
        stage(staging, f"a-{number}", say(*texts), hour=HOURS[number], first_sequence=10 * number)
    load(staging, database, using=DEFINING)

    def mended(column: PayloadColumn, route: Route) -> Decoded:
        return decode_defining(
            replace(column, payloads=[one.replace(b"+force", b"+power") for one in column.payloads]), route
        )

    monkeypatch.setitem(registry._registered, "defining", registry.Registered("defining", "2", mended))
    made = assert_foreseen(database, staging, DEFINING)
    assert (made.total.added, made.total.removed) == (2, 2)
    assert {row["metric"] for row in made.routes["r"].samples["added"]} == {"power"}


def test_a_mended_transformer(database: Database, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch) -> None:
    def decoder(code: str, number: float) -> Callable[[PayloadColumn, Route], Decoded]:
        def decode(column: PayloadColumn, _route: Route) -> Decoded:
            readings, refusals = [], []
            for message, payload in enumerate(column.payloads):
                if payload == b"broken" and code:
                    refusals.append(Refusal(message, -1, code, "a fault"))
                    continue
                at = int(column.received_at[message])
                readings.append((message, 0, "press", "p1", "value", at, False, number, None, None, 0))
            frame = pd.DataFrame(readings, columns=list(READING_COLUMNS)).astype({"text": object, "unit": object})
            return Decoded(frame, refusals)

        return decode

    using = Routes([Route(name="r", filter="factory/#", format="own", work_unit="press", sensor="p1")])
    stage(staging, "a-1", [Message(b"fine"), Message(b"broken")])
    monkeypatch.setitem(registry._registered, "own", registry.Registered("own", "1", decoder("invalid_frame", 1.0)))
    load(staging, database, using=using)
    monkeypatch.setitem(registry._registered, "own", registry.Registered("own", "2", decoder("invalid_json", 1.0)))
    assert assert_foreseen(database, staging, using).total.refused_otherwise == {"invalid_frame -> invalid_json": 1}
    monkeypatch.setitem(registry._registered, "own", registry.Registered("own", "3", decoder("", 2.0)))
    total = assert_foreseen(database, staging, using).total
    assert (total.added, total.changed, total.newly_accepted) == (1, 1, {"invalid_json": 1})


def test_what_retention_deleted_and_what_is_damaged_is_counted(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a-0", [value(1)], hour=HOURS[0])
    stage(staging, "a-1", [value(2)], hour=HOURS[1])
    load(staging, database)
    prune(staging, database, days=1, now=HOURS[1] + timedelta(days=1))
    path = staging.path(staging.micro_batches()[0])
    path.write_bytes(path.read_bytes()[:-40])
    found = foreseen(database, staging, TEXT)
    assert (found.bytes_deleted, list(found.damaged), found.differences.micro_batches) == (1, ["a-1"], 0)


def test_what_is_no_longer_kept_is_no_difference(database: Database, staging: LocalStaging) -> None:
    old = HOUR - timedelta(days=60)
    stage(staging, "a-0", [value(1, old), value(2), value("warm", old)])
    load(staging, database)
    expire(database, {"raw": 30.0}, now=HOUR)
    made = foreseen(database, staging, TEXT).differences
    assert (made.total.added, made.total.newly_accepted) == (0, {"value_not_number": 1})
    assert made.total.classes == {"dead_lettered -> accepted": 1}
    assert again(database, staging, TEXT) == made
    said = foreseen(database, staging, scaled(10)).differences
    assert (said.total.changed, said.total.removed, again(database, staging, scaled(10))) == (1, 0, said)


def test_hours_that_hold_messages_of_a_route(database: Database, staging: LocalStaging) -> None:
    staged(staging)
    load(staging, database, hour=HOURS[0])
    known = parse_routes("routes: [{name: known, filter: 'nobody/{sensor}', work_unit: w, format: json}]")

    def hours(using: Routes, route: str | None) -> list[int]:
        found = hours_of(staging, database, start=HOURS[0], end=HOURS[-1] + HOURS_LONG, routes=using, route=route)
        return [HOURS.index(hour) for hour in found]

    assert hours(routes(), None) == [0, 1, 2]
    assert hours(routes(), "data") == [0, 1]
    # By its filter of today, though it never made anything; and since it made what stands, though it is gone.
    assert hours(known, "known") == [2]
    assert hours(known, "data") == [0]


HOURS_LONG = timedelta(hours=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    plan=micro_batches,
    first=st.integers(0, len(VARIANTS) - 1),
    second=st.integers(0, len(VARIANTS) - 1),
    loaded=st.sets(st.integers(0, 2), max_size=3),
    group=st.sampled_from([1, 2, 50]),
)
def test_any_change_is_foreseen(
    database: Database, tmp_path: Path, plan: Any, first: int, second: int, loaded: set[int], group: int
) -> None:
    shutil.rmtree(tmp_path / "staging", ignore_errors=True)
    staging = new_staging(tmp_path)
    stage_all(staging, plan)
    clear(database)
    for hour in sorted(loaded):
        load(staging, database, using=routes(VARIANTS[first]), hour=HOURS[hour])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processing, "GROUP_MICRO_BATCHES", group)
        said = foreseen(database, staging, routes(VARIANTS[second]))
        assert said.differences == again(database, staging, routes(VARIANTS[second]))
