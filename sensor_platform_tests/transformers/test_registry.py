import importlib.util
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import sensor_platform
from sensor_platform.routes.model import Route
from sensor_platform.transformers import registry
from sensor_platform.transformers.contract import Decoded, PayloadColumn, Quality, Refusal
from sensor_platform.transformers.keeping import no_readings
from sensor_platform.transformers.registry import transformer
from sensor_platform_tests.transformers.decoding import RECEIVED_AT, codes, decode_payloads


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    # What a test registers must not stay, nor what another test left be seen.
    monkeypatch.setattr(registry, "_registered", {name: registry.get(name) for name in registry.BUILT_IN})


def test_the_package_offers_the_decorator() -> None:
    assert sensor_platform.transformer is transformer
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sensor_platform.nothing  # noqa: B018


def test_a_function_of_one_payload_yields_dicts_like_the_default_route() -> None:
    @transformer("press-log", version="7")
    def press_log(payload: bytes, topic: str, received_at: datetime) -> Iterator[dict[str, Any]]:
        assert (topic, received_at) == ("factory/line1/sensors/press/data", RECEIVED_AT)
        force, at = payload.split(b"@")
        yield {"metric": "force", "value": float(force), "unit": "kN", "timestamp": int(at)}
        yield {"metrics": {"stroke": 2}, "time": datetime(2025, 6, 1, tzinfo=UTC), "sensor": "ram", "quality": "bad"}
        yield {"work_unit": "line2", "speed": 3, "quality": Quality.UNCERTAIN}

    decoded = decode_payloads(b"12.5@1748779200", format_="press-log")
    assert decoded.readings[["work_unit", "sensor", "metric", "value", "unit", "quality"]].values.tolist() == [
        ["line1", "press", "force", 12.5, "kN", 0],
        ["line1", "ram", "stroke", 2.0, None, 2],
        ["line2", "press", "speed", 3.0, None, 1],
    ]
    assert decoded.readings["time"].tolist() == [1_748_779_200_000_000, 1_748_736_000_000_000, 1_767_225_600_000_000]
    assert decoded.transformer_versions == {"press-log": "7"}


def test_a_payload_that_a_function_raises_for_is_refused_alone_with_the_place() -> None:
    @transformer("fragile")
    def fragile(payload: bytes, topic: str, received_at: datetime) -> Iterable[dict[str, Any]]:
        return [{"value": int(payload)}]

    decoded = decode_payloads(b"1", b"\xff", b"3", format_="fragile")
    assert decoded.readings["value"].tolist() == [1.0, 3.0]
    assert codes(decoded) == [(1, -1, "transformer_failed")]
    assert decoded.refusals[0].detail.startswith("ValueError: \"invalid literal for int() with base 10: b'\\xff'")
    assert "test_registry.py:" in decoded.refusals[0].detail
    assert "in fragile" in decoded.refusals[0].detail


def test_what_a_function_yields_wrongly_is_refused_reading_by_reading() -> None:
    @transformer("sloppy")
    def sloppy(payload: bytes, topic: str, received_at: datetime) -> Iterable[Any]:
        return [5, {"value": object()}, {"value": 1, "sensor": 7}, {"value": 1, "work_unit": "\0"}, {"value": 2}]

    decoded = decode_payloads(b"x", format_="sloppy")
    assert codes(decoded) == [
        (0, 0, "not_an_object"),
        (0, 1, "value_not_number"),
        (0, 2, "invalid_reading"),
        (0, 3, "text_not_storable"),
    ]
    assert decoded.readings["ordinal"].tolist() == [4]


def reading(message: int, ordinal: int = 0, **changed: Any) -> dict[str, Any]:
    row = {
        "message": message,
        "ordinal": ordinal,
        "work_unit": "line1",
        "sensor": "press",
        "metric": "m",
        "time": 1_748_779_200_000_000,
        "timed_by_receipt": False,
        "value": 1,
        "text": None,
        "unit": None,
        "quality": 0,
    }
    return row | changed


def test_a_group_that_fails_is_halved_until_the_guilty_message_stands_alone() -> None:
    sizes: list[int] = []

    @transformer("columns", columns=True)
    def columns(column: PayloadColumn, route: Route) -> Decoded:
        sizes.append(len(column))
        if b"bad" in column.payloads:
            raise RuntimeError("a bad one")
        return Decoded(pd.DataFrame([reading(place) for place in range(len(column))]))

    decoded = decode_payloads(*[b"good"] * 5, b"bad", *[b"good"] * 2, format_="columns")
    assert decoded.readings["message"].tolist() == [0, 1, 2, 3, 4, 6, 7]
    assert codes(decoded) == [(5, -1, "transformer_failed")]
    assert sizes == [8, 4, 4, 2, 1, 1, 2]


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (None, "TypeError: \"the transformer returned NoneType, not Decoded\""),
        (Decoded(pd.DataFrame({"message": [0]})), "readings have no column ordinal, work_unit"),
        (Decoded(pd.DataFrame([reading(3)])), "names a message outside of its 1"),
        (Decoded(pd.DataFrame([reading(0), reading(0)])), "gives one ordinal to two readings"),
        (Decoded(pd.DataFrame([reading(0, quality=9)])), "a quality that is not 0, 1 or 2"),
        (Decoded(pd.DataFrame([reading(0, time="noon")])), "ValueError"),
        (Decoded(pd.DataFrame([reading(0, ordinal=-1)])), "an ordinal that is not a place"),
        (Decoded(pd.DataFrame([reading(0, ordinal=2**31)])), "an ordinal that is not a place"),
        (Decoded(pd.DataFrame([reading(0, text=5)])), "texts and details are not all strings"),
        (Decoded(pd.DataFrame([reading(0, metric="m\0")])), "hold U+0000 or a lone surrogate"),
        (Decoded(pd.DataFrame([reading(0, unit="k\0")])), "hold U+0000 or a lone surrogate"),
        (Decoded(no_readings(), [Refusal(0, -1, "oops", "")]), "refuses with unknown codes: oops"),
        (Decoded(no_readings(), [Refusal(0, -2, "invalid_json", "")]), "an ordinal that is not a place"),
        (Decoded(no_readings(), [Refusal(0, -1, "invalid_json", None)]), "texts and details are not all strings"),
    ],
)  # fmt: skip
def test_a_transformer_of_columns_that_breaks_the_contract_fails_its_message_only(answer: Any, detail: str) -> None:
    transformer("broken", columns=True)(lambda column, route: answer)
    decoded = decode_payloads(b"x", format_="broken")
    assert codes(decoded) == [(0, -1, "transformer_failed")]
    assert detail in decoded.refusals[0].detail


def test_a_route_with_nothing_left_to_decode_asks_no_transformer() -> None:
    transformer("untouched", columns=True)(lambda column, route: pytest.fail("asked"))
    decoded = decode_payloads(b"large", format_="untouched", max_payload_bytes=4)
    assert codes(decoded) == [(0, -1, "payload_too_large")]


def test_names_are_taken_once() -> None:
    with pytest.raises(ValueError, match='format "json" comes with sensor_platform'):
        transformer("json")(print)
    transformer("mine")(print)
    with pytest.raises(ValueError, match=r'format "mine" is registered by builtins\.print already'):
        transformer("mine")(repr)
    assert "mine" in registry.known()
    with pytest.raises(KeyError, match=r'unknown format "yours"\. Known: binary, cbor, csv, .*mine'):
        registry.get("yours")


@pytest.mark.parametrize("name", sorted(registry.BUILT_IN))
def test_a_format_that_comes_along_says_beforehand_whether_it_walks_with_definitions(name: str) -> None:
    spec = importlib.util.find_spec(registry.BUILT_IN[name])
    assert spec is not None
    assert spec.origin is not None
    walks = "Timeline(" in Path(spec.origin).read_text(encoding="utf-8")
    assert (registry.may_define(name), walks) == (name in registry.DEFINING,) * 2


def test_one_of_your_own_may_define() -> None:
    assert registry.may_define("press-log")
