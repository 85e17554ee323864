from math import nan
from typing import Any

import pandas as pd
import pytest

from sensor_platform.errors import DEAD_LETTER_CODES, STAGES
from sensor_platform.transformers.contract import READING_COLUMNS
from sensor_platform.transformers.keeping import DTYPES
from sensor_platform.validation.model import Reading
from sensor_platform.validation.readings import RULES, Validated, validate

NOON = 1_748_779_200_000_000
FIVE_MINUTES = 300_000_000
GOOD: dict[str, Any] = {
    "ordinal": 0,
    "work_unit": "line1",
    "sensor": "press",
    "metric": "force",
    "time": NOON,
    "timed_by_receipt": False,
    "value": 20.0,
    "text": None,
    "unit": "kN",
    "quality": 0,
    "received_at": NOON,
    "series_unit": "kN",
    "unit_problem": None,
    "minimum": nan,
    "maximum": nan,
    "route": "kept",
}


def readings_of(*changes: dict[str, Any]) -> pd.DataFrame:
    rows = [GOOD | {"message": place} | change for place, change in enumerate(changes)]
    dtypes = DTYPES | {
        "received_at": "int64",
        "series_unit": object,
        "unit_problem": object,
        "minimum": float,
        "maximum": float,
    }
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=dtypes.get(name)) for name in rows[0]})


def verdict(validated: Validated) -> list[tuple[int, str]]:
    return [(refusal.message, refusal.code) for refusal in validated.refusals]


@pytest.mark.parametrize(
    ("change", "code", "detail"),
    [
        ({"work_unit": ""}, "invalid_reading", 'the work_unit "" is not a text of 1 to 500 characters'),
        ({"sensor": None}, "invalid_reading", "the sensor null is not a text of 1 to 500 characters"),
        ({"metric": "m" * 501}, "invalid_reading", "the metric"),
        ({"unit": 5}, "invalid_reading", "the unit 5 is not a text"),
        ({"quality": 3}, "invalid_reading", "the quality 3 is not 0, 1 or 2"),
        (
            {"unit": "pcs", "unit_problem": "unknown_unit"},
            "unknown_unit",
            'the unit "pcs" is not "kN", the unit of the series, and one of the two is not known',
        ),
        (
            {"unit": "V", "unit_problem": "incompatible_unit"},
            "incompatible_unit",
            'the unit "V" does not convert to "kN", the unit of the series',
        ),
        ({"minimum": 20.5}, "below_minimum", "the value 20.0 is below the sensor's minimum 20.5"),
        ({"maximum": 19.5}, "above_maximum", "the value 20.0 is above the sensor's maximum 19.5"),
        (
            {"time": 978_307_199_999_999},
            "before_valid_time",
            "the time 2000-12-31T23:59:59.999999Z is before 2001-01-01",
        ),
        (
            {"time": NOON + FIVE_MINUTES + 1},
            "in_the_future",
            "the time 2025-06-01T12:05:00.000001Z is more than 300 s after the message was received at 2025-06-01T12",
        ),
    ],
)
def test_a_bad_reading_is_refused_by_name_and_its_neighbours_pass(
    change: dict[str, Any], code: str, detail: str
) -> None:
    validated = validate(readings_of({}, change, {}))
    assert verdict(validated) == [(1, code)]
    assert validated.refusals[0].detail.startswith(detail)
    assert validated.accepted["message"].tolist() == [0, 2]
    assert validated.accepted["route"].tolist() == ["kept", "kept"]


@pytest.mark.parametrize(
    "change",
    [
        {"minimum": 20.0, "maximum": 20.0},
        {"value": nan, "minimum": 0.0, "maximum": 1.0},
        {"value": nan, "text": "running"},
        {"unit": None},
        {"series_unit": None},
        {"time": 978_307_200_000_000},
        {"time": NOON + FIVE_MINUTES},
        {"metric": "m" * 500},
        {"quality": 2},
    ],
)
def test_a_reading_at_its_limit_passes(change: dict[str, Any]) -> None:
    validated = validate(readings_of(change))
    assert (verdict(validated), len(validated.accepted)) == ([], 1)


def test_one_refusal_tells_all_that_is_wrong_and_has_the_code_of_the_first_stage() -> None:
    bad = {"time": 5, "maximum": 1.0, "unit": "bar", "unit_problem": "incompatible_unit", "sensor": "", "ordinal": 7}
    (refusal,) = validate(readings_of(bad)).refusals
    assert (refusal.ordinal, refusal.code, refusal.stage) == (7, "invalid_reading", "schema")
    assert refusal.detail == (
        'the sensor "" is not a text of 1 to 500 characters; the unit "bar" does not convert to "kN", '
        "the unit of the series; "
        "the value 20.0 is above the sensor's maximum 1.0; the time 1970-01-01T00:00:00.000005Z is before 2001-01-01"
    )


def test_readings_with_any_index_are_judged_by_their_place() -> None:
    readings = readings_of({}, {"time": 5}, {}).set_index(pd.Index([3, 3, 3]))
    validated = validate(readings)
    assert verdict(validated) == [(1, "before_valid_time")]
    assert validated.accepted["message"].tolist() == [0, 2]


def test_no_readings_are_all_accepted() -> None:
    validated = validate(readings_of({}).iloc[:0])
    assert (len(validated.accepted), validated.refusals) == (0, [])


def test_columns_of_another_type_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match="readings are not of the contract: time"):
        validate(readings_of({}).astype({"time": float}))


def test_a_flood_of_bad_readings_is_refused_to_the_last_one() -> None:
    readings = pd.concat([readings_of({"time": 5})] * 5000, ignore_index=True)
    readings["message"] = range(5000)
    validated = validate(readings)
    assert [refusal.message for refusal in validated.refusals] == list(range(5000))
    assert validated.accepted.empty


def test_every_rule_has_a_code_and_they_stand_in_the_order_of_the_stages() -> None:
    stages = [STAGES.index(DEAD_LETTER_CODES[rule.code][0]) for rule in RULES.values()]
    assert stages == sorted(stages)


def test_the_model_describes_each_column_of_a_reading() -> None:
    columns = Reading.to_schema().columns
    assert tuple(columns) == READING_COLUMNS
    assert all(column.description for column in columns.values())
