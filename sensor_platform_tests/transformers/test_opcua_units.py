"""Units of the metadata: by code, else by name; what metadata says is kept and known again."""

import json
from typing import Any

import pytest
from asyncua import ua
from asyncua.pubsub import uadp
from hypothesis import given
from hypothesis import strategies as st

from sensor_platform.transformers.opcua_dataset import DataSetMetaData, NamedField
from sensor_platform.transformers.opcua_units import CODES
from sensor_platform.transformers.units import expression
from sensor_platform_tests.transformers.decoding import codes
from sensor_platform_tests.transformers.opcua import (
    V,
    field_with_unit,
    information,
    metadata,
    network_message,
    read,
)

CEL = 4408652


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
