"""Readings to those that may be loaded and those that are refused, each with the detail of everything wrong with it.

Rejects are data: nothing raises for a bad reading, nor is pandera's `drop_invalid_rows` used, which drops in silence.
A validate costs milliseconds however few the rows, so it is called once a group.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from sensor_platform.transformers.contract import READING_COLUMNS, Refusal
from sensor_platform.transformers.judge import MAX_NAME_CHARACTERS
from sensor_platform.transformers.numbers import shown
from sensor_platform.transformers.times import iso
from sensor_platform.transformers.units import INCOMPATIBLE_UNIT, UNKNOWN_UNIT, unit_sentence
from sensor_platform.validation.model import MAX_AHEAD_US, ReadingInContext

Row = dict[Any, Any]
#: Columns of the model, which are codes that `unit_problem` may have.
UNIT_PROBLEMS = (UNKNOWN_UNIT, INCOMPATIBLE_UNIT)


@dataclass(frozen=True, slots=True)
class Validated:
    """The readings that passed, with all their columns, and a refusal for each of the others."""

    accepted: pd.DataFrame
    refusals: list[Refusal]


@dataclass(frozen=True, slots=True)
class _Rule:
    code: str
    sentence: Callable[[Row], str]


def _say_name(column: str, row: Row) -> str:
    return f"the {column} {shown(row[column])} is not a text of 1 to {MAX_NAME_CHARACTERS} characters"


#: (column, check) of the model -> what a failure is called, and how it is said. In the order of the stages.
RULES: dict[tuple[str, str], _Rule] = {
    **{
        (name, "is_name"): _Rule("invalid_reading", partial(_say_name, name))
        for name in ("work_unit", "sensor", "metric")
    },
    ("unit", "is_text"): _Rule("invalid_reading", lambda row: f"the unit {shown(row['unit'])} is not a text"),
    ("quality", "is_quality"): _Rule("invalid_reading", lambda row: f"the quality {row['quality']} is not 0, 1 or 2"),
    **{
        (code, "unit"): _Rule(
            code, lambda row: unit_sentence(row["unit_problem"], row["unit"], row["series_unit"], "series")
        )
        for code in UNIT_PROBLEMS
    },
    ("below", "outside"): _Rule(
        "below_minimum", lambda row: f"the value {row['value']} is below the sensor's minimum {row['minimum']}"
    ),
    ("above", "outside"): _Rule(
        "above_maximum", lambda row: f"the value {row['value']} is above the sensor's maximum {row['maximum']}"
    ),
    ("time", "before_valid_time"): _Rule(
        "before_valid_time", lambda row: f"the time {iso(row['time'])} is before 2001-01-01"
    ),
    ("ahead_us", "in_the_future"): _Rule(
        "in_the_future",
        lambda row: (
            f"the time {iso(row['time'])} is more than {MAX_AHEAD_US // 1_000_000} s after the message was"
            f" received at {iso(row['received_at'])}"
        ),
    ),
}


def validate(readings: pd.DataFrame) -> Validated:
    """Judges `readings`: READING_COLUMNS beside received_at (int64 us), series_unit, unit_problem (a code of
    UNIT_PROBLEMS or None), minimum and maximum (NaN: none).

    The verdict is the same whenever it is asked for: the present clock has no part in it.
    """
    readings = readings.reset_index(drop=True)
    if readings.empty:
        return Validated(readings, [])
    try:
        ReadingInContext.validate(judged(readings), lazy=True, inplace=True)
    except pa.errors.SchemaErrors as err:
        return _split(readings, err.failure_cases)
    return Validated(readings, [])


def judged(readings: pd.DataFrame) -> pd.DataFrame:
    """The columns of the model: the reading's own, and what it is beside its sensor, series and message."""
    context = {
        "ahead_us": readings["time"] - readings["received_at"],
        "below": readings["minimum"].astype(np.float64) - readings["value"],
        "above": readings["value"] - readings["maximum"].astype(np.float64),
        **{code: readings["unit_problem"].eq(code) for code in UNIT_PROBLEMS},
    }
    return readings[list(READING_COLUMNS)].assign(**context)


def _split(readings: pd.DataFrame, cases: pd.DataFrame) -> Validated:
    structural = cases[cases["index"].isna()]
    if len(structural):
        problem = structural.iloc[0]
        raise TypeError(f"readings are not of the contract: {problem['column']}: {problem['check']}")
    failed = {key: rows.to_numpy(dtype=np.int64) for key, rows in cases.groupby(["column", "check"])["index"]}
    refused = np.unique(np.concatenate(list(failed.values())))
    reasons: dict[int, list[tuple[str, str]]] = {row: [] for row in refused.tolist()}
    rows = dict(zip(reasons, readings.iloc[refused].to_dict("records"), strict=True))
    for key, rule in RULES.items():
        for row in np.unique(failed.get(key, np.empty(0, dtype=np.int64))).tolist():
            reasons[row].append((rule.code, rule.sentence(rows[row])))
    refusals = [_refusal(rows[row], found) for row, found in reasons.items()]
    kept = np.ones(len(readings), dtype=bool)
    kept[refused] = False
    return Validated(readings[kept].reset_index(drop=True), refusals)


def _refusal(row: Row, reasons: list[tuple[str, str]]) -> Refusal:
    detail = "; ".join(sentence for _, sentence in reasons)
    return Refusal(row["message"], row["ordinal"], reasons[0][0], detail)
