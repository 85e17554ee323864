"""The mapping of topics to channels, and what clients may wish for."""

import pytest

from sensor_platform.errors import ConfigurationError
from sensor_platform.live.channels import Channels, Wish
from sensor_platform.routes.model import Route, Routes

ROUTES = Routes(
    [
        Route("json", "factory/{work_unit}/sensors/{sensor}/data", "json"),
        Route("boiler", "boiler/data", "json", work_unit="hall-2", sensor="boiler"),
    ]
)


@pytest.mark.parametrize(
    ("mapping", "topic", "channel"),
    [
        ("{work_unit}/{sensor}", "factory/press/sensors/t1/data", "press/t1"),
        ("{work_unit}/{sensor}", "boiler/data", "hall-2/boiler"),
        ("all", "factory/press/sensors/t1/data", "all"),
        ("{work_unit}/{sensor}", "elsewhere", None),
        ("factory/{work_unit}/#=plant/{work_unit},#=rest", "factory/press/sensors/t1/data", "plant/press"),
        ("factory/{work_unit}/#=plant/{work_unit},#=rest", "boiler/data", "rest"),
        ("factory/{work_unit}/#=plant/{work_unit}", "boiler/data", None),
    ],
)
def test_a_topic_has_the_channel_that_the_settings_give_it(mapping: str, topic: str, channel: str | None) -> None:
    assert Channels(mapping, ROUTES).of(topic) == channel


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ("{site}/{sensor}", 'the channel "{site}/{sensor}" may use: {work_unit}, {sensor}'),
        ("{work_unit", "expected '}'"),
        ("a/#/b=x", '"#" is a whole level and the last one'),
        ("a/+=x,rest", '"rest" is no FILTER=CHANNEL pair'),
        ("a/+={sensor}", "none, since its filter has no capture"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused_with_its_reason(mapping: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Channels(mapping, ROUTES)
    assert str(caught.value).startswith(f"LIVE_CHANNELS={mapping}: ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("filters", "channel", "wanted"),
    [
        (["#"], "press/t1", True),
        (["press/+"], "press/t1", True),
        (["press/+"], "pump/t1", False),
        (["pump/t1", "press/t1"], "press/t1", True),
        ([], "press/t1", False),
    ],
)
def test_a_client_gets_the_channels_that_its_filters_cover(filters: list[str], channel: str, wanted: bool) -> None:
    assert Wish(filters).covers(channel) is wanted
