from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster import DagsterInstance

from sensor_platform.database.tables import dead_letter, metric
from sensor_platform.definitions import build_defs
from sensor_platform.defs import names
from sensor_platform.defs.dead_letters.retry_job import dead_letter_retry_schedule
from sensor_platform.defs.resources import Platform
from sensor_platform.pipeline.process import process
from sensor_platform_tests.defs.staged import reading, stage
from sensor_platform_tests.defs.ticks import skip

OTHER_TOPIC = b"plant/7/press"
ROUTES = """\
routes:
  - name: factory
    filter: factory/{work_unit}/sensors/{sensor}/data
    format: json
  - name: plant
    filter: plant/7/{sensor}
    work_unit: seven
    format: json
"""


def refuse(platform: Platform, hour: datetime) -> None:
    """One reading on a topic that no route matches, and one payload that no route will ever read."""
    root = platform.settings.home / "staging"
    stage(root, hour, [reading(1, at=hour)], topic=OTHER_TOPIC)
    stage(root, hour, [b"\xff"])
    process(platform.staging, platform.database, platform.routes, settings=platform.settings)


@pytest.fixture
def mended(platform: Platform) -> Iterator[Platform]:
    """The same platform after somebody wrote the route that was missing."""
    path = platform.settings.home / "routes.yaml"
    path.write_text(ROUTES)
    mended = Platform(platform.settings.model_copy(update={"routes_file": path}))
    yield mended
    mended.database.dispose()


def make_due(platform: Platform) -> None:
    with platform.database.begin() as connection:
        connection.execute(sa.update(dead_letter).values(next_attempt_at=datetime(2026, 1, 1, tzinfo=UTC)))


def retry(platform: Platform, instance: DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
    job = build_defs(platform=platform).resolve_job_def(names.RETRY_JOB)
    return job.execute_in_process(instance=instance, run_config={"ops": {"retry_dead_letters": {"config": config}}})


def states(platform: Platform) -> dict[str, str]:
    with platform.database.connect() as connection:
        found = connection.execute(sa.select(dead_letter.c.code, dead_letter.c.state))
        return {row.code: row.state for row in found}


def evaluate(instance: DagsterInstance, platform: Platform) -> Any:
    context = dg.build_schedule_context(instance=instance, resources={"platform": platform})
    return dead_letter_retry_schedule(context)


def observations(instance: DagsterInstance) -> list[dict[str, Any]]:
    records = instance.fetch_observations(names.DEAD_LETTERS, limit=10).records
    found = [record.asset_observation for record in records]
    return [{name: value.value for name, value in one.metadata.items()} for one in found if one is not None]


def test_a_mended_route_resolves_its_letters(
    platform: Platform, mended: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    refuse(platform, this_hour)
    make_due(platform)
    assert retry(mended, instance).success
    assert states(platform) == {"no_route": "resolved", "invalid_encoding": "pending"}
    with platform.database.connect() as connection:
        assert connection.execute(sa.select(metric.c.value)).scalars().all() == [1.0]
    (told,) = observations(instance)
    assert (told["letters"], told["letters_resolved"], told["readings_inserted"]) == (2, 1, 1)


def test_only_the_codes_that_were_asked_for(
    platform: Platform, mended: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    refuse(platform, this_hour)
    make_due(platform)
    retry(mended, instance, codes=["invalid_encoding"])
    assert states(platform) == {"no_route": "pending", "invalid_encoding": "pending"}


def test_a_dry_run_changes_nothing(
    platform: Platform, mended: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    refuse(platform, this_hour)
    make_due(platform)
    retry(mended, instance, dry_run=True)
    assert states(platform) == {"no_route": "pending", "invalid_encoding": "pending"}
    assert observations(instance) == []


def test_the_schedule_starts_nothing_while_no_letter_is_due(
    platform: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    refuse(platform, this_hour)
    assert skip(evaluate(instance, platform)) == "no dead letter is due"


def test_the_schedule_starts_a_run_when_letters_are_due(
    platform: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    refuse(platform, this_hour)
    make_due(platform)
    assert isinstance(evaluate(instance, platform), dg.RunRequest)


def test_without_a_database_the_schedule_says_so(instance: DagsterInstance, unreachable: Platform) -> None:
    assert "does not answer" in skip(evaluate(instance, unreachable))
