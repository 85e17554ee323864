"""What a piece of work did, in numbers that add up. The ledger, the command line and Dagster show the same."""

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Self, TypeVar

from sensor_platform.pipeline.changes import Differences

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class _Counts:
    def __add__(self, other: Self) -> Self:
        return type(self)(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    def __sub__(self, other: Self) -> Self:
        return type(self)(**{f.name: getattr(self, f.name) - getattr(other, f.name) for f in fields(self)})


@dataclass(frozen=True, slots=True)
class MessageCounts(_Counts):
    """Messages, each in exactly one class."""

    staged: int = 0
    accepted: int = 0
    partial: int = 0
    dead_lettered: int = 0
    duplicate: int = 0
    ignored: int = 0

    def balanced(self) -> bool:
        """Whether every staged message is in a class."""
        return self.staged == self.accepted + self.partial + self.dead_lettered + self.duplicate + self.ignored


@dataclass(frozen=True, slots=True)
class ReadingCounts(_Counts):
    """Readings: in `metric`, in `metric_duplicate`, or a dead letter. What was thinned is not among `decoded`.

    `expired`: of `inserted`, those that retention has deleted, or that were too old to be kept.
    """

    decoded: int = 0
    inserted: int = 0
    duplicate: int = 0
    refused: int = 0
    thinned: int = 0
    expired: int = 0

    def balanced(self) -> bool:
        """Whether every decoded reading is somewhere."""
        return self.decoded == self.inserted + self.duplicate + self.refused


@dataclass(frozen=True, slots=True)
class Report:
    """What a call of `process` did. `seconds` has read, decode, validate, load; `lag_s` is commit minus reception.

    `bytes_deleted`: micro-batches that could not be processed again, since retention has deleted their files.
    `sparkplug_gaps`: how often messages of a Sparkplug node are missing.
    """

    micro_batches: int = 0
    messages: MessageCounts = field(default_factory=MessageCounts)
    readings: ReadingCounts = field(default_factory=ReadingCounts)
    conflicts: int = 0
    bytes_deleted: int = 0
    sparkplug_gaps: int = 0
    refused_by_code: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    least_time: datetime | None = None
    greatest_time: datetime | None = None
    lag_s: float | None = None
    differences: Differences | None = None  # of what was made again

    def __add__(self, other: "Report") -> "Report":
        least = [time for time in (self.least_time, other.least_time) if time is not None]
        greatest = [time for time in (self.greatest_time, other.greatest_time) if time is not None]
        return Report(
            micro_batches=self.micro_batches + other.micro_batches,
            messages=self.messages + other.messages,
            readings=self.readings + other.readings,
            conflicts=self.conflicts + other.conflicts,
            bytes_deleted=self.bytes_deleted + other.bytes_deleted,
            sparkplug_gaps=self.sparkplug_gaps + other.sparkplug_gaps,
            refused_by_code=_sum(self.refused_by_code, other.refused_by_code),
            seconds=_sum(self.seconds, other.seconds),
            # The newest are the ones that a person wants to see.
            samples=other.samples or self.samples,
            least_time=min(least, default=None),
            greatest_time=max(greatest, default=None),
            lag_s=self.lag_s if other.lag_s is None else other.lag_s,
            differences=_both(self.differences, other.differences),
        )


def _both(left: Differences | None, right: Differences | None) -> Differences | None:
    return left + right if left is not None and right is not None else left or right


def _sum(left: dict[str, Number], right: dict[str, Number]) -> dict[str, Number]:
    return {key: left.get(key, 0) + right.get(key, 0) for key in {**left, **right}}
