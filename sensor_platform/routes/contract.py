"""What a route promises of its readings: names, metrics, types, ranges, enumerations, rates; with a version.

Models without pandas, for the collector reads routes too; `validation/contracts.py` judges readings by them.
"""

import re
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import ErrorDetails

from sensor_platform.routes.wording import did_you_mean

ValueType = Literal["number", "integer", "boolean", "text"]
Scalar = bool | int | float | str
Limit = Annotated[float, Field(strict=True, allow_inf_nan=False)]


def _version(given: Any) -> Any:
    if type(given) is int:
        return str(given)
    if type(given) is not str or not given:
        # YAML reads 1.10 as the number 1.1.
        raise ValueError("accepted: a whole number, or a text; write 1.10 in quotes")
    return given


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as err:
        raise ValueError(f'"{text}" is not a regular expression: {err}') from err
    return text


def _nothing_said(given: Any) -> Any:
    """`temperature:` alone names a metric of which nothing more is asked."""
    return {} if given is None else given


Version = Annotated[str, BeforeValidator(_version, json_schema_input_type=int | str)]
Pattern = Annotated[str, AfterValidator(_pattern)]


class MetricRule(BaseModel):
    """What is asked of the readings of one metric. Limits hold for the number as the route yields it, in its unit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    required: bool = Field(False, strict=True, description="every message has it")
    type: ValueType | None = Field(None, description="left out: number beside a limit, otherwise any")
    minimum: Limit | None = Field(None, description="the least value accepted")
    maximum: Limit | None = Field(None, description="the greatest value accepted")
    one_of: tuple[Scalar, ...] | None = Field(None, min_length=1, description="the only values accepted")
    max_rate_per_s: Limit | None = Field(None, gt=0, description="greatest change a second within one micro-batch")
    description: str | None = Field(None, description="for people")

    @property
    def kind(self) -> ValueType | None:
        """The type that is asked for; limits ask for a number."""
        return self.type or ("number" if self.is_limited else None)

    @property
    def is_limited(self) -> bool:
        return any(limit is not None for limit in (self.minimum, self.maximum, self.max_rate_per_s))

    @cached_property
    def numbers(self) -> tuple[float, ...]:
        """Those of `one_of` that are numbers; true is 1."""
        return tuple(float(value) for value in self.one_of or () if not isinstance(value, str))

    @cached_property
    def texts(self) -> tuple[str, ...]:
        return tuple(value for value in self.one_of or () if isinstance(value, str))

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}")
        if self.type == "text" and (self.numbers or self.is_limited):
            raise ValueError("a text has no limits, and only texts under one_of")
        if self.kind not in (None, "text") and self.texts:
            raise ValueError(f'one_of has the text "{self.texts[0]}", but the type is {self.kind}')
        return self


class Contract(BaseModel):
    """What is asked of the readings of a route. Patterns of metrics have `*` and `?`; an exact name goes first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Version = Field(description="of the contract; change it with its meaning")
    description: str | None = Field(None, description="for people")
    sensor: Pattern | None = Field(None, description="regular expression that the whole name of the sensor matches")
    work_unit: Pattern | None = Field(None, description="the same for the work unit")
    metrics: dict[
        str, Annotated[MetricRule, BeforeValidator(_nothing_said, json_schema_input_type=MetricRule | None)]
    ] = Field(default_factory=dict, description="by name or pattern")
    other_metrics: Literal["allow", "refuse"] = Field("allow", description="what becomes of metrics without a rule")

    @cached_property
    def required(self) -> dict[int, str]:
        """Place among the metrics -> name or pattern, of those that every message has."""
        return {place: name for place, (name, rule) in enumerate(self.metrics.items()) if rule.required}

    def place_of(self, metric: str) -> int:
        """The place of the rule for `metric`: the one of its name, or the first pattern that matches; -1: none."""
        names = list(self.metrics)
        if metric in self.metrics:
            return names.index(metric)
        return next((place for place, name in enumerate(names) if matches(metric, name)), -1)

    @model_validator(mode="after")
    def _lets_something_in(self) -> Self:
        if self.other_metrics == "refuse" and not self.metrics:
            raise ValueError("other_metrics: refuse without metrics would refuse every reading")
        return self


def matches(metric: str, pattern: str) -> bool:
    """Whether `metric` is of the pattern: `*` and `?`, all else literally."""
    return fnmatchcase(metric, pattern.replace("[", "[[]"))


def contract_problem(error: ErrorDetails) -> str:
    """One error of the model for a person: the key, what is wrong with it, and what is accepted."""
    loc = error["loc"]
    where = ".".join(map(str, ("contract", *loc)))
    if error["type"] == "extra_forbidden":
        model = MetricRule if len(loc) > 1 else Contract
        return f"{where} is unknown.{did_you_mean(str(loc[-1]), model.model_fields)}"
    if error["type"] == "missing":
        return f"{where} is missing"
    if error["type"] == "literal_error" and loc[-1] == "type":
        return f'{where}: "{error["input"]}" is not accepted.{did_you_mean(str(error["input"]), get_args(ValueType))}'
    return f"{where}: {error['msg'].removeprefix('Value error, ')}"
