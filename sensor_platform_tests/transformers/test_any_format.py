"""What holds for every format that comes along, also of tomorrow: any bytes are readings, ignored, or refused.

The routes and the bytes to begin with are those of the codec cases, so that options are met as people write them.
"""

import json
import struct
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor_platform.errors import DEAD_LETTER_CODES
from sensor_platform.pipeline.decode import decode
from sensor_platform.routes.file import parse_routes
from sensor_platform.routes.model import Routes
from sensor_platform.transformers.registry import BUILT_IN
from sensor_platform_tests.testcases.test_testcases import CASES, ROOT
from sensor_platform_tests.transformers.decoding import codes, decode_payloads, table_of

#: A place as a part of the whole, what is done there, and the bytes for it.
CHANGES = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(["replace", "insert", "cut"]), st.binary(min_size=1, max_size=3)),
    max_size=4,
)


@cache
def seeds(format_: str) -> list[tuple[Routes, str, bytes]]:
    """Route, topic and payload of each codec case of a format."""
    return [case_of(folder) for folder in CASES if folder.relative_to(ROOT).parts[0] == format_]


def case_of(folder: Path) -> tuple[Routes, str, bytes]:
    routes = parse_routes((folder / "route.yaml").read_text("utf-8"))
    (route,) = routes
    message = min(folder.glob("message.*"))
    payload = bytes.fromhex(message.read_text("ascii")) if message.suffix == ".hex" else message.read_bytes()
    topic = route.filter.replace("{work_unit}", "line1").replace("{sensor}", "press")
    if (folder / "case.json").exists():
        topic = json.loads((folder / "case.json").read_text("utf-8")).get("topic", topic)
    return routes, topic, payload[:20_000]


def changed(payload: bytes, changes: list[tuple[float, str, bytes]]) -> bytes:
    for part, kind, new in changes:
        at = round(part * len(payload))
        after = {"replace": at + len(new), "insert": at, "cut": len(payload)}[kind]
        payload = payload[:at] + (new if kind != "cut" else b"") + payload[after:]
    return payload


def answered(routes: Routes, topic: str, payloads: list[bytes]) -> None:
    decoded = decode(table_of(payloads, topic=topic), routes, max_payload_bytes=1_000_000)
    said = {refusal.message for refusal in decoded.refusals} | set(decoded.readings["message"])
    ignored = {message for message, is_ignored in enumerate(decoded.ignored.tolist()) if is_ignored}
    assert said | ignored == set(range(len(payloads)))
    assert {code for _, _, code in codes(decoded)} <= DEAD_LETTER_CODES.keys() - {"transformer_failed"}


@pytest.mark.parametrize("format_", sorted(BUILT_IN))
def test_every_format_has_codec_cases(format_: str) -> None:
    assert len(seeds(format_)) >= 2


@pytest.mark.parametrize("format_", sorted(BUILT_IN))
@settings(max_examples=50)
@given(st.data(), st.lists(st.binary(max_size=48), min_size=1, max_size=4))
def test_any_bytes_are_readings_or_a_reason(format_: str, data: st.DataObject, payloads: list[bytes]) -> None:
    routes, topic, _ = data.draw(st.sampled_from(seeds(format_)))
    answered(routes, topic, payloads)


@pytest.mark.parametrize("format_", sorted(BUILT_IN))
@settings(max_examples=50)
@given(st.data(), st.lists(CHANGES, min_size=1, max_size=3))
def test_a_payload_with_wrong_bytes_is_readings_or_a_reason(
    format_: str, data: st.DataObject, changes: list[list[tuple[float, str, bytes]]]
) -> None:
    routes, topic, payload = data.draw(st.sampled_from(seeds(format_)))
    answered(routes, topic, [payload, *(changed(payload, each) for each in changes)])


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)


@given(NUMBERS, st.sampled_from(["", " ", "\n", "\0", "\r\n\0"]))
def test_a_plain_value_is_read_back(number: float, after: str) -> None:
    decoded = decode_payloads(f"{number}{after}".encode(), format_="value")
    assert decoded.readings["value"].tolist() == [number]


@given(
    st.dictionaries(st.text("abcXYZ-:./_", min_size=1, max_size=6).map("n".__add__), NUMBERS, min_size=1, max_size=5)
)
def test_a_pack_of_senml_is_read_back(values: dict[str, float]) -> None:
    records = [{"n": name, "v": value, "t": 1_748_779_200} for name, value in values.items()]
    decoded = decode_payloads(json.dumps(records).encode(), format_="senml")
    assert codes(decoded) == []
    assert dict(zip(decoded.readings["metric"], decoded.readings["value"], strict=True)) == values
    assert set(decoded.readings["time"]) == {1_748_779_200_000_000}


@given(
    st.integers(-32767, 32767),
    st.integers(0, 40_000),
    st.integers(0, 65_534),
    st.tuples(*[st.integers(-32767, 32767)] * 3),
    st.integers(0, 2046),
    st.integers(0, 30),
    st.binary(max_size=6),
)
def test_an_advertisement_of_a_ruuvi_tag_is_read_back(
    temperature: int,
    humidity: int,
    pressure: int,
    acceleration: tuple[int, int, int],
    millivolts: int,
    power: int,
    before: bytes,
) -> None:
    packed = struct.pack(
        ">BhHHhhhHBH6x", 5, temperature, humidity, pressure, *acceleration, millivolts << 5 | power, 7, 9
    )
    other = bytes([len(before) + 1, 0x16]) + before  # a part of another type
    advertisement = other + bytes([len(packed) + 3, 0xFF, 0x99, 0x04]) + packed
    decoded = decode_payloads(json.dumps({"data": advertisement.hex()}).encode(), format_="ruuvi")
    found = dict(zip(decoded.readings["metric"], decoded.readings["value"], strict=True))
    assert codes(decoded) == []
    assert found == pytest.approx(
        {
            "temperature": temperature * 0.005,
            "humidity": humidity * 0.0025,
            "pressure": pressure + 50_000,
            **{f"acceleration_{axis}": value / 1000 for axis, value in zip("xyz", acceleration, strict=True)},
            "battery_voltage": 1.6 + millivolts / 1000,
            "tx_power": power * 2 - 40,
            "movements": 7,
            "sequence_number": 9,
        }
    )
