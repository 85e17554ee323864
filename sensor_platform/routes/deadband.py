"""Report by exception: which readings of a metric say nothing new. `pipeline/exceptions.py` thins by it."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import ErrorDetails

from sensor_platform.routes.wording import did_you_mean

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Deadband(BaseModel):
    """A reading that is no further from the last kept one, in value and in event time, is thinned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deadband: Number = Field(ge=0, description="in the unit of the series; 0: only what repeats the value is thinned")
    longest_silence_s: Number = Field(600, gt=0, description="seconds of event time after which one is kept")


def deadband_of(metric: str, deadbands: Mapping[str, Deadband]) -> Deadband | None:
    """That of the first pattern that matches."""
    return next((found for pattern, found in deadbands.items() if fnmatchcase(metric, pattern)), None)


def deadband_problem(pattern: str, error: ErrorDetails) -> str:
    """One error of the model for a person: the key, what is wrong with it, and what is accepted."""
    where = ".".join(map(str, ("report_by_exception", pattern, *error["loc"])))
    if error["type"] == "extra_forbidden":
        return f"{where} is unknown.{did_you_mean(str(error['loc'][-1]), Deadband.model_fields)}"
    if error["type"] == "missing":
        return f"{where} is missing"
    return f"{where}: {error['msg']}"
