"""The route file as a JSON Schema, for editors: what they complete and underline is what `routes check` accepts."""

from types import UnionType
from typing import Any

from pydantic import BaseModel

from sensor_platform.routes.contract import Contract
from sensor_platform.routes.deadband import Deadband
from sensor_platform.routes.entry import ROUTE_KEYS
from sensor_platform.routes.included import KEYS, families
from sensor_platform.transformers import registry

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TYPES: dict[type | UnionType, dict[str, Any]] = {
    str: {"type": "string", "minLength": 1},
    bool: {"type": "boolean"},
    dict: {"type": "object"},
}


def json_schema() -> dict[str, Any]:
    """The schema. Formats of your own may be named as well; their options are free."""
    definitions: dict[str, Any] = {}
    return {
        "$schema": DIALECT,
        "title": "Routes of sensor-platform",
        "type": "object",
        "anyOf": [{"required": ["routes"]}, {"required": ["include"]}],
        "additionalProperties": False,
        "properties": {
            "transformers": {"type": "array", "items": {"type": "string"}},
            "contracts": {"type": "object", "additionalProperties": _defined(Contract, definitions)},
            "include": {"type": "array", "items": _included()},
            "routes": {"type": "array", "items": _route(definitions)},
        },
        "$defs": definitions,
    }


def _route(definitions: dict[str, Any]) -> dict[str, Any]:
    properties = {name: _accepted(accepts) for name, accepts in ROUTE_KEYS.items() if name != "contract"}
    properties["contract"] = {"anyOf": [_defined(Contract, definitions), {"type": "string", "minLength": 1}]}
    properties["format"] = {"anyOf": [{"enum": registry.known()}, {"type": "string", "minLength": 1}]}
    properties["units"] = {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}}
    properties["report_by_exception"] = {"type": "object", "additionalProperties": _defined(Deadband, definitions)}
    return {
        "type": "object",
        "required": ["name", "filter"],
        "additionalProperties": False,
        "properties": properties,
        "anyOf": [{"required": ["format"]}, {"required": ["ignore"]}],
        "allOf": [_options(name, definitions) for name in registry.known_here()],
    }


def _included() -> dict[str, Any]:
    file = {"anyOf": [{"enum": families()}, {"type": "string", "pattern": r"/|\.ya?ml$"}]}
    texts = {key: dict(_TYPES[str]) for key in KEYS}
    mapping = {"type": "object", "required": ["file"], "additionalProperties": False, "properties": texts}
    return {"anyOf": [file, mapping | {"properties": texts | {"file": file}}]}


def _accepted(accepts: type | UnionType | tuple[str, ...]) -> dict[str, Any]:
    return {"enum": list(accepts)} if isinstance(accepts, tuple) else dict(_TYPES[accepts])


def _options(name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Where the format is `name`, the options are as its model has them."""
    model = registry.get(name).options
    if model is None:
        return {}
    then: dict[str, Any] = {"properties": {"options": _defined(model, definitions)}}
    if definitions[model.__name__].get("required"):
        then["required"] = ["options"]
    return {"if": {"required": ["format"], "properties": {"format": {"const": name}}}, "then": then}


def _defined(model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    """A reference to the schema of `model`, which stands among the definitions."""
    found = model.model_json_schema(ref_template="#/$defs/{model}")
    definitions |= found.pop("$defs", {})
    definitions[model.__name__] = found
    return {"$ref": f"#/$defs/{model.__name__}"}
