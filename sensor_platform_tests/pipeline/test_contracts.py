"""Contracts on a real PostgreSQL: every message in one class, whatever is loaded together, backfilled or retried."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.retry import retry
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.readings import trace
from sensor_platform.routes.file import parse_routes
from sensor_platform.routes.model import Routes
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, Message, in_metric, load, rows, stage, value
from sensor_platform_tests.pipeline.test_any_order import clear, snapshot

ROUTES = """\
routes:
  - name: data
    filter: factory/{work_unit}/sensors/{sensor}/data
    format: json
    contract:
      version: 7
      sensor: p\\d
      metrics: {value: {max_rate_per_s: RATE, maximum: 100}, t: {required: true}, "*.raw": {type: integer}}
      other_metrics: refuse
"""
LETTERS = "SELECT sequence, ordinal, stage, code FROM dead_letter WHERE state <> 'resolved' ORDER BY 1, 2"


def contract(rate: float = 5, *, required: bool = True) -> Routes:
    text = ROUTES.replace("RATE", str(rate))
    return parse_routes(text if required else text.replace("required: true", ""))


def metrics(**found: Any) -> Message:
    return Message({"timestamp": HOUR.isoformat(), "metrics": found})


def points(*numbers: float, start: int = 0) -> list[Message]:
    """Messages of one reading each, a second apart."""
    return [value(number, HOUR + timedelta(seconds=start + place)) for place, number in enumerate(numbers)]


def test_each_message_is_in_one_class_and_what_passes_is_in(database: Database, staging: LocalStaging) -> None:
    whole = [
        metrics(t=1, value=20),  # accepted
        metrics(value=21),  # partial: t is missing
        metrics(t=2, value=101, other=5, **{"a.raw": 1.5}),  # partial: three are refused
        metrics(value=101),  # dead: refused, and t is missing
        Message({"t": 1, "timestamp": HOUR.isoformat()}, topic="factory/press/sensors/x1/data"),  # dead: sensor
        Message(b"rubbish"),  # dead, and nothing is missing from it
        metrics(t=1, value=20),  # duplicate
        Message(metrics(value=21).payload, redelivery_of=2),  # duplicate: not judged
    ]
    stage(staging, "a", whole)
    report = load(staging, database, using=contract())
    messages = report.messages
    counted = (messages.accepted, messages.partial, messages.dead_lettered, messages.duplicate, messages.ignored)
    assert counted == (1, 2, 3, 2, 0)
    readings = report.readings
    assert (readings.decoded, readings.inserted, readings.duplicate, readings.refused) == (11, 4, 2, 5)
    assert rows(database, LETTERS) == [
        (2, -3, "schema", "contract_missing"),
        (3, 1, "range", "above_maximum"),
        (3, 2, "schema", "contract_metric"),
        (3, 3, "schema", "contract_type"),
        (4, -3, "schema", "contract_missing"),
        (4, 0, "range", "above_maximum"),
        (5, 0, "schema", "contract_name"),
        (6, -1, "decode", "invalid_json"),
    ]
    assert mismatches(database) == []


def test_the_version_of_the_contract_is_in_the_ledger_and_in_trace(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [metrics(t=1)])
    load(staging, database, using=contract())
    ((versions,),) = rows(database, "SELECT route_versions FROM ledger")
    assert versions["data"]["contract"] == "7"
    assert versions["data"]["version"] == contract()["data"].version
    (found,) = trace(database, staging, "p1", "t", HOUR)
    assert found["contract_version"] == "7"


def test_loads_of_any_company_and_order_and_backfills_end_in_one_clean_pass(
    database: Database, staging: LocalStaging
) -> None:
    using = contract(required=False)
    hours = [HOUR + timedelta(hours=number) for number in range(3)]
    # Each micro-batch starts far from where the one before ended; within each, one value leaps.
    for number, (hour, numbers) in enumerate(zip(hours, [(1, 2, 50), (90, 20, 21), (60, 61, 62)], strict=True)):
        stage(staging, f"m-{number}", points(*numbers, start=3 * number), hour=hour, first_sequence=10 * number)
    load(staging, database, using=using)
    clean = snapshot(database)
    assert [value for value, *_ in in_metric(database)] == [1, 2, 90, 21, 60, 61, 62]
    clear(database)
    for hour in reversed(hours):
        load(staging, database, using=using, hour=hour)
    assert snapshot(database) == clean
    load(staging, database, using=using, mode=Mode.AGAIN, hour=hours[1])
    assert snapshot(database) == clean
    assert mismatches(database) == []


def again(database: Database, using: Routes, home: Path, *, days: int = 1) -> dict[str, int]:
    later = datetime.now(UTC) + timedelta(days=days)
    return retry(database, using, settings=Settings(home=home), now=later).states


def test_a_retry_judges_a_rate_beside_the_micro_batch_that_the_message_came_in(
    database: Database, staging: LocalStaging, tmp_path: Path
) -> None:
    stage(staging, "a", points(1, 2, 50))
    stage(staging, "b", points(5, 30, 6, start=10), first_sequence=10)
    load(staging, database, using=contract(required=False))
    assert again(database, contract(required=False), tmp_path) == {"pending": 3}
    assert [value for value, *_ in in_metric(database)] == [1, 2, 5]
    assert again(database, contract(30, required=False), tmp_path, days=9) == {"pending": 1, "resolved": 2}
    assert [value for value, *_ in in_metric(database)] == [1, 2, 5, 30, 6]
    assert mismatches(database) == []


def test_without_the_micro_batch_no_retry_lets_in_what_changed_too_fast(
    database: Database, staging: LocalStaging, tmp_path: Path
) -> None:
    micro_batch = stage(staging, "a", points(1, 2, 50))
    load(staging, database, using=contract(required=False))
    staging.path(micro_batch).unlink()
    assert again(database, contract(required=False), tmp_path) == {"pending": 1}
    assert [value for value, *_ in in_metric(database)] == [1, 2]
    assert mismatches(database) == []


def test_a_contract_that_asks_for_less_lets_a_retry_resolve_what_was_missing(
    database: Database, staging: LocalStaging, tmp_path: Path
) -> None:
    stage(staging, "a", [metrics(value=21)])
    load(staging, database, using=contract())
    assert again(database, contract(required=False), tmp_path) == {"resolved": 1}
    assert rows(database, "SELECT accepted, partial, decoded, refused FROM ledger") == [(1, 0, 1, 0)]
    assert mismatches(database) == []
