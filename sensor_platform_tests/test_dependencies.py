"""What the package imports is what it says it needs, and the lock holds a version of each that is accepted."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement

import sensor_platform

PACKAGE = Path(sensor_platform.__file__).parent
ROOT = PACKAGE.parent
#: Parts of a package that is named, which chooses their version.
COMES_WITH = {
    "pydantic_core": "pydantic",
    "typing_extensions": "pydantic",
    "starlette": "fastapi",
    "pwdlib": "amqtt",
}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def named() -> dict[str, str]:
    """Distribution -> what pyproject.toml accepts of it; those of extras that users install too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [one for name, asked in project["optional-dependencies"].items() if name != "dev" for one in asked]
    found = [re.fullmatch(r"([\w.-]+)(?:\[[^]]*\])?(.*)", one) for one in [*project["dependencies"], *extras]]
    return {normalized(match[1]): match[2] for match in found if match is not None}


def imported() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((alias.name.partition(".")[0], path) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module is not None:
                yield node.module.partition(".")[0], path


def test_every_package_that_is_imported_is_named() -> None:
    distributions, known = packages_distributions(), named()
    unnamed = {
        f"{module}: {path.relative_to(ROOT)}"
        for module, path in imported()
        if module not in sys.stdlib_module_names and module != PACKAGE.name
        # `google` and the like are the folders of several distributions.
        if not {COMES_WITH.get(module), *map(normalized, distributions.get(module, []))} & known.keys()
    }
    assert unnamed == set()


def test_the_lock_is_in_step() -> None:
    lines = (ROOT / "requirements.lock").read_text("utf-8").split()
    locked = {normalized(name): version for name, _, version in (line.partition("==") for line in lines)}
    accepted = {name: Requirement(name + asked).specifier for name, asked in named().items()}
    assert {name for name, asked in accepted.items() if locked.get(name) not in asked} == set()
