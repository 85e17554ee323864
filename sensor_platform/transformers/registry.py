"""The formats by name. Those that come along are imported on first use: the collector reads routes without pandas.

A format of your own is a decorated function in a module that the route file names under `transformers:`:

    @transformer("press-log")
    def press_log(payload: bytes, topic: str, received_at: datetime) -> Iterable[dict[str, Any]]:
        force, at = payload.split(b"@")
        yield {"metric": "force", "value": float(force), "unit": "kN", "timestamp": int(at)}
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route
    from sensor_platform.transformers.contract import Transformer

#: Formats that come along -> the module that registers each.
BUILT_IN = {
    name: f"sensor_platform.transformers.{name}"
    for name in [
        *("binary", "cbor", "csv", "influx", "json", "modbus", "msgpack", "ndjson", "opcua"),
        *("ruuvi", "senml", "sparkplug", "value"),
    ]
}

#: Formats that know by themselves which sensor a message is of: their routes need not say it.
NAMES_SENSORS = frozenset({"sparkplug"})

F = TypeVar("F", bound=Callable[..., Any])


class FormatOptions(BaseModel):
    """Base of what a format takes under `options` of a route. Refused with line and reason when the file is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")


OptionsT = TypeVar("OptionsT", bound=FormatOptions)


@dataclass(frozen=True, slots=True)
class Registered:
    """A format: its transformer, and the version that the ledger notes beside what it made.

    options: the model of what routes say under `options`; None: whatever they like.
    """

    name: str
    version: str
    transform: "Transformer"
    options: type[FormatOptions] | None = None


_registered: dict[str, Registered] = {}


def transformer(
    name: str, *, version: str = "1", columns: bool = False, options: type[FormatOptions] | None = None
) -> Callable[[F], F]:
    """Registers the decorated function as the format `name`.

    Args:
        name: what routes say under `format`.
        version: noted in the ledger; change it when the function's readings change.
        columns: False: the function takes one payload, its topic and received time, and yields dicts as in the default
            JSON route (`metric, value, timestamp, unit, quality`, also `work_unit, sensor`). True: it takes a
            `PayloadColumn` and a `Route` and returns a `Decoded`, for whole groups at once.
        options: what routes of this format may say under `options`; the function gets it by `options_of`.
    """

    def register(function: F) -> F:
        module = function.__module__
        known = _registered.get(name)
        if name in BUILT_IN and module != BUILT_IN[name]:
            raise ValueError(f'format "{name}" comes with sensor_platform: choose another name')
        if known is not None and _origin(known) != (module, function.__qualname__):
            raise ValueError(f'format "{name}" is registered by {".".join(_origin(known))} already')
        _registered[name] = Registered(name, version, function if columns else _per_payload(function), options)
        return function

    return register


def get(name: str) -> Registered:
    """The transformer of a format. Raises KeyError with the known ones."""
    if name not in _registered and name in BUILT_IN:
        importlib.import_module(BUILT_IN[name])
    try:
        return _registered[name]
    except KeyError:
        raise KeyError(f'unknown format "{name}". Known: {", ".join(known())}') from None


def options_of(route: "Route", model: type[OptionsT]) -> OptionsT:
    """The options of a route, as the model of its format has them; parsed once."""
    parsed = route.__dict__.get("parsed_options")
    if type(parsed) is not model:
        parsed = route.__dict__["parsed_options"] = model.model_validate(dict(route.options))
    return parsed


def known() -> list[str]:
    return sorted({*BUILT_IN, *_registered})


def _per_payload(function: Callable[..., Any]) -> "Transformer":
    """The column form of a function of one payload; what reads its dicts is imported with the first group."""

    def transform(column: Any, route: Any) -> Any:
        from sensor_platform.transformers.per_payload import decode_each

        return decode_each(function, column, route)

    transform.__module__, transform.__qualname__ = function.__module__, function.__qualname__
    return transform


def _origin(registered: Registered) -> tuple[str, str]:
    return registered.transform.__module__, registered.transform.__qualname__
