"""The routes as an AsyncAPI 3.0 document: which topics there are, and what a message on each has to hold.

For whoever publishes. It is made of the route file and the settings, so it is never behind them.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sensor_platform.routes.contract import Contract
from sensor_platform.routes.model import Route, Routes
from sensor_platform.routes.payload_schema import payload_schema
from sensor_platform.settings import MqttSettings, Settings

ASYNCAPI = "3.0.0"

#: Schemes of broker URLs -> protocol in AsyncAPI's words, and the port where the URL has none.
PROTOCOLS = {"mqtt": ("mqtt", 1883), "mqtts": ("secure-mqtt", 8883), "ws": ("ws", 80), "wss": ("wss", 443)}

CONTENT_TYPES = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "cbor": "application/cbor",
    "msgpack": "application/vnd.msgpack",
    "influx": "text/plain",
    "value": "text/plain",
}
ANY_BYTES = "application/octet-stream"


def asyncapi(routes: Routes, settings: Settings) -> dict[str, Any]:
    """The document, in JSON's own types. Routes that ignore are not in it, nor is any secret."""
    described = [_Described(name, route) for name, route in _named(routes)]
    secured = _security(settings.mqtt)
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "Sensor messages",
            "version": _version(described),
            "description": "Topics that the sensor platform collects, and what is accepted on each.",
        },
        "servers": {"broker": _server(settings, secured)},
        "channels": {one.name: one.channel() for one in described},
        "operations": {f"receive-{one.name}": one.operation() for one in described},
        "components": {
            "messages": {one.name: one.message() for one in described},
            **({"securitySchemes": secured} if secured else {}),
        },
    }


def _version(described: list["_Described"]) -> str:
    """Changes with the definition of any route."""
    versions = "\n".join(sorted(one.route.version for one in described))
    return hashlib.sha256(versions.encode()).hexdigest()[:12]


def _named(routes: Routes) -> Iterator[tuple[str, Route]]:
    """Each route that decodes, under a name that a reference can hold."""
    taken: set[str] = set()
    for route in routes:
        if route.ignore:
            continue
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", route.name)
        name, number = plain, 2
        while name in taken:
            name, number = f"{plain}-{number}", number + 1
        taken.add(name)
        yield name, route


def _server(settings: Settings, secured: dict[str, Any]) -> dict[str, Any]:
    url = urlsplit(settings.mqtt.broker_url or f"mqtt://{settings.api.host}:{settings.api.broker_port}")
    protocol, port = PROTOCOLS[url.scheme]
    if settings.mqtt.tls_enabled:
        protocol = {"mqtt": "secure-mqtt", "ws": "wss"}.get(protocol, protocol)
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    return {
        "host": f"{host}:{url.port or port}",
        "protocol": protocol,
        **({} if settings.mqtt.protocol == "auto" else {"protocolVersion": settings.mqtt.protocol}),
        **({"pathname": url.path} if url.path.strip("/") else {}),
        **({"security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in secured]} if secured else {}),
    }


def _security(mqtt: MqttSettings) -> dict[str, Any]:
    embedded = mqtt.broker_url is None
    by_url = mqtt.broker_url is not None and urlsplit(mqtt.broker_url).username is not None
    return {
        **({"password": {"type": "userPassword"}} if embedded or by_url or mqtt.username is not None else {}),
        **({"certificate": {"type": "X509"}} if mqtt.tls_cert is not None else {}),
    }


@dataclass(frozen=True, slots=True)
class _Described:
    """A route as a channel with one message and one operation."""

    name: str
    route: Route

    def channel(self) -> dict[str, Any]:
        address, parameters = _address(self.route)
        return {
            "address": address,
            "title": self.route.name,
            "messages": {"message": {"$ref": f"#/components/messages/{self.name}"}},
            **({"parameters": parameters} if parameters else {}),
            "x-topic-filter": self.route.topic_filter.subscription,
        }

    def operation(self) -> dict[str, Any]:
        return {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{self.name}"},
            "messages": [{"$ref": f"#/channels/{self.name}/messages/message"}],
            # What the collector subscribes with. QoS 0 is received too, without a promise.
            "bindings": {"mqtt": {"qos": 1, "bindingVersion": "0.2.0"}},
        }

    def message(self) -> dict[str, Any]:
        promises, payload = self.route.promises, payload_schema(self.route)
        about = [promises.description] if promises is not None and promises.description else []
        if self.route.compression != "none":
            about.append(f"Compressed: {self.route.compression}.")
        return {
            "name": self.name,
            "title": self.route.name,
            "contentType": _content_type(self.route),
            **({"description": " ".join(about)} if about else {}),
            **({"payload": payload} if payload is not None else {}),
            "x-format": self.route.format,
            "x-route-version": self.route.version,
            **({"x-contract": promises.model_dump(mode="json", exclude_defaults=True)} if promises else {}),
        }


def _content_type(route: Route) -> str:
    if route.compression != "none":
        return f"application/{route.compression}"
    if route.format == "senml":
        return f"application/senml+{route.options.get('encoding', 'json')}"
    if route.format == "opcua":
        return "application/json" if route.options.get("encoding") == "json" else ANY_BYTES
    return CONTENT_TYPES.get(route.format, ANY_BYTES)


def _address(route: Route) -> tuple[str, dict[str, Any]]:
    """The topic with a parameter for each level that is not fixed, since AsyncAPI has no wildcards."""
    captured = dict(route.topic_filter.captures)
    levels: list[str] = []
    parameters: dict[str, Any] = {}
    for index, level in enumerate(route.topic_filter.levels):
        if level not in ("+", "#"):
            levels.append(level)
            continue
        name = captured.get(index, "rest" if level == "#" else f"level_{index + 1}")
        levels.append(f"{{{name}}}")
        parameters[name] = {"description": _meaning(name, level, route.promises)}
    return "/".join(levels), parameters


def _meaning(name: str, level: str, promises: Contract | None) -> str:
    if level == "#":
        return "any number of levels"
    meaning = {"work_unit": "the place in the plant", "sensor": "the sensor's name"}.get(name, "any one level")
    pattern = getattr(promises, name, None) if name in ("work_unit", "sensor") else None
    return meaning if pattern is None else f"{meaning}; matches {pattern}"
