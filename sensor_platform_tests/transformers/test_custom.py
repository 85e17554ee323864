"""Formats of one's own run in a process that may hang, grow and crash: that costs the guilty messages alone."""

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensor_platform.errors import DatabaseUnavailableError, SensorPlatformError
from sensor_platform.pipeline.decode import DecodedMessages, decode
from sensor_platform.routes.model import Routes
from sensor_platform.transformers import custom, registry
from sensor_platform.transformers.contract import READING_COLUMNS
from sensor_platform.transformers.definitions import Definition, Definitions, Find
from sensor_platform.transformers.keeping import no_readings
from sensor_platform_tests.transformers.decoding import codes, decode_payloads, table_of
from sensor_platform_tests.transformers.formats import TROUBLE, decoded_by, routes_of, worker_pid


def assert_types_of_the_contract(decoded: DecodedMessages) -> None:
    assert len(decoded.readings) == 2
    assert decoded.readings[list(READING_COLUMNS)].dtypes.to_dict() == no_readings().dtypes.to_dict()


def test_a_format_of_ones_own_runs_in_another_process_that_stays(formats_folder: Path) -> None:
    routes = routes_of(formats_folder, "trouble")
    first = worker_pid(routes)
    assert first != os.getpid()
    assert "plant_formats" not in sys.modules
    assert worker_pid(routes) == first
    assert_types_of_the_contract(decoded_by(routes, b"1", b"2"))
    assert decoded_by(routes, b"12").transformer_versions == {"trouble": "3"}


#: Payload, and what becomes of it: code, and how the detail starts.
TROUBLES = [
    (b"hang", "transformer_timeout", "killed after 2"),
    (b"grow", "transformer_out_of_memory", "it needed more than TRANSFORMER_MEMORY_BYTES=200000000"),
    (b"segfault", "transformer_crashed", "the worker process was ended by SIGSEGV"),
    (b"killed", "transformer_crashed", "the worker process was ended by SIGKILL"),
    (b"exit", "transformer_crashed", "the worker process ended with exit code 3"),
    (b"sys.exit", "transformer_crashed", "the worker process ended with exit code 4"),
    (b"raise", "transformer_failed", 'ValueError: "no such force" (plant_formats.py:'),
]


def test_messages_that_hang_grow_crash_and_raise_are_refused_alone(formats_folder: Path) -> None:
    bad = [payload for payload, _, _ in TROUBLES]
    decoded = decoded_by(routes_of(formats_folder, "trouble"), b"1", *bad, b"9")
    assert codes(decoded) == [(place, -1, code) for place, (_, code, _) in enumerate(TROUBLES, start=1)]
    for refusal, (_, _, detail) in zip(decoded.refusals, TROUBLES, strict=True):
        assert refusal.detail.startswith(detail)
        assert refusal.stage == "decode"
    assert decoded.readings[["message", "value"]].values.tolist() == [[0, 1.0], [8, 9.0]]


def test_a_column_that_hangs_is_halved_until_the_guilty_message_stands_alone(formats_folder: Path) -> None:
    decoded = decoded_by(routes_of(formats_folder, "column-trouble"), b"1", b"2", b"hang", b"4")
    assert codes(decoded) == [(2, -1, "transformer_timeout")]
    assert decoded.readings[["message", "value"]].values.tolist() == [[0, 1.0], [1, 2.0], [3, 4.0]]


def test_a_transformer_that_ends_on_everything_is_given_up_within_bounds(
    formats_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custom, "MAX_ENDS", 2)
    decoded = decoded_by(routes_of(formats_folder, "trouble"), *[b"exit"] * 5)
    assert [code for _, _, code in codes(decoded)] == ["transformer_crashed"] * 2 + ["transformer_timeout"] * 3
    assert decoded.refusals[-1].detail.endswith("took the time that there is for all: retry it")


def test_a_group_is_sent_in_pieces_and_comes_back_in_order(
    formats_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custom, "PIECE_MESSAGES", 3)
    monkeypatch.setattr(custom, "PIECE_BYTES", 4)
    assert_types_of_the_contract(decoded_by(routes_of(formats_folder, "column-trouble"), b"1", b"2"))
    decoded = decoded_by(
        routes_of(formats_folder, "column-trouble"), b"0", b"11", b"22", b"3", b"444444", b"5", b"6", b"8"
    )
    assert decoded.readings["value"].tolist() == [0, 11, 22, 3, 444444, 5, 6, 8]
    assert decoded.refusals == []


def test_definitions_reach_a_format_of_ones_own_in_received_order(
    formats_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custom, "PIECE_MESSAGES", 3)
    payloads = [b"2", b"scale 10", b"2", b"scale 100", b"exit", b"3", b"4"]
    asked: list[list[str]] = []

    def known(keys: Collection[str]) -> dict[str, list[Definition]]:
        asked.append(list(keys))
        return {"scale": [Definition(0, "scale", {"scale": 5.0})]}

    decoded = decode(
        table_of(payloads, topic="p/line1/press"),
        routes_of(formats_folder, "scaled"),
        max_payload_bytes=1000,
        definitions_of=lambda _format: Definitions(known),
    )
    assert decoded.readings[["message", "value"]].values.tolist() == [[0, 10], [2, 20], [5, 300], [6, 400]]
    assert codes(decoded) == [(4, -1, "transformer_crashed")]
    assert np.flatnonzero(decoded.ignored).tolist() == [1, 3]
    assert [(one.message, one.content) for one in decoded.definitions["scaled"]] == [
        (1, {"scale": 10.0}),
        (3, {"scale": 100.0}),
    ]
    assert asked == [["scale"]]


def scaled_by(routes: Routes, find: Find, *payloads: bytes) -> list[float]:
    decoded = decode(
        table_of(payloads, topic="p/line1/press"),
        routes,
        max_payload_bytes=1000,
        definitions_of=lambda _format: Definitions(find),
    )
    assert decoded.refusals == []
    return list(decoded.readings["value"])


def test_a_group_whose_definitions_cannot_be_had_leaves_no_answer_to_the_next(formats_folder: Path) -> None:
    answers: list[Any] = [DatabaseUnavailableError("away"), {"scale": [Definition(0, "scale", {"scale": 1.0})]}]

    def known(_keys: Collection[str]) -> dict[str, list[Definition]]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    routes = routes_of(formats_folder, "scaled")
    with pytest.raises(SensorPlatformError, match="away"):
        scaled_by(routes, known, b"1", b"2", b"3")
    assert scaled_by(routes, known, b"100", b"200", b"300") == [100, 200, 300]


ENDED_ONCE = """
import os, signal
from pathlib import Path
from sensor_platform import transformer
from sensor_platform.transformers.worker import main

sent = main.to_bytes
ended = Path(__file__).with_name("ended")


def end_once(decoded):
    if not ended.exists():
        ended.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return sent(decoded)


main.to_bytes = end_once


@transformer("harmless")
def harmless(payload, topic, received_at):
    return [{"value": int(payload)}]
"""


def test_a_worker_that_is_ended_while_it_calls_nothing_costs_no_message(tmp_path: Path) -> None:
    decoded = decoded_by(routes_of(tmp_path, "harmless", code=ENDED_ONCE), b"5")
    assert (tmp_path / "ended").exists()
    assert decoded.refusals == []
    assert decoded.readings["value"].tolist() == [5]


def test_a_name_that_is_no_text_refuses_its_reading(formats_folder: Path) -> None:
    decoded = decoded_by(routes_of(formats_folder, "column-trouble"), b"1", b"7")
    assert codes(decoded) == [(1, 0, "invalid_reading")]
    assert decoded.refusals[0].detail == "the sensor 7 is not a text"
    assert decoded.readings[["sensor", "unit", "text"]].values.tolist() == [["press", "kN", None]]


@contextlib.contextmanager
def registered(name: str, function: Callable[..., object]) -> Iterator[None]:
    registry.transformer(name)(function)
    try:
        yield
    finally:
        del registry._registered[name]


def test_a_function_that_no_other_process_can_import_is_called_here() -> None:
    def own_pid(payload: bytes, topic: str, received_at: object) -> list[dict[str, object]]:
        return [{"value": os.getpid()}]

    with registered("only-here", own_pid):
        assert decode_payloads(b"x", format_="only-here").readings["value"].tolist() == [os.getpid()]


def test_a_module_that_this_process_has_imported_runs_in_the_worker_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imported_formats.py").write_text(TROUBLE.replace('"trouble"', '"imported"'), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_registered", {})
    importlib.import_module("imported_formats")
    decoded = decode_payloads(b"pid", format_="imported")
    assert decoded.refusals == []
    assert decoded.readings["value"][0] != os.getpid()
