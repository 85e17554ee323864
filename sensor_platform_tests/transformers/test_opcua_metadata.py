"""Metadata names the fields of what comes after it, in its plant, across routes and micro-batches."""

import json
import struct
from dataclasses import replace

import pyarrow as pa
import pytest
from asyncua import ua
from asyncua.pubsub import uadp

from sensor_platform.pipeline.decode import decode, one_message
from sensor_platform.routes.model import Route, Routes
from sensor_platform.transformers.definitions import Definitions
from sensor_platform_tests.transformers.decoding import codes, route_of, table_of
from sensor_platform_tests.transformers.opcua import (
    AT,
    WRITER,
    V,
    metadata,
    network_message,
    read,
)


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
