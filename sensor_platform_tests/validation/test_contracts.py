"""What a contract refuses, cell by cell, and that a verdict has nothing to do with what is judged beside it."""

from math import inf, nan
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor_platform.errors import DEAD_LETTER_CODES, STAGES
from sensor_platform.routes.file import parse_routes
from sensor_platform.routes.model import Routes
from sensor_platform.transformers.contract import Refusal
from sensor_platform.validation.contracts import RULES, breaches, with_contracts
from sensor_platform.validation.readings import validate
from sensor_platform_tests.validation.test_readings import NOON, readings_of

SECOND = 1_000_000
ROUTE = "routes:\n  - name: r\n    filter: 'p/{{work_unit}}/{{sensor}}'\n    format: json\n    contract: {}\n"


def routes(contract: str) -> Routes:
    return parse_routes(ROUTE.format(contract))


def metric(rule: str, name: str = "force") -> Routes:
    return routes(f"{{version: 1, metrics: {{'{name}': {rule}}}}}")


def judge(using: Routes, *changes: dict[str, Any], sources: list[int] | None = None) -> list[Refusal]:
    readings = readings_of(*({"route": "r"} | change for change in changes))
    return breaches(readings, using, np.array(sources or [0] * len(changes)))


def codes(refusals: list[Refusal]) -> list[tuple[int, str]]:
    return [(refusal.message, refusal.code) for refusal in refusals]


@pytest.mark.parametrize(
    ("contract", "change", "code", "detail"),
    [
        ("{version: 1, sensor: 'p\\d'}", {}, "contract_name", 'the sensor "press" does not match p\\d'),
        ("{version: 1, work_unit: 'l'}", {}, "contract_name", 'the work unit "line1" does not match l'),
        (
            "{version: 1, metrics: {a: }, other_metrics: refuse}",
            {},
            "contract_metric",
            'the contract has no metric "force"',
        ),
        (
            "{version: 1, metrics: {force: {type: integer}}}",
            {"value": 20.5},
            "contract_type",
            'the value 20.5 of "force" is not of type integer',
        ),
        (
            "{version: 1, metrics: {force: {minimum: 21}}}",
            {},
            "below_minimum",
            'the value 20.0 of "force" is below the contract\'s minimum 21.0',
        ),
        (
            "{version: 1, metrics: {'f*': {maximum: 19}}}",
            {},
            "above_maximum",
            'the value 20.0 of "force" is above the contract\'s maximum 19.0',
        ),
        (
            "{version: 1, metrics: {force: {one_of: [1, 2.5, on]}}}",
            {"value": nan, "text": "off"},
            "contract_value",
            'the value "off" of "force" is none of 1, 2.5, "on"',
        ),
    ],
)
def test_a_cell_that_breaks_the_contract_is_said_with_metric_and_value(
    contract: str, change: dict[str, Any], code: str, detail: str
) -> None:
    (refusal,) = judge(routes(contract), change | {"ordinal": 7})
    assert (refusal.message, refusal.ordinal, refusal.code, refusal.detail) == (0, 7, code, detail)


@pytest.mark.parametrize(
    ("kind", "accepted"),
    [
        ("number", ["2.5", "2", "1", "2**60", "nan", "inf"]),
        ("integer", ["2", "1", "2**60"]),
        ("boolean", ["1"]),
        ("text", ["text"]),
    ],
)
def test_each_type_accepts_its_own(kind: str, accepted: list[str]) -> None:
    values: dict[str, dict[str, Any]] = {
        "2.5": {"value": 2.5},
        "2": {"value": 2.0},
        "1": {"value": 1.0},
        "2**60": {"value": float(2**60), "text": str(2**60 + 1)},
        "nan": {"value": nan},
        "inf": {"value": inf},
        "text": {"value": nan, "text": "warm"},
    }
    refused = {refusal.message for refusal in judge(metric(f"{{type: {kind}}}"), *values.values())}
    assert [name for place, name in enumerate(values) if place not in refused] == accepted


@pytest.mark.parametrize(
    "change",
    [
        {"value": 10.0},
        {"value": 20.0},
        {"value": nan},
        {"metric": "other", "value": 99.0},
        {"metric": "other", "value": nan, "text": "warm"},
    ],
)
def test_a_reading_at_its_limit_and_a_metric_without_a_rule_pass(change: dict[str, Any]) -> None:
    assert judge(metric("{minimum: 10, maximum: 20}"), change) == []


def test_a_text_beside_a_limit_is_no_number() -> None:
    (refusal,) = judge(metric("{maximum: 5}"), {"value": nan, "text": "warm"})
    assert (refusal.code, refusal.detail) == ("contract_type", 'the value "warm" of "force" is not of type number')


def test_true_is_one_of_the_numbers() -> None:
    using = metric("{one_of: [true, 7]}")
    assert codes(judge(using, {"value": 1.0}, {"value": 7.0}, {"value": 0.0})) == [(2, "contract_value")]


def test_everything_wrong_with_a_reading_is_said_at_once_and_the_first_stage_names_it() -> None:
    using = routes("{version: 1, sensor: 'p\\d', metrics: {force: {type: integer, maximum: 5, one_of: [1]}}}")
    (refusal,) = judge(using, {"value": 20.5})
    assert (refusal.code, refusal.stage) == ("contract_name", "schema")
    assert refusal.detail == (
        'the sensor "press" does not match p\\d; the value 20.5 of "force" is not of type integer; '
        'the value 20.5 of "force" is above the contract\'s maximum 5.0; the value 20.5 of "force" is none of 1'
    )


UNKNOWN = {"unit": "pcs", "unit_problem": "unknown_unit"}


def test_a_reading_refused_by_contract_and_model_is_refused_once_and_the_others_pass() -> None:
    readings = readings_of({}, {"maximum": 19.0}, {"value": 5.0}, UNKNOWN).assign(route="r")
    validated = with_contracts(validate(readings), readings, metric("{minimum: 30}"), np.zeros(4, np.int64))
    assert validated.accepted.empty
    assert [(one.message, one.code) for one in validated.refusals] == [
        (1, "above_maximum"),
        (3, "unknown_unit"),
        (0, "below_minimum"),
        (2, "below_minimum"),
    ]
    assert validated.refusals[0].detail == (
        "the value 20.0 is above the sensor's maximum 19.0; the value 20.0 of \"force\" is below the contract's "
        "minimum 30.0"
    )


def test_without_contracts_the_model_alone_decides() -> None:
    readings = readings_of({}, {"time": 5}).assign(route="r")
    validated = validate(readings)
    using = parse_routes("routes: [{name: r, filter: 'p/{work_unit}/{sensor}', format: json}]")
    assert with_contracts(validated, readings, using, np.zeros(2, np.int64)) is validated


def test_a_required_metric_that_is_missing_has_a_letter_of_its_own_and_the_others_pass() -> None:
    using = routes(
        "{version: 1, metrics: {a: {required: true}, plain: , 'vib.*': {required: true}, force: {maximum: 9}}}"
    )
    changes = [
        {"metric": "a", "value": 1.0},
        {"metric": "force", "value": 1.0, "message": 0, "ordinal": 1},
        {"metric": "vib.x", "message": 2},
        {"metric": "a", "value": 99.0, "message": 2, "ordinal": 1},
        {"metric": "force", "message": 3, "ordinal": 4},
    ]
    refusals = judge(using, *changes, sources=[0] * 4)
    assert sorted((one.message, one.ordinal, one.code) for one in refusals) == [
        (0, -4, "contract_missing"),
        (3, -4, "contract_missing"),
        (3, -2, "contract_missing"),
        (3, 4, "above_maximum"),
    ]
    detail = {one.ordinal: one.detail for one in refusals if one.message == 3}
    assert detail[-4] == 'the contract requires the metric "vib.*", and the message has none'
    readings = readings_of(*changes).assign(route="r")
    validated = with_contracts(validate(readings), readings, using, np.zeros(4, np.int64))
    assert validated.accepted["metric"].tolist() == ["a", "force", "vib.x", "a"]


def series(*points: tuple[float, float], **more: Any) -> list[dict[str, Any]]:
    """Readings at (seconds, value)."""
    return [{"time": NOON + int(at * SECOND), "value": value, **more} for at, value in points]


def test_a_value_that_changes_faster_than_allowed_is_refused_with_what_it_is_compared_to() -> None:
    refusals = judge(metric("{max_rate_per_s: 5}"), *series((0, 20), (1, 25), (3, 35), (3.5, 38), (4, 35.5)))
    assert codes(refusals) == [(3, "contract_rate")]
    assert refusals[0].detail == 'the value 38.0 of "force" is more than 5 a second away from 35.0, 0.5 s before'


@pytest.mark.parametrize(
    ("points", "refused"),
    [
        ([(0, 20), (2, 22), (1, 90)], [1, 2]),  # by event time, not as received
        ([(0, 20.1), (1, 25.1)], []),  # 25.1 - 20.1 is a little more than 5
        ([(0, 20), (1, 24), (1, 26), (2, 30)], [2]),  # at one time each is compared with the time before
        ([(0, 20), (0, 90)], []),
        ([(0, nan), (1, 90), (2, inf), (3, 91)], []),
        ([(0, 90)], []),
    ],
)
def test_consecutive_readings_are_compared(points: list[tuple[float, float]], refused: list[int]) -> None:
    assert codes(judge(metric("{max_rate_per_s: 5}"), *series(*points))) == [(n, "contract_rate") for n in refused]


def test_series_and_micro_batches_are_apart() -> None:
    using = metric("{max_rate_per_s: 5}", "f*")
    changes = [*series((0, 0)), *series((1, 50), metric="flow"), *series((1, 50), sensor="s"), *series((1, 50))]
    assert codes(judge(using, *changes, sources=[0, 0, 0, 1])) == []
    assert codes(judge(using, *changes, sources=[0, 0, 0, 0])) == [(3, "contract_rate")]


def test_a_rate_is_not_taken_from_a_value_that_is_refused() -> None:
    using = metric("{max_rate_per_s: 5, maximum: 100}")
    assert codes(judge(using, *series((0, 20), (1, 500), (2, 22)))) == [(1, "above_maximum")]


def test_names_that_are_no_texts_are_left_to_the_model() -> None:
    using = routes("{version: 1, sensor: 'p.*', metrics: {force: {max_rate_per_s: 1}}}")
    assert judge(using, {"sensor": None}, {"metric": None}, {"sensor": 5}) == []


def test_the_rules_stand_in_the_order_of_the_stages() -> None:
    stages = [STAGES.index(DEAD_LETTER_CODES[code][0]) for code, _ in RULES.values()]
    assert stages == sorted(stages)


EVERY_RULE = routes(
    "{version: 1, sensor: '[ab]', metrics: {t: {required: true, minimum: 0, max_rate_per_s: 2}, n: {type: integer}},"
    " other_metrics: refuse}"
)
readings_strategy = st.fixed_dictionaries(
    {
        "sensor": st.sampled_from("abc"),
        "metric": st.sampled_from(["t", "t", "n", "x"]),
        "time": st.integers(0, 4).map(lambda second: NOON + second * SECOND),
        "value": st.sampled_from([-1.0, 0.0, 1.0, 2.5, 9.0, nan]),
    }
)
micro_batches = st.lists(
    st.lists(st.lists(readings_strategy, min_size=1, max_size=3), min_size=1, max_size=4), min_size=1, max_size=4
)


def group(*found: list[list[dict[str, Any]]]) -> tuple[pd.DataFrame, np.ndarray]:
    """The readings of micro-batches decoded together, and the micro-batch of each message."""
    messages = [message for micro_batch in found for message in micro_batch]
    rows = [
        one | {"message": place, "ordinal": ordinal, "route": "r"}
        for place, message in enumerate(messages)
        for ordinal, one in enumerate(message)
    ]
    return readings_of(*rows), np.repeat(np.arange(len(found)), [len(micro_batch) for micro_batch in found])


@settings(max_examples=25)  # of some 50 ms each
@given(micro_batches)
def test_a_verdict_does_not_depend_on_the_other_micro_batches_of_a_group(found: Any) -> None:
    together = breaches(group(*found)[0], EVERY_RULE, group(*found)[1])
    alone: list[Refusal] = []
    first = 0
    for micro_batch in found:
        refusals = breaches(group(micro_batch)[0], EVERY_RULE, group(micro_batch)[1])
        alone += [Refusal(one.message + first, one.ordinal, one.code, one.detail) for one in refusals]
        first += len(micro_batch)
    assert sorted(together, key=repr) == sorted(alone, key=repr)
    places = {(one.message, one.ordinal) for one in together}
    assert len(places) == len(together)
