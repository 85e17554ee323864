"""The formats by name. Those that come along are imported on first use: the collector reads routes without pandas.

A format of your own is a decorated function in a module that the route file names under `transformers:`, in a file of
the folder SENSOR_PLATFORM_TRANSFORMERS, or in an installed package (entry point of the group
`sensor_platform.transformers`). None of them is imported here: `worker/main.py` does, in a process of its own.

    @transformer("press-log")
    def press_log(payload: bytes, topic: str, received_at: datetime) -> Iterable[dict[str, Any]]:
        force, at = payload.split(b"@")
        yield {"metric": "force", "value": float(force), "unit": "kN", "timestamp": int(at)}
"""

import importlib
import importlib.metadata
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from sensor_platform.transformers.options import FormatOptions

if TYPE_CHECKING:
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
#: Formats that come along of which a message may say what later ones mean: births, metadata.
DEFINING = frozenset({"opcua", "sparkplug"})
#: Installed packages name their formats in it: `press-log = "plant_formats:press_log"`.
ENTRY_POINTS = "sensor_platform.transformers"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Registered:
    """A format: its transformer, and the version that the ledger notes beside what it made.

    options: the model of what routes say under `options`; None: whatever they like.
    per_payload: the function of one payload that `transform` calls for each; None where it takes the column itself.
    module: importing it registers the format; None: this process alone has it.
    """

    name: str
    version: str
    transform: "Transformer"
    options: type[FormatOptions] | None = None
    per_payload: Callable[..., Any] | None = None
    module: str | None = None


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
        transform = function if columns else _per_payload(function)
        per_payload = None if columns else function
        _registered[name] = Registered(name, version, transform, options, per_payload, _imported(module))
        return function

    return register


def get(name: str) -> Registered:
    """The transformer of a format, imported if it comes along or is an entry point.

    Raises KeyError with the known formats, and whatever an entry point's module raises: ask for those in a worker.
    """
    if name not in _registered and name in BUILT_IN:
        importlib.import_module(BUILT_IN[name])
    elif name not in _registered and name in _entry_points():
        _entry_points()[name].load()
    try:
        return _registered[name]
    except KeyError:
        raise KeyError(f'unknown format "{name}". Known: {", ".join(known())}') from None


def registered_here(name: str) -> Registered | None:
    """A format that this process has registered itself; nothing is imported for it."""
    return _registered.get(name)


def may_define(name: str) -> bool:
    """Whether what a message of that format becomes may rest on earlier ones; of your own formats it always may."""
    return name in DEFINING or name not in BUILT_IN


def known() -> list[str]:
    """Names of all formats: those that come along, are registered here, or are entry points of installed packages."""
    return sorted({*BUILT_IN, *_registered, *_entry_points()})


def known_here() -> list[str]:
    """Names of the formats that this process can call itself."""
    return sorted({*BUILT_IN, *_registered})


@cache
def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    """By format. Reads what pip has noted of the installed packages, and imports none of them."""
    return {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def _per_payload(function: Callable[..., Any]) -> "Transformer":
    """The column form of a function of one payload; what reads its dicts is imported with the first group."""

    def transform(column: Any, route: Any) -> Any:
        from sensor_platform.transformers.per_payload import decode_each

        return decode_each(function, column, route)

    transform.__module__, transform.__qualname__ = function.__module__, function.__qualname__
    return transform


def _imported(module: str) -> str | None:
    """The module, if it is being imported right now: whoever imports it gets what it registers."""
    spec = getattr(sys.modules.get(module), "__spec__", None)
    return module if module != "__main__" and getattr(spec, "_initializing", False) else None


def _origin(registered: Registered) -> tuple[str, str]:
    return registered.transform.__module__, registered.transform.__qualname__
