from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.test_utils import freeze_time

from sensor_platform.database.tables import ledger
from sensor_platform.defs import names
from sensor_platform.defs.ingest.micro_batch_sensor import micro_batch_sensor
from sensor_platform.defs.partitions import HOUR, hour_of, key_of, received_hours
from sensor_platform.defs.resources import Platform
from sensor_platform.staging.format import MicroBatch
from sensor_platform_tests.defs.made_runs import asset_run, job_run
from sensor_platform_tests.defs.staged import stage
from sensor_platform_tests.defs.ticks import skip, tick

NEW = {"sensor_platform/mode": "new"}


def root(platform: Platform) -> Path:
    return platform.settings.home / "staging"


def note_in_ledger(platform: Platform, micro_batch: MicroBatch) -> None:
    messages = ("staged", "accepted", "partial", "dead_lettered", "duplicate", "ignored")
    readings = ("decoded", "inserted", "duplicate_readings", "refused", "conflicts")
    row = {
        "name": micro_batch.name,
        "hour": micro_batch.hour,
        "first_received_at": micro_batch.hour,
        "last_received_at": micro_batch.hour,
        "route_versions": {},
        "transformer_versions": {},
        **dict.fromkeys((*messages, *readings), 0),
    }
    with platform.database.begin() as connection:
        connection.execute(ledger.insert().values(row))


def request(instance: DagsterInstance, platform: Platform) -> dg.RunRequest:
    result = tick(micro_batch_sensor, instance, platform)
    assert isinstance(result, dg.RunRequest), result
    return result


def hours(request: dg.RunRequest) -> tuple[str, str]:
    return request.tags[names.RANGE_START_TAG], request.tags[names.RANGE_END_TAG]


def test_idle_asks_for_nothing(instance: DagsterInstance, platform: Platform) -> None:
    assert skip(tick(micro_batch_sensor, instance, platform)) == "nothing is pending"


def test_what_the_ledger_has_is_not_pending(instance: DagsterInstance, platform: Platform, this_hour: datetime) -> None:
    note_in_ledger(platform, stage(root(platform), this_hour, [b"1"]))
    assert skip(tick(micro_batch_sensor, instance, platform)) == "nothing is pending"


def test_all_that_is_pending_in_a_stretch_is_one_run_of_what_is_new(
    instance: DagsterInstance, platform: Platform, this_hour: datetime
) -> None:
    for hour in (this_hour, this_hour, this_hour + HOUR):
        stage(root(platform), hour, [b"1"])
    asked = request(instance, platform)
    assert hours(asked) == (key_of(this_hour), key_of(this_hour + HOUR))
    assert asked.tags["sensor_platform/mode"] == "new"


def test_a_clock_far_off_strands_nothing(instance: DagsterInstance, platform: Platform) -> None:
    stage(root(platform), datetime(1970, 1, 1, tzinfo=UTC), [b"1"])
    stage(root(platform), datetime(2099, 1, 1, tzinfo=UTC), [b"1"])
    first = received_hours.get_first_partition_key()
    assert first is not None
    # The hours began when the module was loaded, and are two while that one lasts.
    with freeze_time(hour_of(first)):
        assert hours(request(instance, platform)) == (first, key_of(hour_of(first) + HOUR))


def test_a_run_in_the_queue_or_under_way_is_waited_for(
    instance: DagsterInstance, platform: Platform, this_hour: datetime
) -> None:
    stage(root(platform), this_hour, [b"1"])
    queued = job_run(instance, names.READINGS_JOB, DagsterRunStatus.QUEUED, tags=NEW)
    assert skip(tick(micro_batch_sensor, instance, platform)) == f"run {queued.run_id} is queued"


def test_a_backfill_of_readings_is_not_waited_for(
    instance: DagsterInstance, platform: Platform, this_hour: datetime
) -> None:
    stage(root(platform), this_hour, [b"1"])
    asset_run(instance, [names.READINGS], DagsterRunStatus.STARTED)
    assert request(instance, platform)


def test_rollups_do_not_hold_up_readings(instance: DagsterInstance, platform: Platform, this_hour: datetime) -> None:
    stage(root(platform), this_hour, [b"1"])
    job_run(instance, names.ROLLUPS_JOB, DagsterRunStatus.STARTED)
    assert request(instance, platform)


def test_the_same_state_asks_with_the_same_key_and_each_attempt_with_another(
    instance: DagsterInstance, platform: Platform, this_hour: datetime
) -> None:
    stage(root(platform), this_hour, [b"1"])
    first = request(instance, platform).run_key
    assert request(instance, platform).run_key == first
    job_run(instance, names.READINGS_JOB, DagsterRunStatus.FAILURE, tags=NEW)
    assert request(instance, platform).run_key != first


def test_runs_that_fail_again_and_again_do_not_spin(
    instance: DagsterInstance, platform: Platform, this_hour: datetime
) -> None:
    stage(root(platform), this_hour, [b"1"])
    for _ in range(4):
        job_run(instance, names.READINGS_JOB, DagsterRunStatus.FAILURE, tags=NEW)
    reason = skip(tick(micro_batch_sensor, instance, platform))
    assert reason.startswith("1 micro-batches wait; runs fail, the next attempt is in ")


def test_a_tick_waits_for_what_is_about_to_be_sealed(
    instance: DagsterInstance, platform: Platform, this_hour: datetime
) -> None:
    import threading

    platform.tick_wait_s = 60
    sealing = threading.Timer(0.6, stage, [root(platform), this_hour, [b"1"]])
    sealing.start()
    assert request(instance, platform)
    sealing.join()


def test_without_a_database_the_tick_says_so(instance: DagsterInstance, unreachable: Platform) -> None:
    assert "does not answer" in skip(tick(micro_batch_sensor, instance, unreachable))


def test_what_a_run_could_not_load_starts_no_further_run(
    instance: DagsterInstance, platform: Platform, this_hour: datetime
) -> None:
    stage(root(platform), this_hour, [b"1"])
    cursor: str | None = None

    def evaluate() -> object:
        nonlocal cursor
        with dg.build_sensor_context(instance=instance, cursor=cursor, resources={"platform": platform}) as context:
            answer = micro_batch_sensor(context)
            cursor = context.cursor
        return answer

    assert isinstance(evaluate(), dg.RunRequest)
    job_run(instance, names.READINGS_JOB, DagsterRunStatus.SUCCESS, tags=NEW)
    assert skip(evaluate()).startswith("nothing is pending; 1 micro-batches cannot be loaded")
    assert platform.waiting_s(now=datetime.now(UTC) + timedelta(hours=1)) == 0
    stage(root(platform), this_hour, [b"2"])
    assert isinstance(evaluate(), dg.RunRequest)


def test_a_run_that_was_executed_again_says_nothing_of_what_was_asked_for(
    instance: DagsterInstance, platform: Platform, this_hour: datetime
) -> None:
    """Its tags are copied: somebody re-executes a run of yesterday while one of today's is to be tried again."""
    stage(root(platform), this_hour, [b"1"])
    with dg.build_sensor_context(instance=instance, resources={"platform": platform}) as context:
        assert isinstance(micro_batch_sensor(context), dg.RunRequest)
        cursor = context.cursor
    job_run(instance, names.READINGS_JOB, DagsterRunStatus.FAILURE, tags=NEW)
    again = {**NEW, "dagster/parent_run_id": "of yesterday"}
    job_run(instance, names.READINGS_JOB, DagsterRunStatus.SUCCESS, tags=again)
    assert isinstance(tick(micro_batch_sensor, instance, platform, cursor=cursor), dg.RunRequest)
