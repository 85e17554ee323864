"""Ticks of sensors, as the daemon would evaluate them."""

from typing import Any

import dagster as dg

# Not public; the UI makes such states through GraphQL, which needs a server.
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus

from sensor_platform.defs.resources import Platform

REPOSITORY = "__repository__"


def tick(
    sensor: dg.SensorDefinition, instance: dg.DagsterInstance, platform: Platform, *, cursor: str | None = None
) -> Any:
    """What the sensor's function returns."""
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"platform": platform}, repository_name=REPOSITORY
    ) as context:
        return sensor(context)


def skip(result: Any) -> str:
    assert isinstance(result, dg.SkipReason), result
    return str(result.skip_message)


def switch(instance: dg.DagsterInstance, sensor: str, *, on: bool, repository: str = REPOSITORY) -> None:
    """Switches a sensor as the UI does."""
    location = RegisteredCodeLocationOrigin("sensor_platform")
    state = InstigatorState(
        RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, repository), sensor),
        InstigatorType.SENSOR,
        InstigatorStatus.RUNNING if on else InstigatorStatus.STOPPED,
    )
    known = instance.get_instigator_state(state.instigator_origin_id, state.selector_id)
    if known is None:
        instance.add_instigator_state(state)
    else:
        instance.update_instigator_state(state)
