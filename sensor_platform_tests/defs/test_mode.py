import dagster as dg
import pytest

from sensor_platform.defs.mode import ModeConfig, mode_of
from sensor_platform.pipeline.mode import Mode


@pytest.mark.parametrize(
    ("tags", "config", "mode"),
    [
        ({}, ModeConfig(), Mode.AGAIN),
        ({}, ModeConfig(mode=Mode.NEW), Mode.NEW),
        ({"sensor_platform/mode": "new"}, ModeConfig(), Mode.NEW),
        ({"sensor_platform/mode": "new", "dagster/parent_run_id": "x"}, ModeConfig(), Mode.AGAIN),
    ],
    ids=["materialized by hand", "configured", "from the sensor", "re-executed: the tag was copied"],
)
def test_mode(instance: dg.DagsterInstance, tags: dict[str, str], config: ModeConfig, mode: Mode) -> None:
    run = dg.DagsterRun(job_name="process_readings_job", tags=tags)
    assert mode_of(run, config) is mode
