"""The docs tell the truth: links lead somewhere, commands and their options exist, settings are settings."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from fastapi.routing import APIRoute

from sensor_platform.api.app import ROUTERS
from sensor_platform.cli import sensor_platform
from sensor_platform.cli.examples import EXAMPLES
from sensor_platform.settings import SECTIONS, Settings

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", ".env.example")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").glob("*.md")),
]
FENCED = re.compile(r"^ *```[a-z]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
SETTING = re.compile(
    r"\b(?:MQTT|STAGING|DEAD_LETTER|METRICS?|READINGS|SPARKPLUG|TRANSFORMER|COLLECTOR|SENSOR|API|LIVE|BROKER|DAGSTER"
    r"|DATABASE)_[A-Z_]*[A-Z]\b"
)
#: Said in the docs, and set by others than `.env`.
NOT_SETTINGS = {"SENSOR_PLATFORM_TEST_DATA", "SENSOR_PLATFORM_TEST_KILLS", "SENSOR_PLATFORM_TEST_HANG_S"}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = HEADING.findall(FENCED.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(SPAN.sub("", prose(page))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def command_lines(page: Path) -> Iterator[str]:
    text = page.read_text(encoding="utf-8")
    blocks = [line.replace("\\\n", " ") for block in FENCED.findall(text) for line in block.splitlines()]
    for line in [*blocks, *SPAN.findall(FENCED.sub("", text))]:
        _, found, rest = line.partition("sensor-platform ")
        if found and re.search(r"(?:^|[ /|$])sensor-platform ", line):
            yield rest


def unknown_word(line: str) -> str | None:
    """The first command or option in the line that does not exist."""
    context = click.Context(sensor_platform)
    command: click.Command = sensor_platform
    for word in shlex.split(re.split(r"\s[|<>#;&]|`", line.replace("[", "").replace("]", ""))[0].replace("…", "x")):
        option = word.partition("=")[0]
        known = {name for each in command.get_params(context) for name in (*each.opts, *each.secondary_opts)}
        if option.startswith("-") and len(option) > 1 and not option[1].isdigit():
            if option not in known:
                return f"{command.name} {option}"
        elif isinstance(command, click.Group):
            inner = command.get_command(context, word)
            if inner is None:
                return word
            command = inner
    return None


@every_page
def test_commands_exist_with_their_options(page: Path) -> None:
    for line in command_lines(page):
        assert unknown_word(line) is None, line


def test_a_command_that_does_not_exist_is_seen() -> None:
    assert unknown_word("metrics --sensor press --format csv | head") is None
    assert unknown_word("metrics --senor press") == "metrics --senor"
    assert unknown_word("sensors impart registry.yaml") == "impart"


def leaves(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from leaves(found, f"{name} {inner}".strip())
    else:
        yield name, command


def test_examples_of_help_are_of_their_command_and_exist() -> None:
    known = dict(leaves(sensor_platform))
    assert EXAMPLES.keys() - known.keys() == set()
    for name, lines in EXAMPLES.items():
        for line in lines:
            assert line.startswith(name)
            assert unknown_word(line) is None, line
        assert f"  sensor-platform {lines[0]}" in known[name].get_help(click.Context(known[name]))


def test_a_command_that_takes_a_time_says_in_which_form() -> None:
    timed = {name: one for name, one in leaves(sensor_platform) if any(each.type.name == "time" for each in one.params)}
    assert {"metrics", "rollups", "trace", "reprocess", "sensors set"} <= timed.keys()
    for name, command in timed.items():
        said = " ".join(command.get_help(click.Context(command)).split())
        assert "without an offset it is UTC" in said, name


@every_page
def test_settings_exist(page: Path) -> None:
    fields = [field for cls in (Settings, *SECTIONS.values()) for field in cls.model_fields.values()]
    known = {field.alias for field in fields} | NOT_SETTINGS
    named = {name.removesuffix("_FILE") for name in SETTING.findall(page.read_text(encoding="utf-8"))}
    assert named - known == set()


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    pages = {page.name for page in index.parent.glob("*.md")} - {index.name}
    assert pages - set(LINK.findall(index.read_text(encoding="utf-8"))) == set()


def test_pages_that_the_code_names_exist() -> None:
    sources = [
        path for path in (ROOT / "sensor_platform").rglob("*") if path.suffix in (".py", ".yaml", ".html", ".sql")
    ]
    named = {page for path in sources for page in re.findall(r"docs/[\w/-]+\.md", path.read_text(encoding="utf-8"))}
    assert "docs/decisions/0001-supervisor.md" in named
    assert {page for page in named if not (ROOT / page).exists()} == set()


def test_the_page_of_the_api_has_its_requests_and_no_others() -> None:
    routes = [route for module in ROUTERS for route in module.router.routes if isinstance(route, APIRoute)]
    made = {f"{method} {route.path}" for route in routes for method in route.methods}
    told = re.findall(r"^\| `([A-Z]+ /[^`]*)`", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    parts = re.compile(r"/[A-Z_]+(?=/|$)")
    assert {parts.sub(lambda part: f"/{{{part[0][1:].lower()}}}", request) for request in told} == made


def test_the_page_of_dagster_names_all_that_the_asset_graph_holds() -> None:
    graph = json.loads((ROOT / "sensor_platform_tests" / "defs" / "graph.json").read_text(encoding="utf-8"))
    checks = [check for asset in graph["assets"].values() for check in asset["checks"]]
    names = {*graph["assets"], *checks, *(name.partition(":")[0] for name in graph["sensors"] + graph["schedules"])}
    page = (ROOT / "docs" / "dagster.md").read_text(encoding="utf-8")
    assert {name for name in names if f"`{name}`" not in page} == set()
