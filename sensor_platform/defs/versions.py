"""What an asset's code is made of, as one short hash: Dagster calls partitions stale that were made with another.

A hash for a whole asset, since Dagster knows no other: with a route that is edited each made hour of `readings` becomes
stale, also one without a message of it. `made_with_routes_of_today` tells by the ledger which hours are concerned.
"""

import hashlib
import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import sensor_platform
from sensor_platform.errors import ConfigurationError
from sensor_platform.routes.file import load_routes
from sensor_platform.routes.model import Route
from sensor_platform.settings import Settings
from sensor_platform.transformers.registry import ENTRY_POINTS

PACKAGE = Path(sensor_platform.__file__).parent
#: What turns messages into readings, beside the routes.
DECODING = (
    "transformers/**/*.py",
    "validation/*.py",
    *(
        f"pipeline/{name}.py"
        for name in ("calibration", "decode", "defining", "exceptions", "payloads", "topics", "units")
    ),
)
ROLLING_UP = ("pipeline/*rollup*.py", "pipeline/sql/*roll*.sql", "pipeline/sql/rollups/*.sql")


def code_version(settings: Settings) -> str:
    """Changes with the routes and their contracts, with the source of formats and checks that come along, and with
    formats of one's own: files of the folder, modules that the route file names, versions of installed packages.

    Imports none of them.
    """
    digest = hashlib.sha256(sensor_platform.__version__.encode())
    files = list(_files_of(DECODING))
    try:
        for route in load_routes(settings, with_transformers=False):
            digest.update(f"{route.name} {route.version}".encode())
            files += _modules_of(route)
    except ConfigurationError as err:  # the run says it too; a code location that does not load says nothing
        digest.update(str(err).encode())
    folder = settings.transformers.folder
    files += [] if folder is None else sorted(folder.glob("*.py"))
    for point in sorted(importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        digest.update(f"{point.name} {point.dist.version if point.dist else ''}".encode())
    return _with_files(digest, files)


def rollups_version() -> str:
    """Changes with the source of the rollups."""
    return _with_files(hashlib.sha256(sensor_platform.__version__.encode()), _files_of(ROLLING_UP))


def _files_of(patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(PACKAGE.glob(pattern))


def _modules_of(route: Route) -> list[Path]:
    """The files of the modules that bring the route's format, where they are found without importing anything."""
    places = [*route.sources.beside, *map(Path, sys.path)]
    found = []
    for module in route.sources.modules:
        path = module.replace(".", "/")
        files = (place / f"{path}{end}" for place in places for end in (".py", "/__init__.py"))
        found += [file for file in files if file.is_file()][:1]
    return found


def _with_files(digest: "hashlib._Hash", files: "list[Path] | Iterator[Path]") -> str:
    for file in files:
        with suppress(OSError):  # the run says it
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
