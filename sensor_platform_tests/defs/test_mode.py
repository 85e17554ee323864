import dagster as dg
import pytest

from sensor_platform.definitions import defs
from sensor_platform.defs import names
from sensor_platform.defs.mode import ModeChoice, ModeConfig, mode_of
from sensor_platform.pipeline.mode import Mode


@pytest.mark.parametrize(
    ("tags", "config", "mode"),
    [
        ({}, ModeConfig(), Mode.AGAIN),
        ({}, ModeConfig(mode=ModeChoice.new), Mode.NEW),
        ({"sensor_platform/mode": "new"}, ModeConfig(), Mode.NEW),
        ({"sensor_platform/mode": "new", "dagster/parent_run_id": "x"}, ModeConfig(), Mode.AGAIN),
    ],
    ids=["materialized by hand", "configured", "from the sensor", "re-executed: the tag was copied"],
)
def test_mode(instance: dg.DagsterInstance, tags: dict[str, str], config: ModeConfig, mode: Mode) -> None:
    run = dg.DagsterRun(job_name="process_readings_job", tags=tags)
    assert mode_of(run, config) is mode


@pytest.mark.parametrize("mode", ["new", "again"])
@pytest.mark.parametrize(
    ("job", "step"), [(names.READINGS_JOB, "readings_and_dead_letters"), (names.ROLLUPS_JOB, "rollups")]
)
def test_a_configuration_says_new_or_again_in_these_words(job: str, step: str, mode: str) -> None:
    config = {"ops": {step: {"config": {"mode": mode}}}}
    checked = dg.validate_run_config(defs.resolve_job_def(job), config)
    assert checked["ops"][step]["config"]["mode"] == mode
