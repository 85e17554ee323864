"""The routes that come along for devices: what they say must be something that the platform knows."""

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from ruamel.yaml import YAML

from sensor_platform.transformers.units import expression

DEVICES = files("sensor_platform.routes").joinpath("devices")
NAMES = sorted(file.name for file in DEVICES.iterdir() if file.name.endswith(".yaml"))


def units_in(node: Any) -> Iterator[str]:
    """Under `unit`, and the values of `units`, wherever they stand."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "unit" and isinstance(value, str):
                yield value
            elif key == "units" and isinstance(value, dict):
                yield from (unit for unit in value.values() if isinstance(unit, str))
            else:
                yield from units_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from units_in(value)


def units_of(name: str) -> set[str]:
    return set(units_in(YAML(typ="safe").load(DEVICES.joinpath(name).read_text("utf-8"))))


@pytest.mark.parametrize("name", NAMES)
def test_every_unit_that_a_route_names_is_known(name: str) -> None:
    assert {unit for unit in units_of(name) if expression(unit) is None} == set()


def test_the_units_are_found_where_routes_say_them() -> None:
    assert {"degC", "degF", "hPa", "mmHg", "kWh", "dBm"} <= units_of("tasmota.yaml")
