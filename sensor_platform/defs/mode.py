"""New or again: whether a run takes what is new, or tells the hours or days that it names once more."""

from enum import StrEnum

from dagster import Config, DagsterRun
from pydantic import Field

from sensor_platform.defs.names import MODE_TAG, PARENT_RUN_TAG
from sensor_platform.pipeline.mode import Mode


class ModeChoice(StrEnum):
    """`Mode` in the words of a configuration: there Dagster takes the names of members, not their values."""

    new = "new"
    again = "again"


class ModeConfig(Config):
    """`again` unless a sensor says otherwise, so that Materialize and Backfill re-process what they name."""

    mode: ModeChoice = Field(
        default=ModeChoice.again,
        description="again: all of these partitions, replacing what was made of them; new: only what is new. The tag "
        "sensor_platform/mode of a sensor's run counts more",
    )


def mode_of(run: DagsterRun, config: ModeConfig) -> Mode:
    """The tag of the sensor, otherwise the configuration. "Re-execute" copies tags: a run with a parent is `again`."""
    if PARENT_RUN_TAG in run.tags:
        return Mode.AGAIN
    return Mode(run.tags.get(MODE_TAG, config.mode))
