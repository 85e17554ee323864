"""Sparkplug B, written by the protobuf library: births, aliases, sessions, deaths, values of every datatype."""

import importlib.util
import re
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from hypothesis import example, given
from hypothesis import strategies as st

from sensor_platform.pipeline.decode import DecodedMessages, decode
from sensor_platform.routes.file import parse_routes
from sensor_platform.routes.model import Route, Routes
from sensor_platform.transformers import sparkplug_b, sparkplug_shapes, sparkplug_wire
from sensor_platform.transformers.leaves import RefusedValueError
from sensor_platform.transformers.sparkplug_b.sparkplug_b_pb2 import DESCRIPTOR, Payload
from sensor_platform.transformers.sparkplug_metrics import GREATEST_MS
from sensor_platform.transformers.sparkplug_payload import Rows, add_metrics, read_payload, timestamp_of
from sensor_platform.transformers.sparkplug_topic import Type, place_of
from sensor_platform_tests.conftest import missing_tool
from sensor_platform_tests.transformers.decoding import RECEIVED_US, codes, table_of
from sensor_platform_tests.transformers.sparkplug import birth, data, death, metric, payload, said, table

AT = RECEIVED_US // 1000 - 5000  # ms
INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64 = range(1, 9)
FLOAT, DOUBLE, BOOLEAN, STRING, DATETIME, TEXT, UUID, DATASET, BYTES, FILE, TEMPLATE = range(9, 20)


def decode_all(messages: Sequence[tuple[str, bytes]], *, allow_nan: bool = False, **options: Any) -> DecodedMessages:
    route = Route(name="s", filter="spBv1.0/#", format="sparkplug", options=options, allow_nan=allow_nan)
    return decode(table(messages), Routes([route]), max_payload_bytes=1_000_000)


def test_aliases_mean_what_the_birth_said() -> None:
    decoded = decode_all(
        [
            birth("g/n", metric("Line/Temperature", 7, DOUBLE, double_value=20.0, unit="C"), bdseq=3),
            data("g/n", metric(None, 7, None, double_value=21.5, timestamp=AT + 1)),
        ]
    )
    assert said(decoded) == [
        ("g", "n", "Line/Temperature", AT, 20.0, None, "C"),
        ("g", "n", "online", AT, 1.0, None, None),
        ("g", "n", "Line/Temperature", AT + 1, 21.5, None, "C"),
    ]
    assert decoded.refusals == []


def test_a_rebirth_gives_the_aliases_another_meaning() -> None:
    decoded = decode_all(
        [
            birth("g/n", metric("a", 1, DOUBLE, double_value=0), metric("b", 2, DOUBLE, double_value=0)),
            data("g/n", metric(None, 1, None, double_value=1)),
            birth("g/n", metric("a", 2, DOUBLE, double_value=0), metric("b", 1, DOUBLE, double_value=0)),
            data("g/n", metric(None, 1, None, double_value=2)),
        ],
        online="",
    )
    assert [(name, value) for _, _, name, _, value, _, _ in said(decoded)] == [
        ("a", 0),
        ("b", 0),
        ("a", 1),
        ("a", 0),
        ("b", 0),
        ("b", 2),
    ]


def test_data_before_a_birth_and_unknown_aliases_are_refused() -> None:
    known = metric(None, 1, None, double_value=1)
    unknown = metric(None, 9, None, double_value=1)
    decoded = decode_all(
        [data("g/n", known, known), birth("g/n", metric("a", 1, DOUBLE, double_value=0)), data("g/n", known, unknown)]
    )
    assert codes(decoded) == [(0, -1, "no_birth"), (2, 1, "unknown_alias")]
    assert decoded.refusals[0].detail == ('no birth of "g/n" stands before it: what its aliases mean is not known')


def test_nodes_of_one_name_at_two_sites_have_births_of_their_own() -> None:
    def at(site: str, message: tuple[str, bytes]) -> tuple[str, bytes]:
        return f"{site}/{message[0]}", message[1]

    def born(name: str, bdseq: int) -> tuple[str, bytes]:
        return birth("g/n", metric(name, 1, DOUBLE, double_value=0), bdseq=bdseq)

    value = data("g/n", metric(None, 1, None, double_value=5))
    messages = [at("a", born("pressure", 1)), at("b", born("speed", 2)), at("a", value), at("b", value)]
    messages += [at("c", value), value, at("a", death("g/n", bdseq=1))]
    route = Route(name="s", filter="{work_unit}/spBv1.0/#", format="sparkplug")
    bridged = Route(name="b", filter="spBv1.0/#", format="sparkplug")
    decoded = decode(table(messages), Routes([route, bridged]), max_payload_bytes=1_000_000)
    assert [(site, who, name) for site, who, name, _, value, _, _ in said(decoded) if value == 5] == [
        ("a", "n", "pressure"),
        ("b", "n", "speed"),
    ]
    assert [(site, name) for site, _, name, _, value, _, _ in said(decoded) if name == "online" and value == 0] == [
        ("a", "online")
    ]
    assert codes(decoded) == [(4, -1, "no_birth"), (5, -1, "no_birth")]
    assert {one.key for one in decoded.definitions["sparkplug"]} >= {"a/spBv1.0/g/n", "b/spBv1.0/g/n"}


@pytest.mark.parametrize("how_many", [1, 40], ids=["the library", "all in step"])
@pytest.mark.parametrize("type_", ["NDATA", "NBIRTH", "NDEATH"])
def test_a_message_of_too_many_metrics_is_refused_whole(how_many: int, type_: str) -> None:
    few = [data("g/n", metric("a", None, DOUBLE, double_value=value)) for value in range(how_many)]
    many = f"spBv1.0/g/{type_}/n", b"\x12\x00" * 10_001
    decoded = decode_all([*few, many])
    assert codes(decoded) == [(how_many, -1, "too_many_metrics")]
    assert "10001 metrics" in decoded.refusals[0].detail
    assert decoded.readings["value"].tolist() == list(range(how_many))


def test_metrics_up_to_the_bound_are_read() -> None:
    one = metric(None, 1, DOUBLE, double_value=1)
    born = birth("g/n", metric("a", 1, DOUBLE, double_value=0))
    decoded = decode_all([born, data("g/n", *[one] * 10_000), data("g/n", *[one] * 10_001)], online="")
    assert codes(decoded) == [(2, -1, "too_many_metrics")]
    assert len(decoded.readings) == 10_001


def test_a_time_that_is_none_is_said_whoever_said_it() -> None:
    late, later = GREATEST_MS + 1, GREATEST_MS + 2
    of_payload = data("g/n", metric("a", None, DOUBLE, double_value=1), at=late)
    of_metric = data("g/n", metric("a", None, DOUBLE, double_value=1, timestamp=later), at=late)
    details = [refusal.detail for refusal in decode_all([of_payload, of_metric]).refusals]
    assert details == [f'"a": the time {late} ms is none', f'"a": the time {later} ms is none']


def test_names_need_no_birth() -> None:
    decoded = decode_all(
        [data("g/n", metric("a", None, INT32, int_value=2**32 - 5), metric(None, 4, INT8, int_value=1))]
    )
    assert [row[4] for row in said(decoded)] == [-5]
    assert codes(decoded) == [(0, 1, "no_birth")]


def test_a_device_has_births_of_its_own_and_none_of_an_older_session() -> None:
    node = metric("a", 1, DOUBLE, double_value=0)
    device = metric("b", 2, DOUBLE, double_value=0)
    decoded = decode_all(
        [
            birth("g/n", node, bdseq=1),
            birth("g/n/d", device),
            data("g/n/d", metric(None, 2, None, double_value=5)),
            birth("g/n", node, bdseq=2),
            data("g/n/d", metric(None, 2, None, double_value=6)),
            birth("g/n/d", device),
            data("g/n/d", metric(None, 2, None, double_value=7)),
        ],
        online="",
    )
    assert [(sensor, value) for _, sensor, name, _, value, _, _ in said(decoded) if name == "b"] == [
        ("n/d", 0),
        ("n/d", 5),
        ("n/d", 0),
        ("n/d", 7),
    ]
    assert codes(decoded) == [(4, -1, "no_birth")]


def test_a_death_takes_the_node_and_its_devices_offline_when_it_was_received() -> None:
    decoded = decode_all([birth("g/n", bdseq=4), birth("g/n/d"), death("g/n", bdseq=4)])
    assert said(decoded) == [
        ("g", "n", "online", AT, 1, None, None),
        ("g", "n/d", "online", AT, 1, None, None),
        ("g", "n", "online", RECEIVED_US // 1000, 0, None, None),
        ("g", "n/d", "online", RECEIVED_US // 1000, 0, None, None),
    ]
    assert decoded.readings["timed_by_receipt"].tolist() == [False, False, True, True]


def test_a_late_death_of_an_older_session_takes_nobody_offline() -> None:
    decoded = decode_all([birth("g/n", bdseq=5), death("g/n", bdseq=4)])
    assert [row[4] for row in said(decoded)] == [1]
    assert decoded.ignored.tolist() == [False, True]


def test_a_death_of_a_device_concerns_it_alone() -> None:
    decoded = decode_all([birth("g/n", bdseq=1), birth("g/n/d"), death("g/n/d")])
    assert said(decoded)[-1] == ("g", "n/d", "online", AT, 0, None, None)


def test_work_unit_by_node_and_what_the_route_says() -> None:
    messages = [
        data("g/n", metric("a", None, DOUBLE, double_value=1)),
        data("g/n/d", metric("a", None, FLOAT, float_value=1)),
    ]
    assert [row[:2] for row in said(decode_all(messages, work_unit="node"))] == [("g/n", "n"), ("g/n", "d")]
    routes = Routes([Route(name="s", filter="spBv1.0/{work_unit}/#", format="sparkplug", sensor="press")])
    decoded = decode(table(messages), routes, max_payload_bytes=1000)
    assert [row[:2] for row in said(decoded)] == [("g", "press"), ("g", "press")]


def test_a_route_need_not_say_which_sensor_it_is() -> None:
    (route,) = parse_routes("routes: [{name: s, filter: 'spBv1.0/#', format: sparkplug}]")
    assert route.format == "sparkplug"


def test_commands_and_states_are_ignored_and_other_topics_refused() -> None:
    decoded = decode_all(
        [
            ("spBv1.0/g/NCMD/n", payload(metric("Node Control/Rebirth", None, BOOLEAN, boolean_value=True))),
            ("spBv1.0/STATE/scada", b'{"online": true, "timestamp": 1}'),
            ("spBv1.0/g/NWHAT/n", b""),
            ("spBv1.0/g/NDATA/n/d", b""),
        ]
    )
    assert decoded.ignored.tolist() == [True, True, False, False]
    assert codes(decoded) == [(2, -1, "invalid_sparkplug"), (3, -1, "invalid_sparkplug")]


def test_controls_and_nulls_are_left_out() -> None:
    decoded = decode_all(
        [
            data("g/n", metric("Node Control/Rebirth", None, BOOLEAN, boolean_value=False)),
            data("g/n", metric("a", None, DOUBLE, is_null=True)),
            data("g/n", metric("a", None, DOUBLE, double_value=1), metric("diag/x", None, DOUBLE, double_value=1)),
        ],
        exclude=["Node Control/*", "diag/*"],
    )
    assert [row[2] for row in said(decoded)] == ["a"]
    assert decoded.ignored.tolist() == [True, True, False]


def test_historical_values_are_taken_at_their_time() -> None:
    decoded = decode_all([data("g/n", metric("a", None, DOUBLE, double_value=1, timestamp=AT - 9, is_historical=True))])
    assert [row[3] for row in said(decoded)] == [AT - 9]


def test_without_a_time_of_its_own_it_is_the_payloads_then_that_of_receipt() -> None:
    one = metric("a", None, DOUBLE, double_value=1)
    decoded = decode_all([data("g/n", one), ("spBv1.0/g/NDATA/n", payload(one, at=None))])
    assert decoded.readings["time"].tolist() == [AT * 1000, RECEIVED_US]
    assert decoded.readings["timed_by_receipt"].tolist() == [False, True]


@pytest.mark.parametrize(("code", "quality"), [(None, 0), (192, 0), (216, 0), (64, 1), (0, 2), (500, 2)])
def test_quality(code: int | None, quality: int) -> None:
    decoded = decode_all([data("g/n", metric("a", None, DOUBLE, double_value=1, quality=code))])
    assert decoded.readings["quality"].tolist() == [quality]


def test_what_is_no_number_and_no_text_is_reported_beside_what_is() -> None:
    decoded = decode_all(
        [
            data(
                "g/n",
                metric("a", None, DOUBLE, double_value=1),
                metric("b", None, BYTES, bytes_value=b"12"),
                metric("c", None, DATASET, dataset_value=Payload.DataSet(num_of_columns=1)),
                metric("d", None, TEMPLATE, template_value=Payload.Template(template_ref="t")),
                metric("e", None, 25, bytes_value=b"\1\0"),
                metric("_types_/t", None, TEMPLATE, template_value=Payload.Template(is_definition=True)),
            )
        ]
    )
    assert [row[2] for row in said(decoded)] == ["a"]
    assert codes(decoded) == [(0, place, "unsupported_datatype") for place in (1, 2, 3, 4)]
    assert decoded.refusals[3].detail == '"e": Int64Array is neither one number nor one text'


@pytest.mark.parametrize(
    ("datatype", "fields", "code"),
    [
        (DOUBLE, {"int_value": 1}, "invalid_sparkplug"),
        (INT32, {"double_value": 1.0}, "invalid_sparkplug"),
        (INT8, {"int_value": 300}, "invalid_sparkplug"),
        (UINT8, {"int_value": 256}, "invalid_sparkplug"),
        (UINT32, {"long_value": 2**32}, "invalid_sparkplug"),
        (INT64, {"int_value": 2**31}, "invalid_sparkplug"),
        (None, {"int_value": 1}, "invalid_sparkplug"),
        (DOUBLE, {}, "missing_value"),
        (DOUBLE, {"double_value": float("nan")}, "nan_not_allowed"),
        (STRING, {"string_value": "a\0"}, "text_not_storable"),
        (DOUBLE, {"double_value": 1.0, "timestamp": 2**62}, "invalid_timestamp"),
        (1000, {"int_value": 1}, "unsupported_datatype"),
    ],
)
def test_a_value_that_is_not_of_its_datatype_is_refused_alone(datatype: int, fields: dict[str, Any], code: str) -> None:
    one, other = metric("a", None, datatype, **fields), metric("b", None, DOUBLE, double_value=1)
    decoded = decode_all([data("g/n", one, other)])
    assert codes(decoded) == [(0, 0, code)]
    assert [row[2] for row in said(decoded)] == ["b"]


def test_bytes_that_are_no_payload_are_refused_alone() -> None:
    good = data("g/n", metric("a", None, DOUBLE, double_value=1))
    decoded = decode_all([(good[0], b"\xff"), good])
    assert codes(decoded) == [(0, -1, "invalid_sparkplug")]
    assert len(decoded.readings) == 1


# ---- every datatype, there and back


def integers(bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high)


#: Datatype -> its values, and the fields that encoders put them in.
ENCODED: dict[int, tuple[st.SearchStrategy[Any], list[Any]]] = {}
for _type, _bits in ((INT8, 8), (INT16, 16), (INT32, 32)):
    # Tahu for Java extends the sign to the field's width, Tahu for Python keeps that of the datatype.
    ENCODED[_type] = (
        integers(_bits, signed=True),
        [lambda v: {"int_value": v % 2**32}, lambda v, b=_bits: {"int_value": v % 2**b}],
    )
for _type, _bits in ((UINT8, 8), (UINT16, 16), (UINT32, 32)):
    ENCODED[_type] = integers(_bits, signed=False), [lambda v: {"int_value": v}, lambda v: {"long_value": v}]
for _type in (INT64, DATETIME):
    ENCODED[_type] = integers(64, signed=True), [lambda v: {"long_value": v % 2**64}]
ENCODED[UINT64] = integers(64, signed=False), [lambda v: {"long_value": v}]
ENCODED[FLOAT] = st.floats(width=32, allow_nan=False, allow_infinity=False), [lambda v: {"float_value": v}]
ENCODED[DOUBLE] = st.floats(allow_nan=False, allow_infinity=False), [lambda v: {"double_value": v}]
ENCODED[BOOLEAN] = st.booleans(), [lambda v: {"boolean_value": v}]
for _type in (STRING, TEXT, UUID):
    ENCODED[_type] = (
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        [lambda v: {"string_value": v}],
    )


@st.composite
def values(draw: st.DrawFn) -> tuple[int, Any, dict[str, Any]]:
    datatype = draw(st.sampled_from(sorted(ENCODED)))
    strategy, fields = ENCODED[datatype]
    value = draw(strategy)
    return datatype, value, draw(st.sampled_from(fields))(value)


def expected(datatype: int, value: Any) -> tuple[float | None, str | None]:
    if datatype in (STRING, TEXT, UUID):
        return None, value
    digits = str(value) if isinstance(value, int) and abs(value) > 2**53 else None
    return float(value), digits


@given(st.lists(values(), min_size=1, max_size=8), st.integers(1, 3))
@example([(INT64, -(2**63), {"long_value": 2**63}), (UINT64, 2**64 - 1, {"long_value": 2**64 - 1})], 2)
def test_encoded_and_decoded_again_it_is_the_same(metrics: list[tuple[int, Any, dict[str, Any]]], times: int) -> None:
    born = birth("g/n", *(metric(f"m{n}", n, each[0], is_null=True) for n, each in enumerate(metrics)))
    told = data("g/n", *(metric(None, n, None, **each[2]) for n, each in enumerate(metrics)))
    decoded = decode_all([born, *[told] * times], online="")
    assert decoded.refusals == []
    found = [(name, value, text) for _, _, name, _, value, text, _ in said(decoded)]
    assert found == [(f"m{n}", *expected(*each[:2])) for _ in range(times) for n, each in enumerate(metrics)]


# ---- the fast way and the library

METRICS = st.builds(
    lambda fields, value: Payload.Metric(**fields, **value),
    st.fixed_dictionaries(
        {},
        optional={
            "alias": st.integers(0, 2**56),
            "timestamp": st.integers(0, 2**60),
            "datatype": st.integers(0, 40),
            "is_historical": st.booleans(),
            "is_transient": st.booleans(),
            "is_null": st.booleans(),
            "name": st.sampled_from(["a", "b"]),
        },
    ),
    st.sampled_from([{}, {"string_value": "x"}, {"bytes_value": b"x"}])
    | st.builds(lambda v: {"int_value": v}, st.integers(0, 2**32 - 1))
    | st.builds(lambda v: {"long_value": v}, st.integers(0, 2**64 - 1))
    | st.builds(lambda v: {"double_value": v}, st.floats())
    | st.builds(lambda v: {"float_value": v}, st.floats(width=32))
    | st.builds(lambda v: {"boolean_value": v}, st.booleans()),
)
PAYLOADS = st.builds(
    lambda metrics, at, seq: payload(*metrics, at=at, seq=seq),
    st.lists(METRICS, max_size=5),
    st.none() | st.integers(0, 2**60),
    st.none() | st.integers(0, 255),
)


def mutated(payloads: list[bytes], changes: list[tuple[int, int, int]]) -> list[bytes]:
    changed = [bytearray(each) for each in payloads]
    for which, place, byte in changes:
        one = changed[which % len(changed)]
        if one:
            one[place % len(one)] = byte
    return [bytes(each) for each in changed]


def numbers(kinds: Sequence[int], bits: Sequence[int]) -> list[str]:
    """What the bits say: of NaNs there are many, and one is as good as another."""
    pairs = list(zip(kinds, bits, strict=True))
    reals = {
        12: lambda b: struct.unpack("<f", struct.pack("<I", b)),
        13: lambda b: struct.unpack("<d", struct.pack("<Q", b)),
    }
    return [repr(reals.get(int(kind), lambda b: b)(int(each))) for kind, each in pairs if kind]


@given(
    st.lists(PAYLOADS, min_size=1, max_size=4),
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 255)), max_size=6),
)
def test_what_is_read_fast_is_what_the_library_reads(
    payloads: list[bytes], times: int, changes: list[tuple[int, int, int]]
) -> None:
    every = mutated(payloads * times, changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparkplug_shapes, "LEAST_ALIKE", 2)
        patch.setattr(sparkplug_wire, "LEAST_IN_STEP", 1)
        wire = sparkplug_wire.read_simple(every)
    for place in np.flatnonzero(wire.readable).tolist():
        parsed, rows = read_payload(every[place]), Rows()
        add_metrics(rows, place, parsed)
        assert timestamp_of(parsed) == wire.payload_timestamp[place]
        here = np.flatnonzero(wire.message == place)
        here = here[np.argsort(wire.ordinal[here])]
        assert rows.name == [None] * len(here)
        for name in ("ordinal", "alias", "timestamp", "datatype", "is_null", "kind"):
            assert getattr(wire, name)[here].tolist() == getattr(rows, name), name
        assert numbers(wire.kind[here], wire.bits[here]) == numbers(rows.kind, rows.bits)
    assert set(wire.message.tolist()) <= set(np.flatnonzero(wire.readable).tolist())


def test_payloads_of_data_are_read_fast() -> None:
    """Otherwise the property above would hold of nothing."""
    one = payload(metric(None, 3, DOUBLE, double_value=1.5, timestamp=AT), metric(None, 4, INT32, int_value=9), seq=3)
    assert sparkplug_wire.read_simple([one] * 40).readable.all()
    other = payload(metric(None, 3, None, float_value=1.5), at=None)
    assert sparkplug_wire.read_simple([one, other] * 20).readable.all()
    assert not sparkplug_wire.read_simple([payload(metric("a", None, DOUBLE, double_value=1))] * 40).readable.any()


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6), st.sampled_from(["NDATA", "NBIRTH", "NDEATH"]))
def test_any_bytes_give_readings_or_a_dead_letter(payloads: list[bytes], type_: str) -> None:
    decoded = decode_all([(f"spBv1.0/g/{type_}/n", each) for each in payloads])
    heard = {*decoded.readings["message"], *(refusal.message for refusal in decoded.refusals)}
    assert heard | set(np.flatnonzero(decoded.ignored).tolist()) == set(range(len(payloads)))
    assert "transformer_failed" not in {refusal.code for refusal in decoded.refusals}


def test_a_float_is_what_its_32_bits_say() -> None:
    decoded = decode_all([data("g/n", metric("a", None, FLOAT, float_value=0.1))])
    assert decoded.readings["value"].tolist() == [struct.unpack("<f", struct.pack("<f", 0.1))[0]]


def test_many_nodes_keep_their_aliases_apart() -> None:
    births = [
        birth(f"g/n{n}", *(metric(f"m{n}.{k}", 10 * k + n % 3, DOUBLE, is_null=True) for k in range(3)))
        for n in range(50)
    ]
    told = [data(f"g/n{n}", metric(None, 10 * k + n % 3, None, double_value=n)) for n in range(50) for k in range(3)]
    decoded = decode_all([*births, *told], online="")
    assert [(row[2], row[4]) for row in said(decoded)] == [(f"m{n}.{k}", n) for n in range(50) for k in range(3)]


def test_a_node_of_very_many_devices_is_known_by_a_bounded_list() -> None:
    births = [birth(f"g/n/d{n}", metric("m", 1, DOUBLE, is_null=True)) for n in range(1100)]
    decoded = decode_all([*births, *births[:50]])
    lists = [one.content["devices"] for one in decoded.definitions["sparkplug"] if one.key == "g/n#devices"]
    assert [len(devices) for devices in lists] == list(range(1, 1001))


def test_a_topic_that_no_index_can_hold_is_none_of_sparkplug() -> None:
    assert place_of(f"spBv1.0/g/NBIRTH/{'n' * 1800}").type is Type.BIRTH
    assert place_of(f"spBv1.0/g/NBIRTH/{'n' * 2000}").type is Type.UNKNOWN
    assert place_of(f"spBv1.0/g/NBIRTH/{'鉄' * 700}").type is Type.UNKNOWN


# ---- the schema that comes along


def test_the_generated_module_is_that_of_the_schema(tmp_path: Path) -> None:
    if importlib.util.find_spec("grpc_tools") is None:
        missing_tool("grpcio-tools is not installed: protoc is needed to hold the module against the schema")
    folder = Path(sparkplug_b.__file__).parent
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"--descriptor_set_out={tmp_path / 'd'}"]
    subprocess.run([*command, "sparkplug_b.proto"], check=True)
    made = FileDescriptorSet.FromString((tmp_path / "d").read_bytes()).file[0]
    assert made.name == DESCRIPTOR.name
    ours = FileDescriptorProto()
    DESCRIPTOR.CopyToProto(ours)
    assert without_json_names(ours) == without_json_names(made)


def without_json_names(schema: FileDescriptorProto) -> str:
    return re.sub(r" *json_name: .*\n", "", str(schema))


def test_the_schema_names_every_field_that_we_read() -> None:
    text = (Path(sparkplug_b.__file__).parent / "sparkplug_b.proto").read_text(encoding="utf-8")
    assert "SPDX-License-Identifier: EPL-2.0" in text
    for name, number in (("alias", 2), ("timestamp", 3), ("datatype", 4), ("is_null", 7), ("double_value", 13)):
        assert Payload.Metric.DESCRIPTOR.fields_by_name[name].number == number


def test_a_payload_cut_short_is_refused() -> None:
    with pytest.raises(RefusedValueError, match="not a payload"):
        read_payload(payload(metric("a", 1, DOUBLE, double_value=1))[:-3])
    assert table_of([b""]).num_rows == 1
