"""The class of each message and reading, counted by micro-batch: promise 2, before it is written down."""

from dataclasses import dataclass

import numpy as np

from sensor_platform.database.copy import ReadingRows
from sensor_platform.errors import AccountingError
from sensor_platform.pipeline.outcome import Outcome
from sensor_platform.pipeline.report import MessageCounts, ReadingCounts


@dataclass(frozen=True, slots=True)
class Made:
    """What one micro-batch became. Times are microseconds since 1970; None where it has no reading."""

    messages: MessageCounts
    readings: ReadingCounts
    conflicts: int
    least_time: int | None
    greatest_time: int | None


def count(
    outcome: Outcome, rows: ReadingRows, stands: np.ndarray, conflicting: np.ndarray, expired: np.ndarray
) -> list[Made]:
    """One entry a source of `outcome`. `stands`, `conflicting` and `expired` are per reading; what expired stands too.

    Raises:
        AccountingError: a message is in no class, or in two.
    """
    n, n_sources = len(outcome.source_of), len(outcome.sources)
    refused_message = np.array([refusal.message for refusal in outcome.refusals], np.int64)
    refused_reading = np.array([refusal.ordinal >= 0 for refusal in outcome.refusals], dtype=bool)
    classes = _classes(outcome, stands, np.bincount(refused_message, minlength=n) > 0)
    of_reading = outcome.source_of[outcome.message]

    def by_source(places: np.ndarray) -> list[int]:
        counts: list[int] = np.bincount(places, minlength=n_sources).tolist()
        return counts

    message_columns = [by_source(outcome.source_of), *(by_source(outcome.source_of[mask]) for mask in classes)]
    inserted, duplicate = by_source(of_reading[stands]), by_source(of_reading[~stands])
    refused = by_source(outcome.source_of[refused_message[refused_reading]])
    conflicts = by_source(of_reading[conflicting])
    thinned = by_source(np.repeat(outcome.source_of, outcome.thinned))
    too_old = by_source(of_reading[expired])
    made = []
    for place, source in enumerate(outcome.sources):
        readings = ReadingCounts(
            decoded=inserted[place] + duplicate[place] + refused[place],
            inserted=inserted[place],
            duplicate=duplicate[place],
            refused=refused[place],
            thinned=thinned[place],
            expired=too_old[place],
        )
        messages = MessageCounts(*(column[place] for column in message_columns))
        if not messages.balanced():
            raise AccountingError(f"{source.name}: {messages} do not add up: a message is in no class, or in two")
        times = rows.time[of_reading == place] if n_sources > 1 else rows.time
        bounds = (int(times.min()), int(times.max())) if len(times) else (None, None)
        made.append(Made(messages, readings, conflicts[place], *bounds))
    return made


def _classes(outcome: Outcome, stands: np.ndarray, refused: np.ndarray) -> tuple[np.ndarray, ...]:
    """Masks over the messages: accepted, partial, dead-lettered, duplicate, ignored."""
    n = len(outcome.source_of)
    standing = np.bincount(outcome.message[stands], minlength=n) > 0
    taken = np.bincount(outcome.message, minlength=n) > 0
    own = ~outcome.redelivered & ~outcome.ignored
    return (
        own & standing & ~refused,
        own & taken & refused,
        own & ~taken & refused,
        outcome.redelivered | (own & taken & ~standing & ~refused),
        outcome.ignored,
    )
