"""A module that cannot be imported, and options that a format does not take, are said with their line."""

from pathlib import Path

import pytest

from sensor_platform.errors import ConfigurationError
from sensor_platform.settings import TransformerSettings
from sensor_platform_tests.transformers.formats import routes_of


def test_a_module_that_never_comes_to_an_end_is_said_with_its_line(tmp_path: Path) -> None:
    limits = TransformerSettings(timeout_s=0.2)
    with pytest.raises(ConfigurationError) as refused:
        routes_of(tmp_path, "trouble", code="while True: pass", limits=limits)
    assert str(refused.value).startswith(
        'routes.yaml:1: transformers: module "plant_formats" cannot be imported: killed after 1.2'
    )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise RuntimeError('no licence')", 'module "plant_formats" cannot be imported: RuntimeError: no licence'),
        ("import os; os._exit(1)", "cannot be imported: the worker process ended with exit code 1"),
        ("", 'route "r": unknown format "trouble". Known: '),
    ],
)
def test_a_module_that_brings_no_format_is_said_with_its_line(code: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        routes_of(tmp_path, "trouble", code=code)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_options_of_a_format_are_checked_where_it_runs(tmp_path: Path) -> None:
    code = (
        "from sensor_platform import transformer\n"
        "from sensor_platform.transformers.options import FormatOptions\n\n\n"
        "class Options(FormatOptions):\n    order: str\n\n\n"
        "@transformer('trouble', options=Options)\ndef f(payload, topic, received_at):\n    return []\n"
    )
    with pytest.raises(ConfigurationError, match=r'routes\.yaml:2: route "r": options\.order is missing'):
        routes_of(tmp_path, "trouble", code=code)
