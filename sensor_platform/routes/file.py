"""The route file: YAML, checked by hand rather than by a schema library, so that an error is one line with its number.

`routes.yaml:14: route "press-3": unknown format "modbsu". Did you mean "modbus"? Known: binary, csv, json, modbus.`
"""

from pathlib import Path

from sensor_platform.errors import ConfigurationError
from sensor_platform.routes.formats import Formats
from sensor_platform.routes.model import Routes
from sensor_platform.routes.place import PACKAGED, ROUTE_FILE, route_file
from sensor_platform.routes.reader import FileReader
from sensor_platform.routes.sources import FormatSources
from sensor_platform.settings import Settings, TransformerSettings


def load_routes(settings: Settings, *, with_transformers: bool = True) -> Routes:
    """The routes of the settings. `with_transformers=False`: neither import formats of one's own nor check formats.

    They are imported in a worker process, never in this one.

    Raises:
        ConfigurationError: one line with file, line, route and what is accepted.
    """
    path = route_file(settings)
    if path is None:
        return parse_routes(
            PACKAGED.read_text(encoding="utf-8"),
            source=PACKAGED.name,
            with_transformers=with_transformers,
            transformers=settings.transformers,
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"{path}: cannot read the route file: {reason}") from err
    return parse_routes(
        text,
        source=str(path),
        folder=path.parent,
        with_transformers=with_transformers,
        transformers=settings.transformers,
    )


def parse_routes(
    text: str,
    *,
    source: str = ROUTE_FILE,
    folder: Path | None = None,
    with_transformers: bool = True,
    transformers: TransformerSettings | None = None,
) -> Routes:
    """The routes of a YAML text; `source` names it in errors, `folder` is where its modules are looked for too."""
    formats = Formats(_sources(transformers or TransformerSettings()))
    return FileReader(source, folder, formats, checks_formats=with_transformers).read(text)


def _sources(transformers: TransformerSettings) -> FormatSources:
    folder = transformers.folder
    return FormatSources(
        folder=folder.absolute() if folder is not None else None,
        timeout_s=transformers.timeout_s,
        memory_bytes=transformers.memory_bytes,
    )
