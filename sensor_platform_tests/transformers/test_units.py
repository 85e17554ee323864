"""What devices call units, what converts to what, and that a value that was converted can be told as it was sent."""

import subprocess
import sys
from math import inf, nan

import numpy as np
import pint
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensor_platform.transformers.unit_spellings import OWN_UNITS, by_spelling
from sensor_platform.transformers.units import INCOMPATIBLE_UNIT, Conversion, conversion, expression, original


def converted(value: float, unit: str, wanted: str) -> float:
    how = conversion(unit, wanted)
    assert isinstance(how, Conversion), how
    return float(how.column(np.array([value]))[0])


@pytest.mark.parametrize(
    ("value", "unit", "wanted", "expected"),
    [
        (212.0, "°F", "°C", 100.0),
        (-40.0, "degF", "C", -40.0),
        (21.5, "℃", "K", 294.65),
        (294.65, "K", "°C", 21.5),
        (0.0, "Celsius", "degF", 32.0),
        (1.5, "°C/min", "K/min", 1.5),
        (1013.25, "hPa", "bar", 1.01325),
        (1013.0, "mbar", "hPa", 1013.0),
        (100.0, "psi", "bar", 6.894757293168361),
        (6.0, "m³/h", "l/min", 100.0),
        (6.0, "m3/h", "L/min", 100.0),
        (2.0, "µg/m³", "mg/m3", 0.002),
        (2.0, "ug/m3", "μg/m^3", 2.0),
        (250.0, "ppm", "%", 0.025),
        (1.0, "kWh", "MJ", 3.6),
        (50.0, "1/min", "Hz", 50 / 60),
        (3000.0, "U/min", "rpm", 3000.0),
        (36.0, "km/h", "m s-1", 10.0),
        (5.0, "kg·m/s²", "N", 5.0),
        (4.0, "kVA", "VA", 4000.0),
        (4.0, "kvar", "var", 4000.0),
        (-70.0, "dBm", "dbm", -70.0),
        (55.0, "%RH", "%", 55.0),
        (2.0, "kilowatts", "W", 2000.0),
    ],
)
def test_a_unit_converts(value: float, unit: str, wanted: str, expected: float) -> None:
    assert converted(value, unit, wanted) == expected


@pytest.mark.parametrize(
    ("unit", "wanted"),
    [
        ("°C", "kPa"),
        ("VA", "W"),  # apparent, active and reactive power have one dimension and are not one thing
        ("var", "W"),
        ("rpm", "Hz"),  # pint says 1 rpm = 0.105 Hz
        ("°", "%"),
        ("dBm", "W"),  # not a straight line
        ("Nm3/h", "m3/h"),
        ("F", "uF"),
        ("pH", "%"),
        ("delta_degC", "°C"),
    ],
)
def test_another_kind_is_incompatible(unit: str, wanted: str) -> None:
    assert conversion(unit, wanted) == "incompatible_unit"
    assert conversion(wanted, unit) == "incompatible_unit"


@pytest.mark.parametrize(
    "unit",
    ["pcs", "Stk", "cell", "", "/", "*", "m//s", "9**9**9**9", "(kg)", "m" * 1000, "m\n/", "kW kW " * 9, "°"[:0]],
)
def test_what_is_not_in_the_table_is_unknown_and_never_evaluated(unit: str) -> None:
    assert conversion(unit, "m") == "unknown_unit"
    assert conversion("m", unit) == "unknown_unit"


@pytest.mark.parametrize(
    ("unit", "wanted"),
    [("yottameter9*yottameter9", "meter9*meter9"), ("yoctometer9*yoctometer6/m9/m5", "m")],
)
def test_units_that_no_float_stands_between_do_not_convert(unit: str, wanted: str) -> None:
    assert conversion(unit, wanted) == INCOMPATIBLE_UNIT
    assert conversion(wanted, unit) == INCOMPATIBLE_UNIT


def test_the_same_text_is_the_same_unit_whatever_it_is() -> None:
    assert converted(7.0, "pcs", "pcs") == 7.0


def test_pint_knows_what_each_spelling_stands_for() -> None:
    registry = pint.UnitRegistry()
    for definition in OWN_UNITS:
        registry.define(definition)
    meanings = {spelling: str(registry.parse_units(meaning)) for spelling, meaning in by_spelling().items()}
    assert all(expression(spelling) is not None for spelling in meanings)
    asked = ["C", "hPa", "Nm", "cfm", "kvarh", "mm", "h", "μS", "pF"]
    assert [meanings[spelling] for spelling in asked] == [
        "degree_Celsius",
        "hectopascal",
        "meter * newton",
        "foot ** 3 / minute",
        "hour * kilovoltampere_reactive",
        "millimeter",
        "hour",
        "microsiemens",
        "picofarad",
    ]


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_what_is_no_finite_number_stays_so(value: float) -> None:
    assert str(converted(value, "°F", "°C")) == str(value)


PAIRS = [("°F", "°C"), ("K", "°C"), ("psi", "bar"), ("inHg", "mbar"), ("kn", "m/s"), ("rpm", "rad/s"), ("mbar", "bar")]


@settings(deadline=None)
@given(st.integers(-(10**9), 10**9), st.integers(0, 6), st.sampled_from(PAIRS))
@example(681, 1, ("°F", "°C"))
@example(1, 1, ("°C", "K"))
def test_the_value_that_was_sent_can_be_told_again(digits: int, decimals: int, units: tuple[str, str]) -> None:
    sent = float(f"{digits}e-{decimals}")
    stored = converted(sent, *units)
    assert converted(float(original(stored, *units)["value"]), *units) == stored
    if abs(sent) >= 1e-3:
        assert original(stored, *units)["value"] == pytest.approx(sent, rel=1e-9)


def test_who_only_starts_does_not_pay_for_pint() -> None:
    code = (
        "import sys; import sensor_platform.cli, sensor_platform.mqtt.collector, sensor_platform.staging.store;"
        "import sensor_platform.routes.file, sensor_platform.pipeline.process;"
        "from sensor_platform.transformers.units import conversion; conversion('pcs', 'pcs');"
        "sys.exit('pint' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
