from math import inf, isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor_platform.transformers.numbers import OutOfRange, is_storable, read_number, scaled, shown


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1), (" -12\n", -12), ("+7", 7), ("007", 7), ("-0", 0), ("1.5", 1.5), (".5", 0.5), ("5.", 5.0),
        ("1e3", 1000.0), ("-2.5E-1", -0.25), ("18446744073709551615", 2**64 - 1), ("-9223372036854775808", -(2**63)),
        ("inf", inf), ("-Infinity", -inf), ("0" * 5000 + "1", 1),
    ],
)  # fmt: skip
def test_a_number_is_what_a_person_writes_as_one(text: str, number: float) -> None:
    assert read_number(text) == number
    assert type(read_number(text)) is type(number)


@pytest.mark.parametrize(
    "text", ["", " ", "-", ".", "1_000", "0x10", "1,5", "1e", "e5", "one", "١٢", "1 2", "\x001", "infinit"]
)
def test_what_python_alone_takes_for_a_number_is_none(text: str) -> None:
    assert read_number(text) is None


@pytest.mark.parametrize(
    "text", ["18446744073709551616", "-9223372036854775809", "1e400", "-1e400", "9" * 5000, str(2**70)]
)
def test_a_number_that_does_not_fit_keeps_how_it_was_written(text: str) -> None:
    number = read_number(text)
    assert isinstance(number, OutOfRange)
    assert number == text


def test_nan_is_read_as_such() -> None:
    number = read_number("NaN")
    assert isinstance(number, float)
    assert isnan(number)


@given(st.text(), st.text())
def test_what_is_shown_of_anything_can_be_stored_and_is_short(text: str, prefix: str) -> None:
    for value in (text, OutOfRange(text), [text], {text: text}, f"{prefix}\0\ud800" * 50):
        assert is_storable(shown(value))
        assert len(shown(value)) < 1000


@pytest.mark.parametrize(
    ("text", "storable"), [("°C", True), ("a\0", False), ("\ud83d", False), ("😀", True), ("", True)]
)
def test_postgresql_holds_no_u0000_and_no_lone_surrogate(text: str, storable: bool) -> None:
    assert is_storable(text) is storable


@pytest.mark.parametrize(
    ("number", "scale", "offset", "expected"),
    [
        (1013, 0.001, 0, 1.013),
        (3, 0.1, 0, 0.3),
        (-7, -0.01, 0, 0.07),
        (5, 2, 1, 11),
        (10, 0.3, 0, 3.0),
        (1, 1e-300, 0, 1e-300),
    ],
)
def test_a_scale_of_a_whole_fraction_divides(number: int, scale: float, offset: float, expected: float) -> None:
    assert scaled(number, scale, offset) == expected
