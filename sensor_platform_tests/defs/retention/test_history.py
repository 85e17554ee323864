"""Dagster's history is pruned, and no partition looks unmaterialized for it: its cache is made anew to show that."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from sensor_platform.definitions import build_defs
from sensor_platform.defs import names
from sensor_platform.defs.resources import Platform
from sensor_platform.defs.retention.history import history_schedule
from sensor_platform.defs.retention.prune_history import prune_history
from sensor_platform.settings import Settings
from sensor_platform_tests.defs.ticks import skip

HOURS = dg.StaticPartitionsDefinition([f"2026-03-02-{hour:02d}:00" for hour in range(6)])
KEYS = HOURS.get_partition_keys()
LATER = timedelta(days=30)


@dg.asset(partitions_def=HOURS)
def plant() -> None:
    """Materialized again and again."""


@dg.asset_check(asset=plant)
def is_well() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.op
def break_down() -> None:
    raise dg.Failure("on purpose")


@dg.job
def broken_job() -> None:
    break_down()


@pytest.fixture
def instance(database_url: str) -> Iterator[dg.DagsterInstance]:
    """On PostgreSQL, as the platform has it."""
    url = database_url.replace("postgresql+psycopg://", "postgresql://")
    with dg.instance_for_test(overrides={"storage": {"postgres": {"postgres_url": url}}}) as stored:
        yield stored


def materialize(instance: dg.DagsterInstance, key: str) -> None:
    assert dg.materialize([plant, is_well], instance=instance, partition_key=key).success


def report(instance: dg.DagsterInstance, key: str | None, number: int) -> None:
    for event in (dg.AssetMaterialization, dg.AssetObservation):
        instance.report_runless_asset_event(event("staged", partition=key, metadata={"n": number}))


def materialized(instance: dg.DagsterInstance) -> set[str]:
    """As Dagster finds it when its cache is made anew."""
    instance.wipe_asset_cached_status([plant.key])
    value = get_and_update_asset_status_cache_value(instance, plant.key, HOURS)
    assert value is not None
    return set(value.deserialize_materialized_partition_subsets(HOURS).get_partition_keys())


def test_partitions_and_checks_show_what_they_showed(instance: dg.DagsterInstance) -> None:
    for key in KEYS[:4] * 3:
        materialize(instance, key)
    assert materialized(instance) == set(KEYS[:4])
    pruned = prune_history(instance, days=1, now=datetime.now(UTC) + LATER)
    # 12 runs and evaluations: the newest run of each of four partitions stays, and the newest evaluation.
    assert (pruned.runs, pruned.evaluations) == (8, 11)
    assert materialized(instance) == set(KEYS[:4])
    assert instance.get_runs_count() == 4
    check = dg.AssetCheckKey(plant.key, "is_well")
    summary = instance.event_log_storage.get_latest_asset_check_execution_by_key([check])
    assert summary[check].run_id == instance.get_runs(limit=1)[0].run_id
    again = prune_history(instance, days=1, now=datetime.now(UTC) + LATER)
    assert (again.runs, again.events, again.evaluations) == (0, 0, 0)


def test_of_a_run_that_stays_its_start_end_and_materializations_stay(instance: dg.DagsterInstance) -> None:
    materialize(instance, KEYS[0])
    (run,) = instance.get_runs()
    before = len(instance.all_logs(run.run_id))
    assert prune_history(instance, days=1, now=datetime.now(UTC)).events == 0
    pruned = prune_history(instance, days=1, now=datetime.now(UTC) + LATER)
    left = [entry.dagster_event_type for entry in instance.all_logs(run.run_id)]
    kinds = dg.DagsterEventType
    assert left == [kinds.RUN_START, kinds.ASSET_MATERIALIZATION, kinds.RUN_SUCCESS]
    assert pruned.events == before - len(left)
    stats = instance.get_run_stats(run.run_id)
    assert (stats.materializations, stats.start_time is None, stats.end_time is None) == (1, False, False)


def test_what_is_young_stays_and_failed_runs_stay_longer(instance: dg.DagsterInstance) -> None:
    for key in KEYS[:1] * 3:
        materialize(instance, key)
    assert not broken_job.execute_in_process(instance=instance, raise_on_error=False).success
    now = datetime.now(UTC)
    assert prune_history(instance, days=1, now=now).runs == 0
    assert prune_history(instance, days=1, now=now + timedelta(days=5)).runs == 2
    assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}
    assert prune_history(instance, days=1, now=now + timedelta(days=11)).runs == 1


def test_the_newest_report_without_a_run_stays(instance: dg.DagsterInstance) -> None:
    for number in range(5):
        for key in (None, *KEYS[:2]):
            report(instance, key, number)
    assert prune_history(instance, days=1, now=datetime.now(UTC)).events == 0
    pruned = prune_history(instance, days=1, now=datetime.now(UTC) + LATER)
    assert pruned.events == 2 * 3 * 4
    for fetch in (instance.fetch_materializations, instance.fetch_observations):
        left = fetch(dg.AssetKey("staged"), limit=100).records
        assert sorted(record.partition_key or "" for record in left) == ["", *KEYS[:2]]
        assert {record.event_log_entry.dagster_event is not None for record in left} == {True}


def test_the_job_prunes_the_instance_that_it_runs_on(instance: dg.DagsterInstance, platform: Platform) -> None:
    for key in KEYS[:1] * 2:
        materialize(instance, key)
    job = build_defs(platform=platform).resolve_job_def(names.HISTORY_JOB)
    config = {"ops": {"prune_dagster_history": {"config": {"days": 1e-9}}}}
    assert job.execute_in_process(instance=instance, run_config=config).success
    left = [run for run in instance.get_runs() if run.job_name != names.HISTORY_JOB]
    assert len(left) == 1, "the newest materialization's"


def test_zero_days_keep_everything(home: Path) -> None:
    platform = Platform(Settings(home=home, dagster_history_days=0))
    with dg.build_schedule_context(resources={"platform": platform}) as context:
        assert skip(history_schedule(context)) == "DAGSTER_HISTORY_DAYS is 0: all of Dagster's history is kept"


def test_it_is_asked_for_once_an_hour(home: Path) -> None:
    with dg.build_schedule_context(resources={"platform": Platform(Settings(home=home))}) as context:
        assert isinstance(history_schedule(context), dg.RunRequest)
    assert history_schedule.cron_schedule == "37 * * * *"
