"""Route files that a route file includes: device families by name, others by path."""

from pathlib import Path

import pytest

from sensor_platform.errors import ConfigurationError
from sensor_platform.routes.file import load_routes, parse_routes
from sensor_platform.routes.included import families
from sensor_platform.settings import Settings

OWN = "routes: [{name: own, filter: 'plant/{work_unit}/{sensor}', format: json}]"


def test_an_included_family_stands_beside_the_routes_of_the_file() -> None:
    routes = parse_routes(f"include: [zigbee2mqtt]\n{OWN}")
    assert {"own", "zigbee2mqtt-device", "zigbee2mqtt-availability"} <= {route.name for route in routes}
    found = routes.match("zigbee2mqtt/bridge/logging")
    assert found is not None
    assert found[0].ignore


def test_an_entry_says_work_unit_and_zone_of_what_has_none() -> None:
    entry = "{file: tasmota, work_unit: hall 3, zone: Europe/Berlin}"
    routes = parse_routes(f"include: [{entry}]")
    found = routes.match("tele/press/SENSOR")
    assert found is not None
    assert found[1] == {"work_unit": "hall 3", "sensor": "press"}
    assert found[0].options["time"] == {"field": "$.Time", "zone": "Europe/Berlin"}
    (plain,) = [route for route in parse_routes("include: [tasmota]") if route.name == found[0].name]
    assert plain.version != found[0].version


def test_a_work_unit_that_the_topic_or_the_payload_says_stays() -> None:
    routes = parse_routes("include: [{file: the_things_stack, work_unit: hall}, {file: chirpstack, work_unit: hall}]")
    found = routes.match("v3/app@ttn/devices/d/up")
    assert found is not None
    assert found[1] == {"work_unit": "app@ttn", "sensor": "d"}
    assert routes["chirpstack-uplink"].work_unit is None


def test_a_file_beside_the_route_file_is_included_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "own.yaml").write_text(OWN)
    (tmp_path / "r.yaml").write_text("include: [more/own.yaml]")
    assert [route.name for route in load_routes(Settings(routes_file=tmp_path / "r.yaml"))] == ["own"]


@pytest.mark.parametrize("family", families())
def test_every_family_stands_for_itself_and_widens_no_subscription(family: str) -> None:
    routes = parse_routes(f"include: [{family}]")
    assert len(routes) > 0
    assert routes.widened() == []


def test_families_together_subscribe_to_no_more_than_they_ask_for_but_for_shelly() -> None:
    others = [family for family in families() if family != "shelly"]  # its topics begin with the device
    assert parse_routes(f"include: [{', '.join(others)}]").widened() == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("include: tasmota", "routes.yaml:1: include is a list of device families and route files"),
        (
            "include:\n  - tasmotta",
            'routes.yaml:2: include: unknown device family "tasmotta". Did you mean "tasmota"? Known: chirpstack,',
        ),
        ("include: [5]", "routes.yaml:1: include: an entry is a name, or a mapping with file,"),
        ("include: [{file: tasmota, zones: x}]", "routes.yaml:1: include: an entry is a name, or a mapping with file,"),
        (
            "include: [{file: tasmota, zone: 5}]",
            "include: file, work_unit and zone are texts of at least one character",
        ),
        (
            "include: [{file: tasmota, zone: Europe/Berlni}]",
            'include: there is no time zone "Europe/Berlni". Accepted:',
        ),
        ("include: [{file: tasmota, zone: Europe}]", 'include: there is no time zone "Europe". Accepted:'),
        ("include: [./none.yaml]", "routes.yaml:1: include: cannot read ./none.yaml: No such file"),
        ("include: []", "routes.yaml:1: there is no route: at least one is needed"),
        (
            "include:\n  - tasmota\n  - tasmota",
            'routes.yaml:3: route "tasmota-sensor": the name is taken by the route of devices/tasmota.yaml:',
        ),
        (
            "include: [zigbee2mqtt]\nroutes:\n- {name: z, filter: 'zigbee2mqtt/{sensor}', work_unit: w, format: csv}",
            'routes.yaml:1: route "zigbee2mqtt-device": it matches the same topics as route "z"',
        ),
    ],
)
def test_what_cannot_be_included_is_refused_at_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_routes(text, folder=Path("/nowhere"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_wrong_in_an_included_file_is_said_of_that_file(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(f"\n{OWN.replace('json', 'jsno')}")
    (tmp_path / "again.yaml").write_text("include: [tasmota]")
    with pytest.raises(ConfigurationError, match=r'^\./own\.yaml:2: route "own": unknown format "jsno"'):
        parse_routes("include: [./own.yaml]", folder=tmp_path)
    with pytest.raises(ConfigurationError, match=r"^\./again\.yaml:1: an included file includes no others"):
        parse_routes("include: [./again.yaml]", folder=tmp_path)


def test_a_collector_knows_the_topics_of_included_files() -> None:
    routes = parse_routes("include: [ruuvi_gateway]", with_transformers=False)
    assert routes.filters == ["ruuvi/+/+"]
