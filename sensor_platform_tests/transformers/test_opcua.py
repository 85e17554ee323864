"""OPC UA PubSub: what asyncua encodes is read back, metadata names what comes after it, and any bytes get an answer."""

import json
import math
import struct
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from asyncua import ua
from asyncua.pubsub import uadp
from asyncua.ua.ua_binary import struct_to_binary
from hypothesis import given
from hypothesis import strategies as st

from sensor_platform.errors import DEAD_LETTER_CODES
from sensor_platform.pipeline.decode import DecodedMessages, decode, one_message
from sensor_platform.routes.model import Route, Routes
from sensor_platform.transformers.definitions import Definitions
from sensor_platform.transformers.leaves import MAX_NAME_CHARACTERS_A_MESSAGE
from sensor_platform.transformers.opcua_dataset import DataSetMetaData, NamedField
from sensor_platform.transformers.opcua_units import CODES
from sensor_platform.transformers.units import expression
from sensor_platform_tests.transformers.decoding import RECEIVED_US, codes, decode_payloads, route_of, table_of

AT = datetime(2025, 6, 1, 12, 0, 0, 123456, tzinfo=UTC)
AT_US = 1_748_779_200_123_456
PUBLISHER = 2234
WRITER = 5

V = ua.VariantType
RANGES = {
    V.SByte: (-(2**7), 2**7 - 1), V.Byte: (0, 2**8 - 1), V.Int16: (-(2**15), 2**15 - 1), V.UInt16: (0, 2**16 - 1),
    V.Int32: (-(2**31), 2**31 - 1), V.UInt32: (0, 2**32 - 1), V.Int64: (-(2**63), 2**63 - 1), V.UInt64: (0, 2**64 - 1),
}  # fmt: skip
NUMBERS = st.one_of(
    *(st.builds(ua.Variant, st.integers(*limits), st.just(kind)) for kind, limits in RANGES.items()),
    st.builds(ua.Variant, st.floats(width=32, allow_nan=False, allow_infinity=False), st.just(V.Float)),
    st.builds(ua.Variant, st.floats(allow_nan=False, allow_infinity=False), st.just(V.Double)),
    st.builds(ua.Variant, st.booleans(), st.just(V.Boolean)),
)
ARRAYS = st.builds(ua.Variant, st.lists(st.integers(*RANGES[V.Int32]), min_size=1, max_size=5), st.just(V.Int32))
PUBLISHERS = st.one_of(
    st.builds(ua.Byte, st.integers(1, 255)),
    st.builds(ua.UInt16, st.integers(1, 2**16 - 1)),
    st.builds(ua.UInt32, st.integers(1, 2**32 - 1)),
    st.builds(ua.String, st.text("abc/é", min_size=1, max_size=5)),
)


def network_message(payload: Any, *, publisher: Any = None, time: datetime | None = AT) -> bytes:
    message = uadp.UadpNetworkMessage(
        Header=uadp.UadpHeader(publisher or ua.UInt16(PUBLISHER)),
        DataSetPayloadHeader=[ua.UInt16(WRITER)],
        Timestamp=time,
        Payload=[payload],
    )
    return bytes(message.to_binary())


def metadata(*fields: Any, name: str = "oven", major: int = 7) -> bytes:
    """An announcement. The structure is asyncua's; its header by hand, since asyncua does not encode it.

    fields: name and number of the type, or FieldMetaData.
    """
    described = ua.DataSetMetaDataType(
        Name=name,
        Namespaces=["urn:a", "urn:b"],
        EnumDataTypes=[ua.EnumDescription(Name=ua.QualifiedName("Mode", 1))],
        SimpleDataTypes=[ua.SimpleTypeDescription(Name=ua.QualifiedName("Count", 1))],
        Fields=[
            ua.FieldMetaData(
                Name=field[0],
                BuiltInType=ua.Byte(field[1]),
                ValueRank=ua.Int32(-1),
                Properties=[ua.KeyValuePair(ua.QualifiedName("EngineeringUnits", 0), ua.Variant("C"))],
            )
            if isinstance(field, tuple)
            else field
            for field in fields
        ],
        ConfigurationVersion=ua.ConfigurationVersionDataType(ua.UInt32(major), ua.UInt32(1)),
    )
    head = bytes([0x91, 0x81, 0x08]) + struct.pack("<HBHH", PUBLISHER, 2, 1, WRITER)
    return head + struct_to_binary(described) + bytes(4)


def read(*payloads: bytes, text: bool = False, allow_nan: bool = False, **options: Any) -> DecodedMessages:
    return decode_payloads(*payloads, format_="opcua", text=text, allow_nan=allow_nan, options=options)


@given(st.lists(NUMBERS, min_size=1, max_size=8), PUBLISHERS)
def test_numbers_that_asyncua_encodes_are_read_back(variants: list[ua.Variant], publisher: Any) -> None:
    payload = network_message(uadp.UadpDataSetVariant(uadp.UadpDataSetMessageHeader(), variants), publisher=publisher)
    decoded = read(payload, unnamed="number", sensor="publisher_id", work_unit="dataset_writer_id")
    assert codes(decoded) == []
    assert decoded.readings["value"].tolist() == [float(variant.Value) for variant in variants]
    large = [str(v.Value) if isinstance(v.Value, int) and abs(v.Value) > 2**53 else None for v in variants]
    assert decoded.readings["text"].tolist() == large
    assert set(decoded.readings["sensor"]) == {str(publisher)}
    assert set(decoded.readings["work_unit"]) == {str(WRITER)}
    assert set(decoded.readings["time"]) == {AT_US}


STATUSES = st.sampled_from([0, 0x40900000, 0x80890000, 0xC0000000])


@given(
    st.lists(
        st.builds(
            ua.DataValue,
            NUMBERS,
            STATUSES.map(lambda code: ua.StatusCode(ua.UInt32(code))),
            st.sampled_from([None, AT]),
            st.sampled_from([None, AT]),
            st.sampled_from([None, ua.UInt16(3)]),
            st.sampled_from([None, ua.UInt16(4)]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_data_values_that_asyncua_encodes_are_read_back(values: list[ua.DataValue]) -> None:
    payload = uadp.UadpDataSetDataValue(uadp.UadpDataSetMessageHeader(), values)
    decoded = read(network_message(payload, time=None), unnamed="number")
    assert codes(decoded) == []
    assert decoded.readings["value"].tolist() == [float(value.Value.Value) for value in values]
    assert decoded.readings["quality"].tolist() == [min(value.StatusCode.value >> 30, 2) for value in values]
    assert decoded.readings["time"].tolist() == [AT_US if value.SourceTimestamp else RECEIVED_US for value in values]


@given(ARRAYS)
def test_an_array_is_a_metric_a_place(variant: ua.Variant) -> None:
    payload = network_message(uadp.UadpDataSetVariant(uadp.UadpDataSetMessageHeader(), [variant]))
    decoded = read(payload, fields=["phase"])
    assert decoded.readings["value"].tolist() == variant.Value
    assert decoded.readings["metric"].tolist() == [f"phase.{place}" for place in range(len(variant.Value))]


SEED = network_message(
    uadp.UadpDataSetDataValue(
        uadp.UadpDataSetMessageHeader(Timestamp=AT),
        [ua.DataValue(ua.Variant([1, 2], V.Int32)), ua.DataValue(ua.Variant("a", V.String))],
    )
)


@given(st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.integers(0, 255)), max_size=4), st.integers(0, len(SEED)))
def test_damaged_bytes_are_readings_or_a_reason(changes: list[tuple[int, int]], length: int) -> None:
    payload = bytearray(SEED)
    for place, byte in changes:
        payload[place] = byte
    answered(read(bytes(payload[:length]), unnamed="number", text=True))


@given(st.binary(max_size=60), st.sampled_from(["auto", "json", "uadp"]))
def test_any_bytes_are_readings_or_a_reason(payload: bytes, encoding: str) -> None:
    answered(read(payload, unnamed="number", encoding=encoding))
    answered(read(b"\x01\x01" + payload, unnamed="number", encoding=encoding))
    answered(read(b"\x91\x81\x08" + payload, encoding=encoding))


WORDS = st.sampled_from(
    [
        "MessageId",
        "MessageType",
        "Messages",
        "Payload",
        "Value",
        "StatusCode",
        "Status",
        "Code",
        "Type",
        "Body",
        "UaType",
        "NodeId",
        "MetaData",
        "Fields",
        "Name",
        "PublisherId",
        "Timestamp",
        "SourceTimestamp",
        "DisplayName",
        "TypeId",
        "Text",
        "x",
    ]
)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=2) | st.sampled_from(["ua-data", "NaN"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(DOCUMENTS)
def test_any_document_is_readings_or_a_reason(document: Any) -> None:
    answered(read(json.dumps(document).encode(), sensor="dataset_writer_name"))
    answered(read(json.dumps({"Messages": [{"DataSetWriterId": 1, "Payload": document}]}).encode(), text=True))
    answered(read(json.dumps({"MessageType": "ua-metadata", "MetaData": document}).encode()))


def answered(decoded: DecodedMessages) -> None:
    answers = {refusal.message for refusal in decoded.refusals} | set(decoded.readings["message"])
    assert decoded.ignored[0] != (answers == {0})
    assert {refusal.code for refusal in decoded.refusals} <= DEAD_LETTER_CODES.keys() - {"transformer_failed"}


def test_metadata_names_the_fields_of_what_comes_after_it() -> None:
    variants = [ua.Variant(21.5, V.Double), ua.Variant(3, V.Int32)]
    header = uadp.UadpDataSetMessageHeader(CfgMajorVersion=ua.UInt32(7))
    data = network_message(uadp.UadpDataSetVariant(header, variants))
    raw = network_message(uadp.UadpDataSetRaw(header, struct.pack("<di", 2.5, -3)))
    decoded = read(metadata(("temperature", 11), ("count", 6)), data, raw, sensor="dataset_writer_name")
    assert codes(decoded) == []
    assert decoded.ignored.tolist() == [True, False, False]
    assert decoded.readings["metric"].tolist() == ["temperature", "count"] * 2
    assert decoded.readings["value"].tolist() == [21.5, 3.0, 2.5, -3.0]
    assert set(decoded.readings["sensor"]) == {"oven"}


def test_metadata_of_another_version_names_nothing() -> None:
    header = uadp.UadpDataSetMessageHeader(CfgMajorVersion=ua.UInt32(8))
    data = network_message(uadp.UadpDataSetVariant(header, [ua.Variant(21.5, V.Double)]))
    decoded = read(metadata(("temperature", 11)), data)
    assert (1, -1, "unknown_metadata") in codes(decoded)


@pytest.mark.parametrize(
    ("filter_", "told", "asked", "is_known"),
    [
        pytest.param("ua/{work_unit}/{sensor}", "ua/other/x", "ua/a/b", False, id="another work unit"),
        pytest.param("ua/{work_unit}/{sensor}", "ua/a/x", "ua/a/b", True, id="the same work unit"),
        pytest.param("#", "ua/other/x", "ua/a/b", True, id="no work unit at all"),
        pytest.param("#", "p1/json/metadata/p/g/1", "p1/json/data/p/g", True, id="topics of the specification"),
        pytest.param("#", "p2/uadp/metadata/p", "p1/uadp/data/p", False, id="of another plant"),
        pytest.param("{sensor}/{work_unit}/#", "p/json/metadata/p", "p/uadp/data/p", True, id="two encodings"),
        pytest.param("{work_unit}/#", "a/json/x", "b/json/y", False, id="a level that is called so by chance"),
    ],
)
def test_metadata_holds_within_its_plant(filter_: str, told: str, asked: str, is_known: bool) -> None:
    data = network_message(uadp.UadpDataSetVariant(uadp.UadpDataSetMessageHeader(), [ua.Variant(21.5, V.Double)]))
    messages = [table_of([metadata(("temperature", 11))], topic=told), table_of([data], topic=asked)]
    options = {"unnamed": "number", "sensor": "dataset_writer_id", "work_unit": "publisher_id"}
    route = Route(name="r", filter=filter_, format="opcua", options=options)
    decoded = decode(pa.concat_tables(messages), Routes([route]), max_payload_bytes=1000)
    assert codes(decoded) == []
    assert decoded.readings["metric"].tolist() == ["temperature" if is_known else "field_0"]


@pytest.mark.parametrize(
    ("values", "numbered"),
    [
        pytest.param([1013.0], ["field_0"], id="fewer"),
        pytest.param([21.5, 1013.0, 4.0], ["temperature", "pressure", "field_2"], id="more"),
    ],
)
def test_a_key_frame_of_other_fields_than_are_named_is_refused(values: list[float], numbered: list[str]) -> None:
    variants = [ua.Variant(value, V.Double) for value in values]
    data = network_message(uadp.UadpDataSetVariant(uadp.UadpDataSetMessageHeader(), variants))
    named = metadata(("temperature", 11), ("pressure", 11))
    refused = read(named, data)
    assert codes(refused) == [(1, -1, "unknown_metadata")]
    assert f"{len(values)} fields, and 2 are named" in refused.refusals[0].detail
    assert codes(read(data, fields=["temperature", "pressure"])) == [(0, -1, "unknown_metadata")]
    assert read(named, data, unnamed="number").readings["metric"].tolist() == numbered


def variants_of(encoded: bytes) -> bytes:
    """A network message with one Variant, of these bytes."""
    return b"\x01\x01" + struct.pack("<H", 1) + encoded


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(b"\x80" + struct.pack("<i", 2**31 - 1), id="array of two thousand million nulls"),
        pytest.param(b"\x8c" + struct.pack("<ii", 2**31 - 1, -4), id="texts of a negative length"),
        pytest.param(b"\x0c" + struct.pack("<i", -4), id="a text of a negative length"),
        pytest.param(b"\x8b" + struct.pack("<i", 2**31 - 1), id="doubles that are not there"),
        pytest.param(b"\x98" + struct.pack("<i", 1), id="a variant cut short"),
        pytest.param((b"\x98" + struct.pack("<i", 1)) * 5_000, id="variants in variants"),
        pytest.param(b"\x19" + b"\x40" * 5_000, id="diagnostics in diagnostics"),
    ],
)
def test_a_length_that_lies_costs_nothing(encoded: bytes) -> None:
    answered(read(variants_of(encoded), unnamed="number"))


def array_of(kind: V, elements: int, encoded: bytes) -> bytes:
    return bytes([0x80 | kind.value]) + struct.pack("<i", elements) + encoded * elements


NULL, EMPTY_TEXT = b"\0", b"\xff" * 4


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(array_of(V.Variant, 1_000_000, NULL), id="Variants that are null"),
        pytest.param(array_of(V.DataValue, 10_001, NULL), id="DataValues that are null"),
        pytest.param(array_of(V.String, 10_001, EMPTY_TEXT), id="texts"),
        pytest.param(array_of(V.Variant, 200, array_of(V.Variant, 100, NULL)), id="arrays in an array"),
    ],
)
def test_an_array_of_too_many_elements_is_refused(encoded: bytes) -> None:
    assert codes(read(variants_of(encoded), unnamed="number")) == [(0, -1, "too_many_metrics")]


def test_elements_that_are_null_leave_their_places_out() -> None:
    encoded = array_of(V.Variant, 9_999, NULL)[:-1] + b"\x01\x01"
    decoded = read(variants_of(encoded), unnamed="number")
    assert codes(decoded) == []
    assert decoded.readings[["metric", "value"]].to_numpy().tolist() == [["field_0.9998", 1.0]]


def test_of_an_element_that_is_null_no_name_is_made() -> None:
    name = "a" * 400
    elements = [None] * (MAX_NAME_CHARACTERS_A_MESSAGE // len(name) + 1)
    decoded = read(json.dumps({"Payload": {name: [*elements, 1]}}).encode())
    assert codes(decoded) == []
    assert decoded.readings["metric"].tolist() == [f"{name}.{len(elements)}"]


def test_metadata_in_json_gives_names_and_types() -> None:
    fields = [{"Name": "code", "BuiltInType": 12}, {"Name": "t", "BuiltInType": 11}]
    described = {"Name": "oven", "Fields": fields, "ConfigurationVersion": {"MajorVersion": 1}}
    about = {"MessageType": "ua-metadata", "PublisherId": "p", "DataSetWriterId": 1, "MetaData": described}
    data = {"PublisherId": "p", "Messages": [{"DataSetWriterId": 1, "Payload": {"code": "0042", "t": "21.5"}}]}
    decoded = read(json.dumps(about).encode(), json.dumps(data).encode(), sensor="dataset_writer_name")
    assert codes(decoded) == []
    assert decoded.ignored.tolist() == [True, False]
    assert decoded.readings[["sensor", "metric", "value"]].to_numpy().tolist() == [["oven", "t", 21.5]]
    (definition,) = decoded.definitions["opcua"]
    assert definition.key == '["line1", "p", "1"]'


def test_metadata_of_an_earlier_micro_batch_is_found() -> None:
    (definition,) = read(metadata(("temperature", 11))).definitions["opcua"]
    earlier = Definitions(lambda keys: {key: [replace(definition, message=0)] for key in keys if key == definition.key})
    data = network_message(uadp.UadpDataSetVariant(uadp.UadpDataSetMessageHeader(), [ua.Variant(21.5, V.Double)]))
    route = Routes([route_of("opcua")])
    decoded = decode(table_of([data]), route, max_payload_bytes=1000, definitions_of=lambda _format: earlier)
    assert decoded.readings["metric"].tolist() == ["temperature"]


def test_metadata_on_another_route_names_what_comes_after_it_whichever_route_is_decoded_first() -> None:
    routes = Routes(
        [
            Route(name=name, filter=f"opcua/{{work_unit}}/{{sensor}}/{name}/#", format="opcua")
            for name in ("data", "metadata")
        ]
    )
    data = network_message(uadp.UadpDataSetVariant(uadp.UadpDataSetMessageHeader(), [ua.Variant(21.5, V.Double)]))
    messages = pa.concat_tables(
        one_message(f"opcua/line/oven/{name}/{WRITER}", payload, AT)
        for name, payload in [
            ("data", data),
            ("metadata", metadata(("temperature", 11))),
            ("data", data),
            ("metadata", metadata(("pressure", 11))),
            ("data", data),
        ]
    )
    decoded = decode(messages, routes, max_payload_bytes=10_000)
    assert codes(decoded) == [(0, -1, "unknown_metadata")]
    assert decoded.readings[["message", "metric"]].to_numpy().tolist() == [[2, "temperature"], [4, "pressure"]]
    assert decoded.ignored.tolist() == [False, True, False, True, False]
    assert [one.message for one in decoded.definitions["opcua"]] == [1, 3]


UNECE = "http://www.opcfoundation.org/UA/units/un/cefact"
CEL = 4408652


def information(display: str | None, unit_id: int = -1, namespace: str | None = UNECE) -> Any:
    """An EUInformation."""
    return ua.EUInformation(namespace, ua.Int32(unit_id), ua.LocalizedText(display), ua.LocalizedText("a unit"))


def field_with_unit(name: str, unit: Any, **more: Any) -> Any:
    described = ua.KeyValuePair(ua.QualifiedName("EngineeringUnits", 0), ua.Variant(unit))
    other = ua.KeyValuePair(ua.QualifiedName("EURange", 0), ua.Variant([1.0, 2.0]))
    kind = {"BuiltInType": ua.Byte(11), "ValueRank": ua.Int32(-1), **more}
    return ua.FieldMetaData(Name=name, Properties=[other, described], **kind)


@pytest.mark.parametrize(
    ("unit", "becomes"),
    [
        pytest.param(information("C", CEL), "°C", id="code of UNECE"),
        pytest.param(information(None, CEL), "°C", id="code alone"),
        pytest.param(information("F", 4604242), "farad", id="a code says more surely than its name"),
        pytest.param(information("1", 4404786), None, id="a mere number"),
        pytest.param(information("mbar/h", 0x463538), "mbar/h", id="a code of which we know the name alone"),
        pytest.param(information("pcs", 7, "urn:of-the-plant"), "pcs", id="a unit of the plant's own"),
        pytest.param(information("kPa", CEL, "urn:of-the-plant"), "kPa", id="an id of others is no code"),
        pytest.param(information("  ", -1, None), None, id="none"),
        pytest.param("C", None, id="no EUInformation"),
    ],
)
def test_the_unit_of_the_metadata_is_that_of_the_reading(unit: Any, becomes: str | None) -> None:
    data = network_message(uadp.UadpDataSetVariant(uadp.UadpDataSetMessageHeader(), [ua.Variant(21.5, V.Double)]))
    decoded = read(metadata(field_with_unit("temperature", unit)), data)
    assert codes(decoded) == []
    assert decoded.readings["unit"].tolist() == [becomes]


def test_every_code_has_a_unit_that_is_known() -> None:
    spellings = [spelling for spelling in CODES.values() if spelling]
    assert [spelling for spelling in spellings if expression(spelling) is None] == []
    assert len(set(map(expression, spellings))) == len(spellings)


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        ({}, "°C"),
        ({"unit": "K"}, "K"),
        ({"scale": 2, "unit": "K"}, "K"),
        ({"scale": 2}, None),
        ({"map": {"on": 1}}, None),
    ],
)
def test_the_route_has_the_last_word_on_a_unit(value: dict[str, Any], unit: str | None) -> None:
    data = network_message(uadp.UadpDataSetVariant(uadp.UadpDataSetMessageHeader(), [ua.Variant(21.5, V.Double)]))
    decoded = read(metadata(field_with_unit("t", information("C", CEL))), data, values={"t": value})
    assert decoded.readings["unit"].tolist() == [unit]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ({"Name": "EngineeringUnits"}, {"Type": 22, "Body": {"TypeId": {"Id": 887}, "Body": "INFO"}}),
        ("EngineeringUnits", {"TypeId": {"Id": 887}, "Body": "INFO"}),
        ("0:EngineeringUnits", {"UaType": 22, "Value": {"UaTypeId": "i=887", **dict.fromkeys(["INFO"])}}),
        ("nsu=urn:a;EngineeringUnits", "INFO"),
    ],
)
@pytest.mark.parametrize("name", ["°C", {"Locale": "en", "Text": "°C"}])
def test_units_of_metadata_in_json_in_every_form(key: Any, value: Any, name: Any) -> None:
    said = json.dumps({"DisplayName": name, "UnitId": -1, "NamespaceUri": "urn:x"})
    prop = json.dumps({"Key": key, "Value": value}).replace('"INFO": null', said[1:-1]).replace('"INFO"', said)
    field = {"Name": "t", "BuiltInType": 11, "Properties": [None, {"Key": 5}, json.loads(prop)]}
    data = {"PublisherId": "p", "Messages": [{"DataSetWriterId": 1, "Payload": {"t": 21.5, "n": [1, 2]}}]}
    decoded = read(json_metadata(field), json.dumps(data).encode())
    assert codes(decoded) == []
    assert decoded.readings["unit"].tolist() == ["°C", None, None]


def json_metadata(*fields: dict[str, Any], major: int = 1) -> bytes:
    described = {"Name": "oven", "Fields": fields, "ConfigurationVersion": {"MajorVersion": major}}
    about = {"MessageType": "ua-metadata", "PublisherId": "p", "DataSetWriterId": 1, "MetaData": described}
    return json.dumps(about).encode()


def json_field(name: str, unit: str, **more: Any) -> dict[str, Any]:
    value = {"DisplayName": {"Text": unit}, "UnitId": -1}
    return {"Name": name, "BuiltInType": 11, "Properties": [{"Key": "EngineeringUnits", "Value": value}], **more}


@pytest.mark.parametrize(("major", "unit"), [(1, "bar"), (0, "bar"), (2, None)])
def test_metadata_of_another_version_says_no_units_in_json(major: int, unit: str | None) -> None:
    message = {"DataSetWriterId": 1, "MetaDataVersion": {"MajorVersion": major}, "Payload": {"p": 3.5}}
    data = {"PublisherId": "p", "Messages": [message]}
    decoded = read(json_metadata(json_field("p", "bar")), json.dumps(data).encode())
    assert decoded.readings["unit"].tolist() == [unit]


def test_elements_of_an_array_have_its_unit_and_parts_of_a_structure_have_none() -> None:
    about = json_metadata(json_field("a", "bar"), json_field("s", "bar", BuiltInType=22))
    data = {"PublisherId": "p", "Messages": [{"DataSetWriterId": 1, "Payload": {"a": [1, 2], "s": {"x": 1}}}]}
    decoded = read(about, json.dumps(data).encode())
    assert decoded.readings[["metric", "unit"]].to_numpy().tolist() == [["a.0", "bar"], ["a.1", "bar"], ["s.x", None]]


@pytest.mark.parametrize("unit", ["a\0b", "\ud800"])
def test_a_unit_that_cannot_be_kept_is_none(unit: str) -> None:
    data = {"PublisherId": "p", "Messages": [{"DataSetWriterId": 1, "Payload": {"t": 1}}]}
    decoded = read(json_metadata(json_field("t", unit)), json.dumps(data).encode())
    assert decoded.readings["unit"].tolist() == [None]


def test_what_metadata_says_is_kept_as_it_was_kept_before_there_were_units() -> None:
    """Otherwise what stands would look as if it had been decoded with something else."""
    fields = (NamedField("a", 11), NamedField("b", None, is_array=True))
    assert DataSetMetaData(fields=fields).content["fields"] == [["a", 11, False], ["b", None, True]]


@given(
    st.builds(
        NamedField,
        st.text(),
        st.none() | st.integers(1, 25),
        st.booleans(),
        st.none() | st.text(min_size=1),
        st.lists(st.integers(0, 9)).map(tuple),
        st.integers(0, 9),
    )
)
def test_what_metadata_says_is_known_again(field: NamedField) -> None:
    assert NamedField.of_content(json.loads(json.dumps(field.content))) == field


def raw(*parts: bytes) -> bytes:
    return network_message(uadp.UadpDataSetRaw(uadp.UadpDataSetMessageHeader(), b"".join(parts)))


def array(*dimensions: int, kind: int = 11) -> dict[str, Any]:
    sizes = [ua.UInt32(size) for size in dimensions]
    rank = ua.Int32(len(dimensions) or 1)
    return {"BuiltInType": ua.Byte(kind), "ValueRank": rank, "ArrayDimensions": sizes}


LAST = struct.pack("<d", 7.5)


@pytest.mark.parametrize(
    ("about", "sent", "values"),
    [
        pytest.param(array(), struct.pack("<Idd", 2, 1.5, 2.5), [1.5, 2.5], id="of any size"),
        pytest.param(array(0), struct.pack("<I", 0), [], id="empty"),
        pytest.param(array(2, kind=4), struct.pack("<Ihh", 2, -1, 3), [-1, 3], id="of the size named"),
        pytest.param(array(3), struct.pack("<Idd", 2, 1.5, 2.5) + bytes(8), [1.5, 2.5], id="filled up"),
        pytest.param(array(2, 2, kind=3), struct.pack("<II4B", 2, 2, 1, 2, 3, 4), [1, 2, 3, 4], id="matrix"),
    ],
)
def test_raw_arrays_are_read_by_their_metadata(about: dict[str, Any], sent: bytes, values: list[float]) -> None:
    fields = [field_with_unit("a", information("bar"), **about), field_with_unit("b", None)]
    decoded = read(metadata(*fields), raw(sent, LAST))
    assert codes(decoded) == []
    assert decoded.readings["value"].tolist() == [*values, 7.5]
    assert decoded.readings["metric"].tolist() == [*(f"a.{place}" for place in range(len(values))), "b"]
    assert decoded.readings["unit"].tolist() == [*("bar" for _ in values), None]


@pytest.mark.parametrize(("longest", "filling"), [(0, b""), (8, bytes(5))])
@pytest.mark.parametrize("text", [False, True])
def test_raw_texts_are_read_and_taken_where_the_route_says_so(longest: int, filling: bytes, text: bool) -> None:
    words = {"BuiltInType": ua.Byte(12), "MaxStringLength": ua.UInt32(longest)}
    fields = [field_with_unit("state", None, **words), field_with_unit("b", None)]
    decoded = read(metadata(*fields), raw(struct.pack("<i", 3), b"run", filling, LAST), text=text)
    assert codes(decoded) == []
    told = decoded.readings[["metric", "text"]].to_numpy().tolist()
    assert told == [*([["state", "run"]] if text else []), ["b", None]]


@pytest.mark.parametrize(
    ("about", "sent", "code"),
    [
        pytest.param({"BuiltInType": ua.Byte(22)}, LAST, "unsupported_type", id="a structure"),
        pytest.param(array(kind=12), struct.pack("<I", 0), "unsupported_type", id="array of texts"),
        pytest.param(array(2), struct.pack("<I3d", 3, 1, 2, 3), "invalid_network_message", id="more than named"),
        pytest.param(array(), struct.pack("<I", 2**32 - 1), "invalid_network_message", id="a size that lies"),
        pytest.param(
            {**array(0, 0, kind=3)},
            struct.pack("<II", 2**31, 2**31),
            "invalid_network_message",
            id="a matrix that lies",
        ),
        pytest.param(
            array(2, 2, kind=3), struct.pack("<II2B", 1, 2, 1, 2), "unsupported_type", id="a matrix that is not full"
        ),
        pytest.param(
            {"BuiltInType": ua.Byte(12), "MaxStringLength": ua.UInt32(2)},
            struct.pack("<i", 3) + b"run",
            "invalid_network_message",
            id="longer than named",
        ),
    ],
)
def test_raw_fields_that_are_not_read_refuse_the_message(about: dict[str, Any], sent: bytes, code: str) -> None:
    decoded = read(metadata(field_with_unit("a", None, **about), field_with_unit("b", None)), raw(sent))
    assert codes(decoded) == [(1, -1, code)]


@given(st.binary(max_size=40))
def test_any_raw_bytes_are_readings_or_a_reason(sent: bytes) -> None:
    fields = [
        field_with_unit("a", None, **array(2, 0, kind=5)),
        field_with_unit("t", None, BuiltInType=ua.Byte(12), MaxStringLength=ua.UInt32(4)),
        field_with_unit("b", None),
    ]
    decoded = read(metadata(*fields), raw(sent))
    assert {refusal.code for refusal in decoded.refusals} <= DEAD_LETTER_CODES.keys() - {"transformer_failed"}


@pytest.mark.parametrize(
    "payload",
    [
        b'{"MessageType": "ua-status", "PublisherId": "p", "Status": 0}',
        b'{"MessageType": "ua-connection", "PublisherId": "p"}',
        b'{"MessageType": "ua-data", "Messages": [{"DataSetWriterId": 1, "MessageType": "ua-keepalive"}]}',
        network_message(uadp.UadpDataSetKeepAlive(uadp.UadpDataSetMessageHeader())),
        metadata(("temperature", 11)),
        b"\x81\x80\x04\x02",
    ],
)
def test_what_carries_no_values_by_its_nature_is_ignored(payload: bytes) -> None:
    decoded = read(payload)
    assert codes(decoded) == []
    assert decoded.ignored.tolist() == [True]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b'{"MessageType": "ua-metadata", "MetaData": {"Fields": []}}', "invalid_network_message"),
        (b'{"MessageType": "ua-metadata", "PublisherId": "p", "DataSetWriterId": 1}', "invalid_network_message"),
        (metadata(("a\0b", 11)), "text_not_storable"),
        (metadata(("temperature", 11))[:-30], "invalid_network_message"),
    ],
)
def test_metadata_that_cannot_be_kept_is_refused(payload: bytes, code: str) -> None:
    assert codes(read(payload)) == [(0, -1, code)]


def test_nan_is_taken_where_the_route_says_so() -> None:
    decoded = read(b'{"Payload": {"a": "NaN", "b": {"Type": 11, "Body": "-Infinity"}}}', allow_nan=True)
    first, second = decoded.readings["value"]
    assert math.isnan(first)
    assert second == -math.inf


@pytest.mark.parametrize(
    ("line", "readings", "refused"),
    [
        (7, [("Temperature", 99.0, 1_585_092_655_989_146), ("Counter", 251.0, 1_585_092_655_989_146)], []),
        (
            8,
            [("IsRotating", 1.0, RECEIVED_US), ("Override", 103.0, RECEIVED_US), ("IsUsedAsAxis", 0.0, RECEIVED_US)],
            [],
        ),
        (9, [("Button", 1.0, 1_770_751_800_000_000)], []),
        (10, [], ["no_readings"]),
    ],
)
def test_messages_that_were_recorded(
    recorded_data: Path, line: int, readings: list[tuple[str, float, int]], refused: list[str]
) -> None:
    entry = json.loads((recorded_data / "devices" / "misc.jsonl").read_text("utf-8").splitlines()[line - 1])
    decoded = read(entry["payload"].encode())
    columns = (decoded.readings[name].tolist() for name in ("metric", "value", "time"))
    assert list(zip(*columns, strict=True)) == readings
    assert [code for _, _, code in codes(decoded)] == refused
