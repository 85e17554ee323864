import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from sensor_platform.defs import names
from sensor_platform.defs.runs import backoff_left_s, end_dead_runs, in_flight, is_awaited
from sensor_platform_tests.defs.made_runs import asset_run, job_run, say_process

NEW = {"sensor_platform/mode": "new"}
OF_BACKFILL = {"dagster/backfill": "b"}
QUEUED, STARTED = dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED


def in_flight_ids(instance: dg.DagsterInstance) -> list[str]:
    return [run.run_id for run in in_flight(instance, job=names.READINGS_JOB, tags=NEW)]


@pytest.mark.parametrize("status", ["QUEUED", "STARTING", "STARTED", "CANCELING"])
def test_a_run_is_in_flight_from_the_queue_to_its_end(instance: dg.DagsterInstance, status: str) -> None:
    run = job_run(instance, names.READINGS_JOB, dg.DagsterRunStatus[status], tags=NEW)
    assert in_flight_ids(instance) == [run.run_id]


@pytest.mark.parametrize("status", ["NOT_STARTED", "SUCCESS", "FAILURE", "CANCELED"])
def test_a_run_that_ended_or_was_never_queued_holds_up_nothing(instance: dg.DagsterInstance, status: str) -> None:
    job_run(instance, names.READINGS_JOB, dg.DagsterRunStatus[status], tags=NEW)
    assert in_flight_ids(instance) == []


def test_what_makes_hours_again_holds_up_nothing_that_is_new(instance: dg.DagsterInstance) -> None:
    asset_run(instance, [names.READINGS], STARTED)
    job_run(instance, names.READINGS_JOB, STARTED)
    job_run(instance, names.READINGS_JOB, STARTED, tags={**NEW, "dagster/parent_run_id": "executed again"})
    job_run(instance, names.ROLLUPS_JOB, STARTED, tags=NEW)
    assert in_flight_ids(instance) == []


def test_a_run_that_is_queued_may_wait_for_one_that_stays(instance: dg.DagsterInstance) -> None:
    assert not is_awaited(instance, but=names.ROLLUPS_JOB)
    job_run(instance, names.ROLLUPS_JOB, QUEUED)
    assert not is_awaited(instance, but=names.ROLLUPS_JOB)
    job_run(instance, names.READINGS_JOB, QUEUED)
    assert is_awaited(instance, but=names.ROLLUPS_JOB)


def test_the_rest_of_a_backfill_waits_for_its_first_run_and_for_no_other(instance: dg.DagsterInstance) -> None:
    job_run(instance, names.READINGS_JOB, QUEUED, tags=OF_BACKFILL)
    assert is_awaited(instance, but=names.ROLLUPS_JOB)
    job_run(instance, names.READINGS_JOB, STARTED, tags=OF_BACKFILL)
    assert not is_awaited(instance, but=names.ROLLUPS_JOB)


def test_a_run_whose_process_was_killed_is_ended(stored_instance: dg.DagsterInstance) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run = job_run(stored_instance, names.READINGS_JOB, dg.DagsterRunStatus.STARTED)
    say_process(stored_instance, run, process.pid)
    assert end_dead_runs(stored_instance) == []
    process.kill()
    process.communicate()
    assert end_dead_runs(stored_instance) == [run.run_id]
    ended = stored_instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status == dg.DagsterRunStatus.FAILURE


def test_a_run_that_was_being_canceled_and_lost_its_process_is_canceled(stored_instance: dg.DagsterInstance) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.communicate()
    run = job_run(stored_instance, names.READINGS_JOB, dg.DagsterRunStatus.CANCELING)
    say_process(stored_instance, run, process.pid)
    assert end_dead_runs(stored_instance) == [run.run_id]
    ended = stored_instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status == dg.DagsterRunStatus.CANCELED


def test_a_younger_process_of_the_same_number_is_not_the_runs(stored_instance: dg.DagsterInstance) -> None:
    run = job_run(stored_instance, names.READINGS_JOB, dg.DagsterRunStatus.STARTED)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        say_process(stored_instance, run, process.pid, at=time.time() - 3600)
        assert end_dead_runs(stored_instance) == [run.run_id]
        process.kill()


def test_a_run_that_has_only_just_been_launched_is_left_alone(stored_instance: dg.DagsterInstance) -> None:
    job_run(stored_instance, names.READINGS_JOB, dg.DagsterRunStatus.STARTING)
    assert end_dead_runs(stored_instance) == []


@pytest.mark.parametrize(
    ("ended", "waits_s"),
    [("", 0), ("F", 0), ("FF", 5), ("FFF", 10), ("FFFFFFFF", 60), ("FFS", 0), ("SFF", 5)],
)
def test_attempts_back_off_while_runs_fail(instance: dg.DagsterInstance, ended: str, waits_s: float) -> None:
    """`ended`: how earlier runs ended, oldest first, S(uccess) or F(ailure)."""
    statuses = {"S": dg.DagsterRunStatus.SUCCESS, "F": dg.DagsterRunStatus.FAILURE}
    for letter in ended:
        job_run(instance, names.READINGS_JOB, statuses[letter], tags={"sensor_platform/mode": "new"})
    now = datetime.now(UTC)
    tags = {"sensor_platform/mode": "new"}
    left_s = backoff_left_s(instance, job=names.READINGS_JOB, tags=tags, now=now)
    assert max(left_s, 0) == pytest.approx(waits_s, abs=1)
    later = now + timedelta(seconds=waits_s + 1)
    assert backoff_left_s(instance, job=names.READINGS_JOB, tags=tags, now=later) <= 0
