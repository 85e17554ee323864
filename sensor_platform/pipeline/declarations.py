"""What people say of work units, sensors and series: a thing a declaration, whether a file or a command says it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, PositiveFloat, model_validator
from pydantic_core import ErrorDetails

from sensor_platform.errors import SensorPlatformError
from sensor_platform.pipeline.calibration import Calibration, in_order
from sensor_platform.transformers.judge import MAX_NAME_CHARACTERS
from sensor_platform.transformers.numbers import is_storable

#: (work unit), (work unit, sensor) or (work unit, sensor, metric)
Subject = tuple[str, ...]
KINDS = ("work_unit", "sensor", "series")
#: From the whole to its parts. A level of another name is a plant's own, and may lie anywhere.
LEVELS = ("enterprise", "site", "area", "line", "cell")
#: Of scales and offsets: beyond it floats overflow.
GREATEST_NUMBER = 1e50


class RegistryError(SensorPlatformError):
    """The registry cannot become what was said, and nothing of it was changed. `problems`: a sentence each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Declaration:
    """`says`: field -> value, None: it is taken away. A field that is not in it stays as it is."""

    subject: Subject
    says: Mapping[str, Any]
    line: int | None = None

    @property
    def kind(self) -> str:
        return KINDS[len(self.subject) - 1]


def spelled(subject: Subject) -> str:
    """For people: `press`, `press/oil`, `press/oil temperature`."""
    return "/".join(subject[:2]) + "".join(f" {metric}" for metric in subject[2:])


def _storable(text: str) -> str:
    if not is_storable(text):
        raise ValueError("it holds U+0000 or a lone surrogate, which PostgreSQL cannot store")
    return text


def _aware(said: object) -> datetime:
    try:
        at = datetime.fromisoformat(said) if isinstance(said, str) else None
    except ValueError:
        at = None
    if at is None:
        raise ValueError("it is not an ISO 8601 time, such as 2026-11-23T10:00:00Z")
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


#: Without an offset it is UTC.
Time = Annotated[datetime, PlainValidator(_aware)]
Text = Annotated[str, Field(min_length=1), AfterValidator(_storable)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS), AfterValidator(_storable)]


_WRONG = {
    "finite_number": "it is not a finite number",
    "float_parsing": "it is not a number",
    "float_type": "it is not a number",
    "greater_than": "it is not above {gt:g}",
    "greater_than_equal": "it is below {ge:g}",
    "less_than_equal": "it is above {le:g}",
    "model_type": "it is not a mapping",
    "string_too_long": "it has more than {max_length} characters",
    "string_too_short": "it is empty",
    "string_type": "it is not a text",
    "tuple_type": "it is not a list",
}


def wrong(error: ErrorDetails) -> str:
    """What is wrong with a value, in the words of this project rather than those of pydantic."""
    if error["type"] in _WRONG:
        return _WRONG[error["type"]].format(**error.get("ctx", {}))
    return error["msg"].removeprefix("Value error, ")


class Entry(BaseModel):
    """What an entry of a file may say: fields beside its identity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def says(self, *identity: str) -> dict[str, Any]:
        """The fields that it names, without those of its identity."""
        said = {name: getattr(self, name) for name in self.model_fields_set - set(identity)}
        if "calibrations" in said:
            said["calibrations"] = in_order(entry.calibration() for entry in said["calibrations"])
        return said


class WorkUnitEntry(Entry):
    """What a file says of a place. level: of ISA-95, or a word of the plant's own; parent: the place that holds it."""

    work_unit: Name
    level: Text | None = None
    parent: Name | None = None
    description: Text | None = None


class CalibrationEntry(Entry):
    """`value * scale + offset`, for event times in [valid_from, valid_to); None: open."""

    valid_from: Time | None = None
    valid_to: Time | None = None
    scale: float = Field(1.0, ge=-GREATEST_NUMBER, le=GREATEST_NUMBER)
    offset: float = Field(0.0, ge=-GREATEST_NUMBER, le=GREATEST_NUMBER)

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if abs(self.scale) < 1 / GREATEST_NUMBER:
            raise ValueError("a scale of 0 leaves nothing of a value")
        if self.valid_from is not None and self.valid_to is not None and self.valid_from >= self.valid_to:
            raise ValueError("valid_from is not before valid_to")
        return self

    def calibration(self) -> Calibration:
        return Calibration(self.valid_from, self.valid_to, self.scale, self.offset)


class MetricEntry(Entry):
    """What a file says of a series; limits are in its unit."""

    metric: Name
    unit: Name = ""
    minimum: float | None = None
    maximum: float | None = None
    calibrations: tuple[CalibrationEntry, ...] = ()


class SensorEntry(Entry):
    """What a file says of a sensor, by its identity: work unit and name."""

    work_unit: Name
    sensor: Name
    description: Text | None = None
    expected_interval_s: PositiveFloat | None = None
    metrics: tuple[MetricEntry, ...] = ()


class RegistryEntry(Entry):
    """A whole file."""

    work_units: tuple[WorkUnitEntry, ...] = ()
    sensors: tuple[SensorEntry, ...] = ()
