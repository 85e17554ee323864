"""The rules: which figure, above what, for how long. A threshold of 0 switches a rule off."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sensor_platform.health.figures import (
    CANNOT_STAGE,
    CLOCK_SKEW,
    COLLECTOR_AGE,
    DEAD_LETTERS_PENDING,
    ERROR_RATE,
    MESSAGE_RATE,
    SPARKPLUG_GAPS,
    UPLOAD_AGE,
    Figure,
)

if TYPE_CHECKING:
    from sensor_platform.settings import HealthSettings

#: An alert that fires ends below this share of its threshold: a value that hovers around it is told once.
CLEAR_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Rule:
    """Fires above `threshold` once that has held for `for_s`; ends at or below `clear`."""

    name: str
    figure: str
    threshold: float
    clear: float
    for_s: float
    says: str

    def judge(self, figure: Figure, *, is_firing: bool) -> "Condition | None":
        """What the rule makes of a figure; None where the value is not known. `is_firing`: an alert does."""
        if figure.value is None:
            return None
        limit = self.clear if is_firing else self.threshold
        detail = self.says.format(subject=figure.subject, value=figure.value, threshold=self.threshold)
        return Condition(
            self.name, figure.subject, figure.value, self.threshold, figure.value > limit, detail, for_s=self.for_s
        )


@dataclass(frozen=True, slots=True)
class Condition:
    """Whether something is wrong with a subject just now, whoever found out: a rule, or a check."""

    rule: str
    subject: str
    value: float | None
    threshold: float | None
    firing: bool
    detail: str
    for_s: float = 0.0


#: Name, figure, threshold, seconds for which it must be above that, sentence.
_TABLE: tuple[tuple[str, str, Callable[["HealthSettings"], float], float, str], ...] = (
    ("message_rate", MESSAGE_RATE, lambda of: of.message_rate, 30.0, "{value:.0f} messages/s, more than {threshold:g}"),
    # A mean over five minutes is steady already: a long wait on top of it would only tell late.
    (
        "error_rate",
        ERROR_RATE,
        lambda of: of.error_rate_percent,
        10.0,
        "{value:.1f} % of the messages of five minutes were refused in whole or in part, more than {threshold:g} %",
    ),
    (
        "dead_letter_backlog",
        DEAD_LETTERS_PENDING,
        lambda of: of.dead_letter_backlog,
        30.0,
        "{value:.0f} dead letters are pending, more than {threshold:g}",
    ),
    # Its figure is a duration already: a second wait on top of it would only be a longer threshold.
    (
        "collector_down",
        COLLECTOR_AGE,
        lambda of: of.collector_down_s,
        0.0,
        "collector {subject} has not been collecting for {value:.0f} s, longer than {threshold:g} s",
    ),
    # Full, or an fsync that failed: the broker keeps the messages, as long as its own limits allow.
    (
        "cannot_stage",
        CANNOT_STAGE,
        lambda of: of.cannot_stage_s,
        0.0,
        "the disk of collector {subject} has refused messages for {value:.0f} s; they wait at the broker",
    ),
    (
        "upload_backlog",
        UPLOAD_AGE,
        lambda of: of.upload_backlog_s,
        0.0,
        "micro-batches of collector {subject} wait for the object store for {value:.0f} s, over {threshold:g} s",
    ),
    (
        "sparkplug_gaps",
        SPARKPLUG_GAPS,
        lambda of: of.sparkplug_gaps,
        0.0,
        "{value:.0f} times in an hour messages of Sparkplug nodes were missing, more than {threshold:g}",
    ),
    # A few old readings look like a clock that is behind; in this time others come, or it is silent (JUST_NOW).
    (
        "clock_skew",
        CLOCK_SKEW,
        lambda of: of.clock_skew_s,
        1200.0,
        "a sensor's clock is wrong by {value:.0f} s, over {threshold:g} s: `sensors clocks` says whose",
    ),
)
#: Names of all rules, on or off: an open alert of one that is off ends.
RULE_NAMES = tuple(name for name, *_ in _TABLE)


def rules(settings: "HealthSettings") -> list[Rule]:
    """The rules that are switched on."""
    all_rules = (
        Rule(name, figure, threshold, threshold * CLEAR_SHARE, for_s, says)
        for name, figure, threshold_of, for_s, says in _TABLE
        for threshold in (float(threshold_of(settings)),)
    )
    return [rule for rule in all_rules if rule.threshold > 0]
