"""The schedule asks only where a setting says so; its job deletes, and the asset page shows it."""

from datetime import timedelta

import dagster as dg
from pydantic import SecretStr

from sensor_platform.definitions import build_defs
from sensor_platform.defs import names
from sensor_platform.defs.resources import Platform
from sensor_platform.defs.retention.staging_retention import staging_retention_schedule
from sensor_platform.pipeline.process import process
from sensor_platform.settings import Settings
from sensor_platform_tests.defs.staged import reading, stage
from sensor_platform_tests.defs.ticks import skip


def keeping(platform: Platform, days: float) -> Platform:
    settings = platform.settings
    kept = Settings(home=settings.home, database_url=SecretStr(platform.database.url), staging_retention_days=days)
    return Platform(kept, tick_wait_s=0)


def ask(platform: Platform) -> object:
    with dg.build_schedule_context(resources={"platform": platform}) as context:
        return staging_retention_schedule(context)


def test_the_schedule_asks_only_where_a_setting_says_so(platform: Platform) -> None:
    assert skip(ask(platform)) == "STAGING_RETENTION_DAYS is 0: every micro-batch is kept"
    asked = ask(keeping(platform, 30))
    assert isinstance(asked, dg.RunRequest)
    assert asked.tags == {"sensor_platform/retention_days": "30"}


def test_the_job_deletes_and_the_asset_shows_it(platform: Platform, instance: dg.DagsterInstance, this_hour) -> None:  # type: ignore[no-untyped-def]
    hour = this_hour - timedelta(days=3)
    stage(platform.settings.home / "staging", hour, [reading(1, at=hour)])
    process(platform.staging, platform.database, platform.routes, settings=platform.settings)
    kept = keeping(platform, 1)
    job = build_defs(platform=kept).resolve_job_def(names.RETENTION_JOB)
    dry = {"ops": {"prune_staging": {"config": {"dry_run": True}}}}
    assert job.execute_in_process(instance=instance, run_config=dry).success
    assert len(platform.staging.micro_batches()) == 1
    assert job.execute_in_process(instance=instance).success
    assert platform.staging.micro_batches() == []
    (event,) = instance.fetch_observations(names.STAGED_MESSAGES, limit=10).records
    assert event.asset_observation is not None
    assert event.asset_observation.metadata["micro_batches"].value == 1
    kept.database.dispose()
