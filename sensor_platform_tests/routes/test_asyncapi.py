"""The AsyncAPI document: valid by AsyncAPI's own schema, without secrets, and true of payloads."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as settings_of
from hypothesis import strategies as st
from pydantic import SecretStr

from sensor_platform.pipeline.explain import explain
from sensor_platform.pipeline.message import OneMessage
from sensor_platform.routes.asyncapi import asyncapi
from sensor_platform.routes.file import parse_routes
from sensor_platform.settings import MqttSettings, Settings

SCHEMA = json.loads((Path(__file__).parent / "asyncapi" / "schema.json").read_text())
ROUTES = """\
routes:
  - name: climate
    filter: plant/{work_unit}/{sensor}/climate
    format: json
    contract:
      version: 3
      description: Climate in the halls.
      sensor: th-\\d+
      metrics:
        t: {required: true, minimum: -40, maximum: 125, max_rate_per_s: 5}
        door: {one_of: [open, closed]}
        vib.x: {maximum: 20}
        "vib.*": {type: integer, maximum: 10}
      other_metrics: refuse
  - {name: free, filter: 'free/{work_unit}/{sensor}', format: json}
  - name: "Ofen / Süd"
    filter: oven/+/{sensor}/#
    format: binary
    work_unit: w
    options: {fields: [{name: a, type: uint8}]}
  - {name: "Ofen - S-d", filter: 'packed/{work_unit}/{sensor}', format: json, compression: gzip}
  - {name: pack, filter: 'senml/{work_unit}/{sensor}', format: senml, options: {encoding: cbor}}
  - {name: chatter, filter: 'chatter/#', ignore: true}
"""


def document(settings: Settings | None = None, text: str = ROUTES) -> dict[str, Any]:
    return asyncapi(parse_routes(text), settings or Settings())


def with_broker(**mqtt: Any) -> Settings:
    return Settings(mqtt=MqttSettings(**mqtt))


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        with_broker(broker_url="mqtts://user:very-secret@broker.example:9883", tls_cert=Path("c.pem")),
        with_broker(broker_url="wss://broker.example/mqtt", protocol="3.1.1"),
        with_broker(broker_url="mqtt://[::1]", username="u", password=SecretStr("very-secret")),
    ],
)
def test_the_document_is_valid_by_the_schema_of_asyncapi_and_holds_no_secret(settings: Settings) -> None:
    found = json.loads(json.dumps(document(settings)))
    jsonschema.Draft7Validator(SCHEMA).validate(found)
    assert "very-secret" not in json.dumps(found)


def test_the_schema_of_asyncapi_refuses_what_is_no_document() -> None:
    broken = document()
    broken["operations"]["receive-free"]["action"] = "take"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(SCHEMA).validate(broken)


@pytest.mark.parametrize(
    ("settings", "server"),
    [
        (
            Settings(),
            {
                "host": "127.0.0.1:1883",
                "protocol": "mqtt",
                "security": [{"$ref": "#/components/securitySchemes/password"}],
            },
        ),
        (
            with_broker(broker_url="mqtts://u:p@b.example", tls_cert=Path("c.pem")),
            {
                "host": "b.example:8883",
                "protocol": "secure-mqtt",
                "security": [
                    {"$ref": "#/components/securitySchemes/password"},
                    {"$ref": "#/components/securitySchemes/certificate"},
                ],
            },
        ),
        (
            with_broker(broker_url="ws://b.example:9001/mqtt", tls_enabled=True, protocol="5"),
            {"host": "b.example:9001", "protocol": "wss", "protocolVersion": "5", "pathname": "/mqtt"},
        ),
        (with_broker(broker_url="mqtt://[::1]"), {"host": "[::1]:1883", "protocol": "mqtt"}),
    ],
)
def test_the_server_is_the_broker_of_the_settings(settings: Settings, server: dict[str, Any]) -> None:
    assert document(settings)["servers"] == {"broker": server}


def test_every_reference_leads_somewhere() -> None:
    found = document()
    references = re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(found))
    assert references
    for reference in references:
        place = found
        for step in reference.split("/"):
            place = place[step]


def test_channels_are_the_filters_with_a_parameter_for_every_level_that_is_not_fixed() -> None:
    channels = document()["channels"]
    assert {name: (one["address"], one["x-topic-filter"]) for name, one in channels.items()} == {
        "climate": ("plant/{work_unit}/{sensor}/climate", "plant/+/+/climate"),
        "free": ("free/{work_unit}/{sensor}", "free/+/+"),
        "Ofen-S-d": ("oven/{level_2}/{sensor}/{rest}", "oven/+/+/#"),
        "Ofen---S-d": ("packed/{work_unit}/{sensor}", "packed/+/+"),
        "pack": ("senml/{work_unit}/{sensor}", "senml/+/+"),
    }
    assert channels["climate"]["parameters"]["sensor"] == {"description": "the sensor's name; matches th-\\d+"}
    assert channels["Ofen-S-d"]["parameters"]["rest"] == {"description": "any number of levels"}


def test_names_that_become_the_same_are_numbered() -> None:
    text = "routes: [{name: a b, filter: 'a/{work_unit}/{sensor}', format: json}, "
    text += "{name: a/b, filter: 'b/{work_unit}/{sensor}', format: json}]"
    assert list(document(text=text)["operations"]) == ["receive-a-b", "receive-a-b-2"]


def test_messages_say_their_content_type_and_the_contract() -> None:
    messages = document()["components"]["messages"]
    assert {name: one["contentType"] for name, one in messages.items()} == {
        "climate": "application/json",
        "free": "application/json",
        "Ofen-S-d": "application/octet-stream",
        "Ofen---S-d": "application/gzip",
        "pack": "application/senml+cbor",
    }
    assert [name for name, one in messages.items() if "payload" in one] == ["free", "climate"]
    assert messages["climate"]["description"] == "Climate in the halls."
    assert messages["climate"]["x-contract"]["version"] == "3"


def test_the_version_of_the_document_changes_with_a_contract() -> None:
    version = document()["info"]["version"]
    assert document()["info"]["version"] == version
    assert document(text=ROUTES.replace("maximum: 125", "maximum: 126"))["info"]["version"] != version


def accepts(message: str, payload: Any) -> bool:
    schema = document()["components"]["messages"][message]["payload"]
    return bool(jsonschema.Draft7Validator(schema).is_valid(payload))


@pytest.mark.parametrize(
    ("payload", "accepted"),
    [
        ({"value": 20, "metric": "t", "unit": "C", "timestamp": "2026-01-01T00:00:00Z"}, True),
        ({"value": 200, "metric": "t"}, False),
        ({"value": 20}, False),
        ({"value": "open", "metric": "door"}, False),  # t is required of every message
        ({"metrics": {"t": 20, "vib.y": 5, "note": "words are no readings"}}, True),
        ({"metrics": {"vib.y": 5}}, False),
        ({"metrics": {"t": 20, "vib.y": 11}}, False),
        ({"metrics": {"t": 20, "vib.x": 11.5}}, True),
        ({"metrics": {"t": 20, "other": 5}}, False),
        ({"t": 20, "vib": {"x": 5}, "quality": "good"}, True),
        ({"t": 20, "quality": "splendid"}, False),
        ({"t": 20, "other": 5}, False),
        ({"value": "x", "metric": "t", "metrics": {"t": 20}}, False),
        ([], False),
    ],
)
def test_the_schema_of_a_payload_holds_the_contract(payload: Any, accepted: bool) -> None:
    assert accepts("climate", payload) is accepted


names = st.sampled_from(["t", "door", "vib.x", "vib.y", "other", "note"])
contents = st.one_of(st.sampled_from([-41, 0, 5, 7.5, 15, 130]), st.sampled_from([True, None, "open", "20"]))
metrics = st.dictionaries(names, contents, max_size=3).map(lambda some: {"t": 20, **some})
beside = st.sampled_from([{}, {"quality": "bad"}, {"quality": "splendid"}, {"timestamp": "2026-01-01T00:00:00Z"}])
payloads = st.one_of(
    st.builds(lambda name, value, more: {"metric": name, "value": value, **more}, names, contents, beside),
    st.builds(lambda found, more: {"metrics": found, **more}, metrics, beside),
    st.builds(lambda found, more: found | more, metrics, beside),
)
CLIMATE = jsonschema.Draft7Validator(document()["components"]["messages"]["climate"]["payload"])


@settings_of(max_examples=50, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(payloads)
def test_what_the_schema_of_a_payload_lets_in_is_accepted(payload: Any) -> None:
    assume(CLIMATE.is_valid(payload))
    message = OneMessage(b"plant/hall1/th-1/climate", json.dumps(payload).encode(), datetime(2026, 1, 1, tzinfo=UTC))
    assert explain(message, parse_routes(ROUTES), max_payload_bytes=1000).refusals == []


@pytest.mark.parametrize(
    ("payload", "accepted"),
    [({"value": 1}, True), ({"value": True, "metric": "m"}, True), ({"value": None}, False), ({"a": {"b": 1}}, True)],
)
def test_without_a_contract_the_default_rules_are_the_schema(payload: Any, accepted: bool) -> None:
    assert accepts("free", payload) is accepted


@pytest.mark.parametrize(
    ("metrics", "forms"),
    [
        ("{a: {required: true}, b: {required: true}}", ["several readings", "several readings, beside the time"]),
        ("{a: {required: true, type: text}, b: }", ["one reading"]),
        ("{a: {required: true, type: text}, b: {required: true}}", None),
    ],
)
def test_forms_in_which_the_contract_cannot_be_kept_are_not_shown(metrics: str, forms: list[str] | None) -> None:
    text = "routes: [{name: r, filter: 'a/{work_unit}/{sensor}', format: json, text: true, "
    text += f"contract: {{version: 1, metrics: {metrics}}}}}]"
    payload = document(text=text)["components"]["messages"]["r"].get("payload")
    assert (payload and [form["title"] for form in payload["anyOf"]]) == forms
