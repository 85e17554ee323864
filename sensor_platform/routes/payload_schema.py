"""The JSON Schema of what a JSON payload has to hold: the default rules, and the contract of its route.

It says what to send. The routes accept a little more (a number in a text, an array of such objects, nested metrics).
"""

import re
from collections.abc import Iterator
from typing import Any

from sensor_platform.routes.contract import Contract, MetricRule, ValueType
from sensor_platform.routes.model import Route

#: Options that say themselves where the readings stand: the default rules do not hold there.
MAPPED = ("readings", "wide", "each")

Schema = dict[str, Any]

_BESIDE: Schema = {
    "timestamp": {
        "type": ["string", "number"],
        "description": "ISO 8601, or a number since 1970 in s, ms, us or ns; left out: when it was received",
    },
    "quality": {"enum": ["good", "uncertain", "bad"]},
}
_TYPES: dict[ValueType, Schema] = {
    "number": {"type": "number"},
    "integer": {"type": "integer"},
    "boolean": {"enum": [True, False, 1, 0]},
    "text": {"type": "string"},
}
_NO_CONTRACT = Contract(version="0")


def payload_schema(route: Route) -> Schema | None:
    """The schema; None where the payload is no JSON, is compressed, is read by paths of the route's own, or
    no single object fulfils the contract."""
    if route.format != "json" or route.compression != "none" or any(name in route.options for name in MAPPED):
        return None
    contract = route.promises or _NO_CONTRACT
    forms = [*_one_reading(route, contract), *_several_readings(contract)]
    return {"type": "object", "anyOf": forms} if forms else None


def _one_reading(route: Route, contract: Contract) -> Iterator[Schema]:
    """A form a metric that one reading may be of; none where the contract requires more than one of a message."""
    if len(contract.required) > 1:
        return
    for name, rule in contract.metrics.items():
        if not contract.required or rule.required:
            yield _reading(_anything_of(name), is_default=name == "value", value=_value(rule))
    if not contract.required and contract.other_metrics == "allow":
        value: Schema = {"type": ["number", "boolean", "string"] if route.text else ["number", "boolean"]}
        others = {"not": {"anyOf": [_anything_of(name) for name in contract.metrics]}} if contract.metrics else {}
        yield _reading({"type": "string", **others}, is_default="value" not in contract.metrics, value=value)


def _several_readings(contract: Contract) -> Iterator[Schema]:
    """The forms in which every name is a metric; none where a text is required, for texts are no readings there."""
    if any(rule.required and _is_text(rule) for rule in contract.metrics.values()):
        return
    metrics = _metrics(contract)
    yield {
        "title": "several readings",
        "required": ["metrics"],
        "properties": {"metrics": metrics, **_BESIDE},
        "not": {"required": ["value"]},
    }
    yield {
        "title": "several readings, beside the time",
        **metrics,
        "properties": {**metrics["properties"], **_BESIDE},
        "not": {"anyOf": [{"required": ["value"]}, {"required": ["metrics"]}]},
    }


def _is_text(rule: MetricRule) -> bool:
    return rule.kind == "text" or (rule.one_of is not None and not rule.numbers)


def _reading(metric: Schema, *, is_default: bool, value: Schema) -> Schema:
    return {
        "title": "one reading",
        "required": ["value"] if is_default else ["value", "metric"],
        "properties": {"metric": metric, "value": value, "unit": {"type": "string"}, **_BESIDE},
    }


def _metrics(contract: Contract) -> Schema:
    """An object whose names are metrics. Those with a dot may be nested, which this does not show."""
    rules = {name: rule for name, rule in contract.metrics.items() if not _is_text(rule)}
    plain = {name: rule for name, rule in rules.items() if not _is_pattern(name)}
    patterns = {name: rule for name, rule in rules.items() if _is_pattern(name)}
    required = [name for name in contract.required.values() if name in plain and "." not in name]
    closed = contract.other_metrics == "refuse"
    return {
        "type": "object",
        "properties": {name: _value(rule) for name, rule in plain.items()},
        **({"patternProperties": dict(_patterns(list(plain), patterns))} if patterns else {}),
        **({"required": required} if required else {}),
        # Texts and null are no readings there; below an object stand metrics with a dot.
        **({"additionalProperties": {"type": ["string", "null", "object"]}} if closed else {}),
    }


def _patterns(names: list[str], patterns: dict[str, MetricRule]) -> Iterator[tuple[str, Schema]]:
    """Each pattern but for what goes before it: exact names, and the patterns above."""
    before = [re.escape(name) for name in names]
    for name, rule in patterns.items():
        excluded = f"(?!(?:{'|'.join(before)})$)" if before else ""
        yield f"^{excluded}{_expression(name)}$", _value(rule)
        before.append(_expression(name))


def _value(rule: MetricRule) -> Schema:
    limits = {"minimum": rule.minimum, "maximum": rule.maximum, "x-max-rate-per-s": rule.max_rate_per_s}
    kind = {} if rule.kind is None else _TYPES[rule.kind]
    among = {} if rule.one_of is None else {"enum": list(rule.one_of)}
    about = {} if rule.description is None else {"description": rule.description}
    return {**kind, **among, **{name: limit for name, limit in limits.items() if limit is not None}, **about}


def _anything_of(name: str) -> Schema:
    return {"type": "string", "pattern": f"^{_expression(name)}$"} if _is_pattern(name) else {"const": name}


def _is_pattern(name: str) -> bool:
    return "*" in name or "?" in name


def _expression(pattern: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
