"""A load that stays takes what is sealed meanwhile, and ends when nothing comes, time is up or others wait."""

import threading

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.follow import Stay, process_and_follow
from sensor_platform.pipeline.process import DamagedMicroBatchesError
from sensor_platform.pipeline.report import Report
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import routes, rows, stage, value
from sensor_platform_tests.waiting import wait_until

LONG_S = 60


def follow(staging: LocalStaging, database: Database, stay: Stay) -> Report:
    return process_and_follow(staging, database, routes(), stay, settings=Settings(), run_id="run")


def seal(staging: LocalStaging, number: int) -> None:
    stage(staging, f"c-{number}", [value(number)], first_sequence=number)


def loaded(database: Database) -> int:
    return len(rows(database, "SELECT FROM ledger"))


def test_what_is_sealed_while_it_stays_is_loaded_by_it(database: Database, staging: LocalStaging) -> None:
    over = threading.Event()

    def meanwhile() -> None:
        for number in (2, 3):
            wait_until(lambda: loaded(database) == number - 1, "the load before", LONG_S)  # noqa: B023  # of this turn
            seal(staging, number)
        wait_until(lambda: loaded(database) == 3, "the last load", LONG_S)
        over.set()

    seal(staging, 1)
    sealing = threading.Thread(target=meanwhile)
    sealing.start()
    report = follow(staging, database, Stay(LONG_S, LONG_S, over.is_set))
    sealing.join()
    assert (report.micro_batches, report.messages.staged, report.readings.inserted) == (3, 3, 3)


def test_it_ends_when_nothing_comes_any_more(database: Database, staging: LocalStaging) -> None:
    seal(staging, 1)
    assert follow(staging, database, Stay(LONG_S, 0.3)).micro_batches == 1
    assert follow(staging, database, Stay(LONG_S, 0.3)).micro_batches == 0


def test_it_stays_no_longer_than_it_may(database: Database, staging: LocalStaging) -> None:
    seal(staging, 1)
    assert follow(staging, database, Stay(0, LONG_S)).micro_batches == 1


def test_a_damaged_micro_batch_is_tried_once_and_said_at_the_end(database: Database, staging: LocalStaging) -> None:
    seal(staging, 1)
    path = staging.path(stage(staging, "broken", [value(9)]))
    path.write_bytes(path.read_bytes()[:100])
    asked: list[int] = []

    def is_over() -> bool:
        asked.append(loaded(database))
        if len(asked) == 2:
            seal(staging, 2)
        return asked[-1] == 2

    with pytest.raises(DamagedMicroBatchesError, match="broken") as caught:
        follow(staging, database, Stay(LONG_S, LONG_S, is_over))
    assert caught.value.report.micro_batches == 2
    assert caught.value.names == ["broken"]
