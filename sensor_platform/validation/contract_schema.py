"""The pandera schema of a contract, and the columns that it validates.

Limits are validated as differences, so that one schema serves however many metrics a contract has: a validate costs
milliseconds a column.
"""

from functools import lru_cache
from re import compile as regex

import numpy as np
import pandas as pd
import pandera.pandas as pa

from sensor_platform.routes.contract import Contract, MetricRule


def rule_places(readings: pd.DataFrame, contract: Contract) -> np.ndarray:
    """By reading, the place of its metric's rule in the contract; -1: none."""
    codes, metrics = pd.factorize(readings["metric"])
    # The last entry is for code -1, a metric that is None: what reads it refuses it.
    rules = [contract.place_of(metric) if isinstance(metric, str) else -1 for metric in metrics]
    return np.array([*rules, -1], np.int64)[codes]


def cells_of(readings: pd.DataFrame, contract: Contract, places: np.ndarray) -> dict[str, pd.Series]:
    """The columns that the contract asks something of. Limits as differences: every metric has its own."""
    rules = list(contract.metrics.values())
    value = readings["value"].to_numpy(np.float64)
    cells: dict[str, pd.Series] = {}
    for name in ("work_unit", "sensor"):
        if getattr(contract, name) is not None:
            cells[name] = readings[name]
    if contract.other_metrics == "refuse":
        cells["named"] = pd.Series(places >= 0)
    if any(rule.kind for rule in rules):
        cells["typed"] = pd.Series(_typed(readings, [rule.kind for rule in rules], places))
    if any(rule.minimum is not None for rule in rules):
        cells["below"] = pd.Series(limits_of([rule.minimum for rule in rules])[places] - value)
    if any(rule.maximum is not None for rule in rules):
        cells["above"] = pd.Series(value - limits_of([rule.maximum for rule in rules])[places])
    if any(rule.one_of is not None for rule in rules):
        cells["known"] = pd.Series(_one_of(readings, rules, places))
    return cells


def limits_of(limits: list[float | None]) -> np.ndarray:
    """NaN where there is none, and once more at the end, for readings without a rule."""
    return np.array([*(np.nan if limit is None else limit for limit in limits), np.nan])


def _is_text(readings: pd.DataFrame) -> np.ndarray:
    """A text alone: one beside a number is its exact digits."""
    return np.asarray(readings["value"].isna() & readings["text"].notna(), dtype=bool)


def _typed(readings: pd.DataFrame, kinds: list[str | None], places: np.ndarray) -> np.ndarray:
    value, is_text = readings["value"].to_numpy(np.float64), _is_text(readings)
    of_type = {
        "number": ~is_text,
        "integer": np.isfinite(value) & (np.floor(value) == value),
        "boolean": np.isin(value, (0.0, 1.0)),
        "text": is_text,
    }
    typed = np.ones(len(readings), dtype=bool)
    for kind, ok in of_type.items():
        asked = np.array([*(one == kind for one in kinds), False], dtype=bool)[places]
        typed[asked] = ok[asked]
    return typed


def _one_of(readings: pd.DataFrame, rules: list[MetricRule], places: np.ndarray) -> np.ndarray:
    value, text, is_text = readings["value"].to_numpy(np.float64), readings["text"], _is_text(readings)
    known = np.ones(len(readings), dtype=bool)
    for place, rule in enumerate(rules):
        if rule.one_of is not None:
            own = places == place
            among = np.where(is_text[own], text[own].isin(rule.texts), np.isin(value[own], rule.numbers))
            known[own] = among.astype(bool)
    return known


@lru_cache(maxsize=256)
def schema_of(work_unit: str | None, sensor: str | None, columns: tuple[str, ...]) -> pa.DataFrameSchema:
    """The schema of a contract; `columns` are those that it asks something of."""
    every = {
        "work_unit": pa.Column(object, _matches(work_unit), nullable=True),
        "sensor": pa.Column(object, _matches(sensor), nullable=True),
        "named": pa.Column(bool, pa.Check.eq(True)),
        "typed": pa.Column(bool, pa.Check.eq(True)),
        "below": pa.Column(float, pa.Check.le(0), nullable=True),
        "above": pa.Column(float, pa.Check.le(0), nullable=True),
        "known": pa.Column(bool, pa.Check.eq(True)),
        "excess": pa.Column(float, pa.Check.le(0), nullable=True),
    }
    return pa.DataFrameSchema({name: every[name] for name in columns})


def _matches(pattern: str | None) -> pa.Check:
    """Whole names; each different one is tried once. What is no text is refused by the model of a reading."""
    whole = regex(pattern or "").fullmatch

    def check(column: pd.Series) -> pd.Series:
        verdict = {name: not isinstance(name, str) or whole(name) is not None for name in column.unique()}
        return column.map(verdict).astype(bool)

    return pa.Check(check, name="matches")


def failures(schema: pa.DataFrameSchema, cells: dict[str, pd.Series]) -> dict[str, np.ndarray]:
    """By column, the places of the cells that fail."""
    if not cells:
        return {}
    try:
        schema.validate(pd.DataFrame(cells), lazy=True)
    except pa.errors.SchemaErrors as err:
        cases = err.failure_cases
        return {str(name): np.unique(found.to_numpy(np.int64)) for name, found in cases.groupby("column")["index"]}
    return {}
