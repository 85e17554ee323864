"""Report by exception on a real PostgreSQL: what says nothing new is counted, whatever the order of loading."""

import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.retry import retry
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.pipeline.explain import explain
from sensor_platform.pipeline.message import OneMessage
from sensor_platform.pipeline.mode import Mode
from sensor_platform.routes.file import parse_routes
from sensor_platform.routes.model import Routes
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import (
    HOUR,
    TOPIC,
    Message,
    in_metric,
    load,
    new_staging,
    routes,
    rows,
    stage,
    value,
)
from sensor_platform_tests.pipeline.test_any_order import clear, snapshot, stage_all

LEDGER = """
    SELECT staged, accepted, partial, dead_lettered, duplicate, ignored,
           decoded, inserted, duplicate_readings, refused, thinned FROM ledger ORDER BY name"""


def thinning(deadband: float = 0.5, *, silence_s: float = 600, maximum: float | None = None, more: str = "") -> Routes:
    """One JSON route with a deadband for every metric, and perhaps a contract with a greatest value."""
    asked = f"{{'*': {{deadband: {deadband}, longest_silence_s: {silence_s}}}}}"
    contract = "" if maximum is None else f", contract: {{version: 1, metrics: {{'*': {{maximum: {maximum}}}}}}}"
    return routes(f", report_by_exception: {asked}{contract}{more}")


def at(second: float, number: Any, sensor: str = "p1", **more: Any) -> Message:
    message = value(number, HOUR + timedelta(seconds=second), **more)
    return Message(message.payload, topic=TOPIC.replace("p1", sensor))


def numbers(*found: Any, start: int = 0) -> list[Message]:
    """Messages of one reading each, a second apart."""
    return [at(start + place, number) for place, number in enumerate(found)]


def kept(database: Database) -> list[Any]:
    return [number for number, *_ in in_metric(database)]


def test_what_is_within_the_deadband_of_the_last_kept_one_is_thinned(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", numbers(20, 20.4, 20.5, 20.6, 20.7, 21.2, 19.9))
    report = load(staging, database, using=thinning())
    assert in_metric(database) == [(20, None, 1), (20.6, None, 4), (21.2, None, 6), (19.9, None, 7)]
    assert rows(database, LEDGER) == [(7, 4, 0, 0, 0, 3, 4, 4, 0, 0, 3)]
    assert (report.readings.thinned, report.messages.ignored) == (3, 3)
    assert report.readings.balanced()
    assert mismatches(database) == []


#: Sensor -> its messages of one micro-batch, and which of them are kept.
CHAINS: dict[str, tuple[list[tuple[Any, ...]], list[int]]] = {
    "silence": ([(0, 1), (10, 1), (10.5, 1), (20, 1)], [0, 2]),
    "quality": ([(0, 1), (1, 1, "bad"), (2, 1, "bad"), (3, 1)], [0, 1, 3]),
    "text": ([(0, 1), (1, "warm"), (2, "warm"), (3, 1), (4, 1)], [0, 1, 2, 3]),
    "exact": ([(0, 2**60 + 1), (1, 2**60 + 1), (2, 2.0**60)], [0, 1, 2]),
    "nan": ([(0, "NaN"), (1, "NaN"), (2, 1), (3, "Infinity"), (4, "Infinity")], [0, 1, 2, 3, 4]),
    "late": ([(9, 5), (1, 3), (2, 3), (10, 3.2), (11, 3.3)], [0, 1, 2, 3]),
    "same-time": ([(0, 1), (0, 1), (0, 1.2), (0, 2)], [0, 3]),
    "rounding": ([(0, 0.1), (1, 0.4), (2, 0.1 + 0.3 + 1e-9)], [0, 2]),
    "drift": ([(0, 0), (1, 0.2), (2, 0.4), (3, 0.6)], [0, 2]),
}


def test_each_rule_of_the_chain(database: Database, staging: LocalStaging) -> None:
    lengths = max(len(found) for found, _ in CHAINS.values())
    # Received in turns: a chain is of its series, whatever comes between.
    whole = [
        at(found[turn][0], found[turn][1], sensor, **({"quality": found[turn][2]} if len(found[turn]) > 2 else {}))
        for turn in range(lengths)
        for sensor, (found, _) in CHAINS.items()
        if turn < len(found)
    ]
    stage(staging, "a", whole)
    load(staging, database, using=thinning(0.3, silence_s=10, more=", text: true, allow_nan: true"))
    standing = {sequence for (sequence,) in rows(database, "SELECT sequence FROM metric")}
    found: dict[str, list[int]] = {sensor: [] for sensor in CHAINS}
    turns = dict.fromkeys(CHAINS, 0)
    for place, message in enumerate(whole):
        sensor = message.topic.split("/")[3]
        if place + 1 in standing:
            found[sensor].append(turns[sensor])
        turns[sensor] += 1
    assert found == {sensor: expected for sensor, (_, expected) in CHAINS.items()}
    assert mismatches(database) == []


def test_only_what_the_route_asks_for_is_thinned_and_refused_readings_are_no_reference(
    database: Database, staging: LocalStaging
) -> None:
    def metrics(second: int, **found: Any) -> Message:
        return Message({"timestamp": (HOUR + timedelta(seconds=second)).isoformat(), "metrics": found})

    using = parse_routes("""\
routes:
  - name: data
    filter: factory/{work_unit}/sensors/{sensor}/data
    format: json
    units: {t: degC}
    contract: {version: 1, metrics: {t: {maximum: 100}, other: {}}}
    report_by_exception: {t: {deadband: 0.5}}
""")
    whole = [
        metrics(0, t=20, other=1),  # accepted
        metrics(1, t=20.2, other=1),  # accepted: t is thinned
        metrics(2, t=500, other=1),  # partial
        metrics(3, t=20.4),  # ignored: compared with 20, not with 500
        Message({"metric": "t", "value": 68.9, "unit": "F", "timestamp": HOUR.isoformat()[:-6] + "Z"}),  # 20.5 degC
        Message(metrics(9, t=90).payload, redelivery_of=1),  # duplicate: not decoded
        metrics(4, t=20.5),  # ignored
    ]
    stage(staging, "a", whole)
    load(staging, database, using=using)
    found = rows(database, "SELECT sequence, metric, value FROM metric JOIN series ON id = series ORDER BY 1, 2")
    assert found == [(1, "other", 1), (1, "t", 20), (2, "other", 1), (3, "other", 1)]
    assert rows(database, LEDGER) == [(7, 2, 1, 0, 1, 3, 5, 4, 0, 1, 4)]
    assert mismatches(database) == []


def test_the_chain_begins_anew_in_each_micro_batch_whatever_is_loaded_together(
    database: Database, staging: LocalStaging
) -> None:
    hours = [HOUR + timedelta(hours=number) for number in range(3)]
    for number, (hour, found) in enumerate(zip(hours, [(1, 1, 2), (2, 2, 2), (2, 3, 3)], strict=True)):
        stage(staging, f"m-{number}", numbers(*found, start=3 * number), hour=hour, first_sequence=10 * number)
    load(staging, database, using=thinning())
    clean = snapshot(database)
    assert in_metric(database) == [(1, None, 0), (2, None, 2), (2, None, 10), (2, None, 20), (3, None, 21)]
    clear(database)
    for hour in reversed(hours):
        load(staging, database, using=thinning(), hour=hour)
    assert snapshot(database) == clean
    load(staging, database, using=thinning(), mode=Mode.AGAIN, hour=hours[1])
    assert snapshot(database) == clean
    load(staging, database, using=routes(), mode=Mode.AGAIN)
    assert kept(database) == [1, 1, 2, 2, 2, 2, 2, 3, 3]
    assert rows(database, "SELECT sum(thinned), sum(ignored) FROM ledger") == [(0, 0)]
    assert mismatches(database) == []


def again(database: Database, using: Routes, home: Path, *, days: int = 1) -> dict[str, int]:
    later = datetime.now(UTC) + timedelta(days=days)
    return retry(database, using, settings=Settings(home=home), now=later).states


def test_a_retried_message_is_judged_by_its_micro_batch_and_its_neighbours_wait_for_a_backfill(
    database: Database, staging: LocalStaging, tmp_path: Path
) -> None:
    stage(staging, "a", numbers(20, 20.9, 20.3))
    load(staging, database, using=thinning(maximum=20.5))
    assert rows(database, LEDGER) == [(3, 1, 0, 1, 0, 1, 2, 1, 0, 1, 1)]
    assert again(database, thinning(), tmp_path) == {"resolved": 1}
    assert kept(database) == [20, 20.9]
    assert rows(database, LEDGER) == [(3, 2, 0, 0, 0, 1, 2, 2, 0, 0, 1)]
    assert mismatches(database) == []
    load(staging, database, using=thinning(), mode=Mode.AGAIN)
    assert kept(database) == [20, 20.9, 20.3]
    assert rows(database, LEDGER) == [(3, 3, 0, 0, 0, 0, 3, 3, 0, 0, 0)]


def test_a_retry_takes_the_thinned_readings_of_its_message_out_of_the_ledger_and_puts_todays_in(
    database: Database, staging: LocalStaging, tmp_path: Path
) -> None:
    def both(second: int, a: float, b: float) -> Message:
        return Message({"timestamp": (HOUR + timedelta(seconds=second)).isoformat(), "metrics": {"a": a, "b": b}})

    stage(staging, "a", [both(0, 1, 1), both(1, 1, 50), both(2, 1, 1)])
    load(staging, database, using=thinning(maximum=10))
    assert rows(database, LEDGER) == [(3, 1, 0, 1, 0, 1, 3, 2, 0, 1, 3)]
    # Refused once more, and once more: nothing is counted twice.
    for days in (1, 9):
        assert again(database, thinning(maximum=10), tmp_path, days=days) == {"pending": 1}
        assert rows(database, LEDGER) == [(3, 1, 0, 1, 0, 1, 3, 2, 0, 1, 3)]
    load(staging, database, using=thinning(0, maximum=10), mode=Mode.AGAIN)
    assert again(database, thinning(100), tmp_path, days=60) == {"resolved": 1}
    assert rows(database, LEDGER) == [(3, 1, 0, 0, 0, 2, 2, 2, 0, 0, 4)]
    assert mismatches(database) == []


def test_without_the_micro_batch_nothing_is_decided_about_its_letters(
    database: Database, staging: LocalStaging, tmp_path: Path
) -> None:
    micro_batch = stage(staging, "a", numbers(20, 20.4))
    load(staging, database, using=thinning(maximum=20.2))
    staging.path(micro_batch).unlink()
    assert again(database, thinning(), tmp_path) == {"pending": 1}
    assert kept(database) == [20]
    assert again(database, routes(), tmp_path, days=9) == {"resolved": 1}
    assert kept(database) == [20, 20.4]
    assert mismatches(database) == []


def test_decode_shows_every_reading_and_says_that_it_does() -> None:
    message = OneMessage(TOPIC.encode(), b'[{"value": 1}, {"value": 1}]', HOUR)
    found = explain(message, thinning(), max_payload_bytes=1000)
    assert len(found.readings) == 2
    assert found.steps[-1].step == "report_by_exception"
    assert found.steps[-1].ok


VARIANTS = [routes(), thinning(), thinning(1, silence_s=2, maximum=2), thinning(0)]
payloads = st.builds(
    lambda second, numbers: [at(second + 0.5 * place, number).payload for place, number in enumerate(numbers)],
    st.integers(0, 5),
    st.lists(st.sampled_from([0, 0.5, 1, 1.5, 2, 3, "word"]), min_size=1, max_size=3),
)
messages = st.builds(Message, payloads, st.sampled_from([TOPIC, TOPIC, TOPIC.replace("p1", "p2")]))
plans = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.lists(messages, min_size=1, max_size=5)), min_size=2, max_size=4
)
steps = st.lists(
    st.tuples(st.sampled_from(["new", "again", "retry"]), st.integers(0, 2), st.integers(0, 3)), max_size=6
)


@pytest.mark.timeout(600)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=plans, steps=steps, final=st.integers(1, 3), mend=st.booleans(), seed=st.integers(0, 100))
def test_any_order_of_loads_backfills_and_retries_thins_as_one_clean_pass(
    database: Database, tmp_path: Path, plan: Any, steps: Any, final: int, mend: bool, seed: int
) -> None:
    shutil.rmtree(tmp_path / "staging", ignore_errors=True)
    staging = new_staging(tmp_path)
    stage_all(staging, plan)
    # Where the routes never change, new micro-batches and retries, in any order, are enough.
    variants = VARIANTS if mend else [VARIANTS[final]] * len(VARIANTS)
    clear(database)
    load(staging, database, using=VARIANTS[final])
    clean = snapshot(database)

    clear(database)
    hours = [HOUR + timedelta(hours=hour) for hour in range(3)]
    for what, hour, variant in steps:
        if what == "retry":
            again(database, variants[variant], tmp_path, days=400)
        else:
            load(staging, database, mode=Mode(what), using=variants[variant], hour=hours[hour])
        assert mismatches(database) == []
        assert rows(database, "SELECT count(*) FROM ledger WHERE thinned < 0") == [(0,)]
    random.Random(seed).shuffle(hours)
    for hour in hours:
        load(staging, database, mode=Mode.AGAIN if mend else Mode.NEW, using=VARIANTS[final], hour=hour)
    assert snapshot(database) == clean
    assert mismatches(database) == []
