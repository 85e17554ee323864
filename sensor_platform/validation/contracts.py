"""Readings judged by the contracts of their routes: each failing cell is found, and said with its metric and value.

A verdict is a pure function of the contract and of the micro-batch that the reading came in: neither the database nor
the other micro-batches of a group have a part in it. So a backfill and a re-run say what the first load said.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from sensor_platform.errors import STAGES
from sensor_platform.routes.contract import Contract, MetricRule
from sensor_platform.routes.model import Routes
from sensor_platform.transformers.contract import FIRST_MISSING, Refusal
from sensor_platform.transformers.keeping import GREATEST_ORDINAL
from sensor_platform.transformers.numbers import shown
from sensor_platform.validation.contract_schema import cells_of, failures, limits_of, rule_places, schema_of
from sensor_platform.validation.rates import excess
from sensor_platform.validation.readings import Row, Validated

#: Column of the schema -> code of its failures, and the sentence for one. In the order of the stages.
_Sentence = Callable[[Row, Contract], str]
RULES: dict[str, tuple[str, _Sentence]] = {
    "work_unit": ("contract_name", lambda row, contract: _say_name("work_unit", row, contract.work_unit)),
    "sensor": ("contract_name", lambda row, contract: _say_name("sensor", row, contract.sensor)),
    "named": ("contract_metric", lambda row, _: f"the contract has no metric {shown(row['metric'])}"),
    "typed": ("contract_type", lambda row, contract: f"{_cell(row)} is not of type {_rule(row, contract).kind}"),
    "below": (
        "below_minimum",
        lambda row, contract: f"{_cell(row)} is below the contract's minimum {_rule(row, contract).minimum}",
    ),
    "above": (
        "above_maximum",
        lambda row, contract: f"{_cell(row)} is above the contract's maximum {_rule(row, contract).maximum}",
    ),
    "known": (
        "contract_value",
        lambda row, contract: f"{_cell(row)} is none of {', '.join(map(shown, _rule(row, contract).one_of or ()))}",
    ),
}


def with_contracts(validated: Validated, readings: pd.DataFrame, routes: Routes, source_of: np.ndarray) -> Validated:
    """`validated` without what breaks the contract of its route; one refusal tells all that is wrong with a reading.

    readings: those that `validated` was made of, as their route yields them: READING_COLUMNS and `route`.
    source_of: by message, a number for the micro-batch that it came in.
    """
    found = breaches(readings, routes, source_of)
    if not found:
        return validated
    accepted = _keys(validated.accepted["message"].to_numpy(), validated.accepted["ordinal"].to_numpy())
    places = np.array([(one.message, one.ordinal) for one in found if one.ordinal >= 0], np.int64).reshape(-1, 2)
    kept = ~np.isin(accepted, _keys(places[:, 0], places[:, 1]))
    return Validated(validated.accepted[kept].reset_index(drop=True), joined([*validated.refusals, *found]))


def _keys(message: np.ndarray, ordinal: np.ndarray) -> np.ndarray:
    keys: np.ndarray = message.astype(np.int64) * (GREATEST_ORDINAL + 1) + ordinal
    return keys


def breaches(readings: pd.DataFrame, routes: Routes, source_of: np.ndarray) -> list[Refusal]:
    """A refusal for each reading that breaks the contract of its route, and for each required metric not there."""
    found: list[Refusal] = []
    if all(route.promises is None for route in routes):
        return found
    for route, part in readings.groupby("route", sort=False):
        contract = routes[str(route)].promises
        if contract is not None:
            found += _of_route(part.reset_index(drop=True), contract, source_of)
    return found


def joined(refusals: list[Refusal]) -> list[Refusal]:
    """One refusal a place, with the code of the first stage and every detail."""
    by_place: defaultdict[tuple[int, int], list[Refusal]] = defaultdict(list)
    for refusal in refusals:
        by_place[refusal.message, refusal.ordinal].append(refusal)
    return [same[0] if len(same) == 1 else _one(same) for same in by_place.values()]


def _one(refusals: list[Refusal]) -> Refusal:
    ordered = sorted(refusals, key=lambda refusal: STAGES.index(refusal.stage))
    detail = "; ".join(refusal.detail for refusal in ordered)
    return Refusal(ordered[0].message, ordered[0].ordinal, ordered[0].code, detail)


def _of_route(readings: pd.DataFrame, contract: Contract, source_of: np.ndarray) -> list[Refusal]:
    places = rule_places(readings, contract)
    cells = cells_of(readings, contract, places)
    failed = failures(schema_of(contract.work_unit, contract.sensor, tuple(cells)), cells)
    refused = np.unique(np.concatenate([np.empty(0, np.int64), *failed.values()]))
    refusals = list(_refusals(readings.iloc[refused].assign(rule=places[refused]), failed, contract))
    passed = np.ones(len(readings), dtype=bool)
    passed[refused] = False
    refusals += _too_fast(readings[passed].reset_index(drop=True), contract, places[passed], source_of)
    return joined([*refusals, *_missing(readings, contract, places)])


def _refusals(refused: pd.DataFrame, failed: dict[str, np.ndarray], contract: Contract) -> Iterator[Refusal]:
    """One a failing cell; `refused` are the readings with one, under their places."""
    rows = dict(zip(refused.index.tolist(), refused.to_dict("records"), strict=True)) if failed else {}
    for column, (code, sentence) in RULES.items():
        for place in failed[column].tolist() if column in failed else ():
            yield Refusal(rows[place]["message"], rows[place]["ordinal"], code, sentence(rows[place], contract))


def _too_fast(
    readings: pd.DataFrame, contract: Contract, places: np.ndarray, source_of: np.ndarray
) -> Iterator[Refusal]:
    """Of those readings that break no other rule; so what a rate is taken from is itself of the contract."""
    limit = limits_of([rule.max_rate_per_s for rule in contract.metrics.values()])[places]
    if np.isnan(limit).all():
        return
    over, before = excess(readings, limit, source_of)
    failed = failures(schema_of(None, None, ("excess",)), {"excess": pd.Series(over)}).get("excess")
    if failed is None:
        return
    earlier = readings.iloc[before[failed]]
    compared = {"limit": limit[failed], "then": earlier["value"].to_numpy(), "at": earlier["time"].to_numpy()}
    for row in readings.iloc[failed].assign(**compared).to_dict("records"):
        seconds = (row["time"] - row["at"]) / 1_000_000
        detail = f"{_cell(row)} is more than {row['limit']:g} a second away from {row['then']}, {seconds:g} s before"
        yield Refusal(row["message"], row["ordinal"], "contract_rate", detail)


def _missing(readings: pd.DataFrame, contract: Contract, places: np.ndarray) -> Iterator[Refusal]:
    """What messages lack that have other readings; one that yields nothing is refused for that."""
    message = readings["message"].to_numpy(np.int64)
    for place, name in contract.required.items():
        for lacking in np.setdiff1d(message, message[places == place]).tolist():
            detail = f"the contract requires the metric {shown(name)}, and the message has none"
            yield Refusal(lacking, FIRST_MISSING - place, "contract_missing", detail)


def _rule(row: Row, contract: Contract) -> MetricRule:
    return list(contract.metrics.values())[row["rule"]]


def _cell(row: Row) -> str:
    value = shown(row["text"]) if isinstance(row["text"], str) else row["value"]
    return f"the value {value} of {shown(row['metric'])}"


def _say_name(column: str, row: Row, pattern: str | None) -> str:
    return f"the {column.replace('_', ' ')} {shown(row[column])} does not match {pattern}"
