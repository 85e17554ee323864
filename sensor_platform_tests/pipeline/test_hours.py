from datetime import timedelta

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.hours import HourFigures, hour_figures, loaded_by
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.report import MessageCounts, ReadingCounts
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, rows, stage, value

NEXT = HOUR + timedelta(hours=1)


def test_an_hour_has_the_totals_of_its_micro_batches_and_others_have_none(
    database: Database, staging: LocalStaging
) -> None:
    refused_in_part = Message([{"value": 2, "timestamp": HOUR.isoformat()}, {"value": None}])
    stage(staging, "a", [value(1), refused_in_part, Message(b"rubbish")])
    load(staging, database)
    stage(staging, "b", [value(1)], first_sequence=4)
    load(staging, database)
    figures = hour_figures(database, [HOUR, NEXT])
    assert figures[NEXT] == HourFigures()
    found = figures[HOUR]
    assert found.micro_batches == 2
    assert found.messages == MessageCounts(staged=4, accepted=1, partial=1, dead_lettered=1, duplicate=1)
    assert found.readings == ReadingCounts(decoded=4, inserted=2, duplicate=1, refused=1)
    assert (found.dead_letters, found.conflicts, found.refused_percent) == (2, 1, 50.0)


def test_the_lag_is_that_of_the_first_load(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1)])
    load(staging, database)
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE sensor_platform.ledger SET committed_at = last_received_at + interval '3 s'")
    found = hour_figures(database, [HOUR])[HOUR]
    assert (found.lag_mean_s, found.lag_max_s) == (3.0, 3.0)
    load(staging, database, mode=Mode.AGAIN)
    again = hour_figures(database, [HOUR])[HOUR]
    assert (again.lag_mean_s, again.lag_max_s) == (None, None)


def test_a_run_leads_to_the_newest_micro_batches_of_each_hour(database: Database, staging: LocalStaging) -> None:
    for n, hour in enumerate((HOUR, HOUR, HOUR, NEXT)):
        stage(staging, f"c{n}", [value(n), Message(b"{")], hour=hour, first_sequence=1 + 2 * n)
    load(staging, database, run_id="this one")
    stage(staging, "other", [value(9)], first_sequence=99)
    load(staging, database, run_id="another")
    found = loaded_by(database, "this one", most_an_hour=2)
    assert {hour: [one.micro_batch for one in batches] for hour, batches in found.items()} == {
        HOUR: ["c2", "c1"],
        NEXT: ["c3"],
    }
    newest = found[HOUR][0]
    assert (newest.messages, newest.refused, newest.readings, newest.attempt, newest.in_all) == (2, 1, 1, 1, 3)
    assert rows(database, "SELECT count(*) FROM ledger") == [(5,)]
