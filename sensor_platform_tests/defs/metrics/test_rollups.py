from datetime import UTC, date, datetime

import dagster as dg
import sqlalchemy as sa
from dagster import DagsterInstance

from sensor_platform.database.tables import metrics_daily, metrics_hourly, metrics_minute
from sensor_platform.definitions import build_defs
from sensor_platform.defs import names
from sensor_platform.defs.resources import Platform
from sensor_platform.pipeline.process import process
from sensor_platform.pipeline.rollups import changed_days
from sensor_platform_tests.defs.staged import reading, stage

NOON = datetime(2014, 5, 6, 12, tzinfo=UTC)
DAY = "2014-05-06"


def load(platform: Platform, hour: datetime, *values: float) -> None:
    """Readings of 2014, received this hour."""
    payloads = [reading(value, at=NOON.replace(minute=n)) for n, value in enumerate(values)]
    stage(platform.settings.home / "staging", hour, payloads)
    process(platform.staging, platform.database, platform.routes, settings=platform.settings)


def run(platform: Platform, instance: DagsterInstance, **tags: str) -> dg.ExecuteInProcessResult:
    job = build_defs(platform=platform).resolve_job_def(names.ROLLUPS_JOB)
    both = {names.RANGE_START_TAG: DAY, names.RANGE_END_TAG: DAY}
    return job.execute_in_process(instance=instance, tags={**both, **tags})


def rolled(platform: Platform, table: sa.Table) -> list[tuple[int, float, float]]:
    query = sa.select(table.c.count, table.c.min, table.c.max).order_by(table.c.bucket)
    with platform.database.connect() as connection:
        return [(count, least, greatest) for count, least, greatest in connection.execute(query)]


def test_changed_days_are_rolled_up_and_unmarked(
    platform: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    load(platform, this_hour, 2.0, 4.0)
    assert changed_days(platform.database) == [date(2014, 5, 6)]
    result = run(platform, instance, **{"sensor_platform/mode": "new"})
    assert rolled(platform, metrics_minute) == [(1, 2.0, 2.0), (1, 4.0, 4.0)]
    assert rolled(platform, metrics_hourly) == rolled(platform, metrics_daily) == [(2, 2.0, 4.0)]
    assert changed_days(platform.database) == []
    made = {m.asset_key: m.metadata for m in result.asset_materializations_for_node("rollups")}
    assert str(made[names.METRICS_MINUTE]["run"].value).startswith("2 rows made")
    rows = {key.path[0]: told["dagster/partition_row_count"].value for key, told in list(made.items())[1:]}
    assert rows == {"metrics_hourly": 1, "metrics_daily": 1}
    for told in made.values():
        assert [told[name].value for name in ("series", "readings", "good_percent")] == [1, 2, 100.0]
        assert "| line/press value |" in str(told["newest_rows"].value)


def test_materialized_by_hand_a_day_is_made_again_and_is_the_same(
    platform: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    load(platform, this_hour, 2.0, 4.0)
    run(platform, instance, **{"sensor_platform/mode": "new"})
    with platform.database.begin() as connection:
        connection.execute(sa.update(metrics_daily).values(min=-99))
    run(platform, instance)
    assert rolled(platform, metrics_daily) == [(2, 2.0, 4.0)]


def test_one_level_can_be_made_alone(platform: Platform, instance: DagsterInstance, this_hour: datetime) -> None:
    load(platform, this_hour, 2.0)
    result = dg.materialize(
        [build_defs(platform=platform).resolve_assets_def(names.METRICS_MINUTE)],
        instance=instance,
        partition_key=DAY,
        selection=[names.METRICS_MINUTE],
    )
    assert result.success
    assert rolled(platform, metrics_minute) == [(1, 2.0, 2.0)]
    assert rolled(platform, metrics_daily) == []


def test_days_just_made_are_held_against_their_readings(
    platform: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    load(platform, this_hour, 2.0, 4.0)
    (evaluation,) = run(platform, instance).get_asset_check_evaluations()
    assert evaluation.check_name == "rollups_match_readings"
    assert (evaluation.passed, evaluation.metadata["days"].value) == (True, 1)
    with platform.database.begin() as connection:
        connection.execute(sa.update(metrics_daily).values(max=5))
    # A run that makes nothing anew looks at older days all the same, and does not fail.
    result = run(platform, instance, **{"sensor_platform/mode": "new"})
    (evaluation,) = result.get_asset_check_evaluations()
    assert not evaluation.passed
    assert "max: metrics_daily says 5.0, the readings 4.0" in str(evaluation.description)
    assert result.success
