"""Equal readings, conflicts and their ledger rows, case by case. `test_any_order` has the mixtures."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.accounting import mismatches, totals
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.report import MessageCounts, ReadingCounts
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, Message, in_metric, load, routes, rows, stage, value

NEXT = HOUR + timedelta(hours=1)


def ledger(database: Database) -> dict[str, tuple[Any, ...]]:
    """name -> accepted, partial, dead_lettered, duplicate, ignored; inserted, duplicates, refused, conflicts."""
    found = rows(
        database,
        """SELECT name, accepted, partial, dead_lettered, duplicate, ignored,
                  inserted, duplicate_readings, refused, conflicts FROM ledger""",
    )
    return {name: tuple(counts) for name, *counts in found}


def aside(database: Database) -> list[tuple[Any, ...]]:
    return rows(database, "SELECT value, sequence FROM metric_duplicate ORDER BY sequence")


def test_each_message_is_in_one_class(database: Database, staging: LocalStaging) -> None:
    content = [
        value(1),
        Message([{"value": 2, "timestamp": HOUR.isoformat()}, {"value": None}]),
        Message(b"rubbish"),
        value(1),
        Message(b"anything", redelivery_of=1),
        Message({"value": 3}, retain=True),
    ]
    stage(staging, "a", content)
    report = load(staging, database, run_id="run 1")
    assert report.micro_batches == 1
    assert report.messages == MessageCounts(staged=6, accepted=1, partial=1, dead_lettered=1, duplicate=2, ignored=1)
    assert report.readings == ReadingCounts(decoded=4, inserted=2, duplicate=1, refused=1)
    assert report.conflicts == 1
    assert report.refused_by_code == {"missing_value": 1, "invalid_json": 1}
    assert (report.least_time, report.greatest_time) == (HOUR, HOUR)
    assert totals(database) == (report.messages, report.readings, 2)
    assert rows(database, "SELECT attempt, run_id, transformer_versions FROM ledger") == [(1, "run 1", {"json": "1"})]


def test_new_leaves_what_is_in_the_ledger_alone(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1)])
    load(staging, database)
    stage(staging, "b", [value(2)], first_sequence=2)
    report = load(staging, database)
    assert (report.micro_batches, report.messages.staged) == (1, 1)
    assert load(staging, database).micro_batches == 0


@pytest.mark.parametrize("number", [1, 0.0, 2**60 + 1, "NaN", "warm"])
def test_the_same_again_is_a_duplicate_and_kept_aside(
    database: Database, staging: LocalStaging, number: object
) -> None:
    using = routes(", text: true, allow_nan: true")
    stage(staging, "a", [value(number), value(number)])
    stage(staging, "b", [value(number)], first_sequence=3)
    load(staging, database, using=using)
    stage(staging, "c", [value(number)], first_sequence=4)
    load(staging, database, using=using)
    assert [sequence for _, _, sequence in in_metric(database)] == [1]
    assert [sequence for _, sequence in aside(database)] == [2, 3, 4]
    assert ledger(database)["a"] == (1, 0, 0, 1, 0, 1, 1, 0, 0)
    assert ledger(database)["c"] == (0, 0, 0, 1, 0, 0, 1, 0, 0)


def test_zeros_are_equal_quality_and_text_are_part_of_the_identity(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(0.0)])
    load(staging, database)
    stage(staging, "b", [value(-0.0), value(0.0, quality="bad")], first_sequence=2)
    load(staging, database)
    assert [sequence for _, _, sequence in in_metric(database)] == [1, 3]


def test_two_values_at_one_time_are_both_kept_and_counted(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1), value(2)])
    load(staging, database)
    stage(staging, "b", [value(3), value(2)], first_sequence=3)
    load(staging, database)
    assert in_metric(database) == [(1.0, None, 1), (2.0, None, 2), (3.0, None, 3)]
    assert [counts[-1] for counts in ledger(database).values()] == [1, 1]


def test_a_reading_timed_by_receipt_is_never_a_duplicate(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1, None), value(1, HOUR)])
    stage(staging, "b", [value(1, None)])  # another collector, the same moment
    load(staging, database)
    assert len(in_metric(database)) == 3
    assert load(staging, database, mode=Mode.AGAIN).readings.inserted == 3


def test_one_received_earlier_but_loaded_later_changes_places(database: Database, staging: LocalStaging) -> None:
    stage(staging, "late", [value(1)], hour=NEXT, first_sequence=2)
    load(staging, database)
    stage(staging, "early", [value(1)], hour=HOUR, first_sequence=1)
    load(staging, database)
    assert in_metric(database) == [(1.0, None, 1)]
    assert aside(database) == [(1.0, 2)]
    assert ledger(database) == {"early": (1, 0, 0, 0, 0, 1, 0, 0, 0), "late": (0, 0, 0, 1, 0, 0, 1, 0, 0)}
    assert mismatches(database) == []


def test_when_a_standing_reading_goes_the_next_one_stands(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value("7")], hour=HOUR, first_sequence=1)
    stage(staging, "b", [value(7)], hour=NEXT, first_sequence=2)
    stage(staging, "c", [value(7)], hour=NEXT, first_sequence=3)
    load(staging, database)
    assert in_metric(database) == [(7.0, None, 1)]
    # The first hour is told again, and its topic is not ours any more.
    load(staging, database, mode=Mode.AGAIN, hour=HOUR, using=routes(", ignore: true"))
    assert in_metric(database) == [(7.0, None, 2)]
    assert ledger(database) == {
        "a": (0, 0, 0, 0, 1, 0, 0, 0, 0),
        "b": (1, 0, 0, 0, 0, 1, 0, 0, 0),
        "c": (0, 0, 0, 1, 0, 0, 1, 0, 0),
    }
    assert mismatches(database) == []


def test_a_message_with_another_standing_reading_stays_accepted(database: Database, staging: LocalStaging) -> None:
    both = [{"value": 1, "timestamp": HOUR.isoformat()}, {"value": 1, "timestamp": NEXT.isoformat()}]
    stage(staging, "late", [Message(both)], hour=NEXT, first_sequence=2)
    load(staging, database)
    stage(staging, "early", [value(1)], hour=HOUR, first_sequence=1)
    load(staging, database)
    assert ledger(database)["late"] == (1, 0, 0, 0, 0, 1, 1, 0, 0)


def test_again_with_equal_results_changes_nothing_and_marks_nothing(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1), value(1), Message(b"rubbish"), value(2, None)])
    load(staging, database, run_id="first")
    before = in_metric(database), aside(database), ledger(database), rows(database, "SELECT * FROM dead_letter")
    with database.begin() as connection:
        connection.execute(sa.text("DELETE FROM sensor_platform.changed_bucket"))
    report = load(staging, database, mode=Mode.AGAIN, run_id="second")
    assert report.messages.staged == 4
    assert before == (
        in_metric(database),
        aside(database),
        ledger(database),
        rows(database, "SELECT * FROM dead_letter"),
    )
    assert rows(database, "SELECT * FROM changed_bucket") == []
    assert rows(database, "SELECT attempt, run_id FROM ledger") == [(2, "second")]


def test_again_marks_the_minutes_whose_values_changed(database: Database, staging: LocalStaging) -> None:
    later = HOUR + timedelta(minutes=5)
    stage(staging, "a", [value(1), value("warm", later)])
    load(staging, database)
    with database.begin() as connection:
        connection.execute(sa.text("DELETE FROM sensor_platform.changed_bucket"))
    load(staging, database, mode=Mode.AGAIN, using=routes(", text: true"))
    assert rows(database, "SELECT level, bucket FROM changed_bucket") == [("minute", later)]


def test_again_takes_what_was_never_loaded_too(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1)])
    assert load(staging, database, mode=Mode.AGAIN).readings.inserted == 1
    assert rows(database, "SELECT attempt FROM ledger") == [(1,)]


def test_letters_are_found_again(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value("warm"), value("cold"), Message(b"rubbish")])
    load(staging, database)
    with database.begin() as connection:
        connection.execute(sa.text("SET LOCAL search_path TO sensor_platform"))
        connection.execute(sa.text("UPDATE dead_letter SET attempts = 3, state = 'exhausted' WHERE sequence = 1"))
        connection.execute(sa.text("UPDATE dead_letter SET state = 'discarded', closed_why = 'old' WHERE sequence = 3"))
    query = "SELECT sequence, state, attempts, closed_why FROM dead_letter ORDER BY sequence"
    load(staging, database, mode=Mode.AGAIN)
    kept = [(1, "exhausted", 3, None), (2, "pending", 0, None), (3, "discarded", 0, "old")]
    assert rows(database, query) == kept
    load(staging, database, mode=Mode.AGAIN, using=routes(", text: true"))
    resolved = [(1, "resolved", 3, "not refused"), (2, "resolved", 0, "not refused"), (3, "discarded", 0, "old")]
    assert rows(database, query) == resolved
    load(staging, database, mode=Mode.AGAIN)
    assert rows(database, query) == [(1, "pending", 3, None), (2, "pending", 0, None), (3, "discarded", 0, "old")]


def test_readings_of_many_months_find_their_partitions(database: Database, staging: LocalStaging) -> None:
    months = [HOUR.replace(year=2001 + place, month=1 + place % 12) for place in range(20)]
    stage(staging, "a", [value(1, at) for at in months])
    assert load(staging, database).readings.inserted == 20
    assert load(staging, database, mode=Mode.AGAIN).readings.inserted == 20
    assert len(in_metric(database)) == 20


def test_only_accepted_readings_register(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1, HOUR + timedelta(days=1))])  # in the future
    assert load(staging, database).refused_by_code == {"in_the_future": 1}
    assert rows(database, "SELECT * FROM work_unit") == []
    assert rows(database, "SELECT * FROM series") == []


def test_limits_of_the_series_are_kept_to(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1)])
    load(staging, database)
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE sensor_platform.series SET minimum = 0, maximum = 10"))
    soon = HOUR + timedelta(seconds=1)
    stage(staging, "b", [value(-1, soon), value(5, soon), value(11, soon)], first_sequence=2)
    assert load(staging, database).refused_by_code == {"below_minimum": 1, "above_maximum": 1}


def test_the_policy_of_the_series_follows_its_route(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1), value(2), value(3)])
    load(staging, database)
    shown = "SELECT value FROM reading ORDER BY value"
    assert rows(database, shown) == [(1.0,), (2.0,), (3.0,)]
    load(staging, database, mode=Mode.AGAIN, using=routes(", conflicts: first"))
    assert rows(database, shown) == [(1.0,)]
    load(staging, database, mode=Mode.AGAIN, using=routes(", conflicts: last"))
    assert rows(database, shown) == [(3.0,)]
    assert len(in_metric(database)) == 3
