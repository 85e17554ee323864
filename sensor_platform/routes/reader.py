"""A route file as a whole: what it includes and names, and that no two of its routes are in each other's way."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from sensor_platform.errors import ConfigurationError, FormatSourceError
from sensor_platform.routes.document import error_at, line_of, parse_document, plain
from sensor_platform.routes.entry import EntryReader, check_keys
from sensor_platform.routes.formats import Formats
from sensor_platform.routes.included import Included, families, parse_entry
from sensor_platform.routes.model import Route, Routes
from sensor_platform.routes.named_contracts import NamedContracts
from sensor_platform.routes.wording import did_you_mean

TOP_KEYS = ("routes", "include", "transformers", "contracts")


@dataclass(frozen=True, slots=True)
class _Placed:
    """A route, and where it stands: the line of the file that is read, and how another file would say it."""

    route: Route
    line: int
    where: str


class FileReader:
    """Reads one route file, and those that it includes.

    source: names it in errors. folder: where its includes and modules are looked for. formats: those of the files
    before, and then of this one, too.
    """

    def __init__(
        self,
        source: str,
        folder: Path | None,
        formats: Formats,
        *,
        checks_formats: bool,
        included: Included | None = None,
    ) -> None:
        self.source = source
        self.folder = folder
        self.formats = formats
        self.checks_formats = checks_formats
        self.included = included

    def read(self, text: str) -> Routes:
        """Raises ConfigurationError: one line with file, line, route and what is accepted."""
        placed = self._placed(text)
        self._check_unique(placed)
        # All are of the sources of all, since there is one worker for them.
        return Routes([replace(each.route, sources=self.formats.sources) for each in placed], source=self.source)

    def _placed(self, text: str) -> list[_Placed]:
        """The routes of the file, and of those that it includes."""
        document = parse_document(text, source=self.source)
        if not isinstance(document, CommentedMap) or not isinstance(
            document.get("routes", CommentedSeq() if "include" in document else None), CommentedSeq
        ):
            raise self._error(1, 'a route file is a mapping with a list under "routes"')
        check_keys(self.source, document, TOP_KEYS)
        self._add_formats(document)
        contracts = NamedContracts(self.source, document)
        reader = EntryReader(self.source, self.formats if self.checks_formats else None, contracts, self.included)
        entries = document.get("routes", CommentedSeq())
        lines = [line_of(entries, index) for index in range(len(entries))]
        routes = [reader.route(entry, line) for entry, line in zip(entries, lines, strict=True)]
        placed = [_Placed(route, line, f"in line {line}") for route, line in zip(routes, lines, strict=True)]
        placed += self._included(document)
        if not placed:
            key = "routes" if "routes" in document else "include"
            raise self._error(line_of(document, key), "there is no route: at least one is needed")
        return placed

    def _add_formats(self, document: CommentedMap) -> None:
        """Those of the modules that this file names under `transformers`."""
        modules = document.get("transformers", CommentedSeq())
        if not isinstance(modules, CommentedSeq) or not all(isinstance(module, str) for module in modules):
            raise self._error(line_of(document, "transformers"), "transformers is a list of Python modules")
        self.formats = self.formats.with_modules(modules, self.folder)
        if not self.checks_formats:
            return
        try:
            self.formats = self.formats.imported()
        except FormatSourceError as err:
            if err.module not in modules:
                raise
            raise self._error(line_of(modules, modules.index(err.module)), err.problem) from err

    def _included(self, document: CommentedMap) -> Iterator[_Placed]:
        """The routes of the included files, all at the line that includes them."""
        if "include" not in document:
            return
        entries, at = document["include"], line_of(document, "include")
        if not isinstance(entries, CommentedSeq):
            raise self._error(at, "include is a list of device families and route files")
        if self.included is not None:
            raise self._error(at, "an included file includes no others: name them in the first")
        for index, entry in enumerate(entries):
            line = line_of(entries, index)
            included, text = self._text_of(entry, line)
            folder = None if included.is_family or self.folder is None else (self.folder / included.file).parent
            reader = FileReader(
                included.source, folder, self.formats, checks_formats=self.checks_formats, included=included
            )
            for each in reader._placed(text):
                yield _Placed(each.route, line, f"of {included.source}:{each.line}")
            self.formats = replace(self.formats, sources=reader.formats.sources)

    def _text_of(self, entry: Any, line: int) -> tuple[Included, str]:
        try:
            included = parse_entry(plain(entry))
        except ValueError as err:
            raise self._error(line, f"include: {err}") from err
        try:
            return included, included.text(self.folder)
        except (OSError, UnicodeDecodeError) as err:
            reason = err.strerror if isinstance(err, OSError) else "it is not UTF-8"
            raise self._error(line, f"include: cannot read {included.file}: {reason}") from err
        except ValueError as err:
            problem = f'include: unknown device family "{err}".{did_you_mean(str(err), families())}'
            raise self._error(line, f"{problem} A file of yours is a path: ./{err}.yaml") from err

    def _check_unique(self, placed: list[_Placed]) -> None:
        names: dict[str, str] = {}
        filters: dict[str, str] = {}
        for each in placed:
            route, line = each.route, each.line
            if route.name in names:
                raise self._error(line, f'route "{route.name}": the name is taken by the route {names[route.name]}')
            subscription = route.topic_filter.subscription
            if subscription in filters:
                other = filters[subscription]
                raise self._error(line, f'route "{route.name}": it matches the same topics as route "{other}"')
            names[route.name] = each.where
            filters[subscription] = route.name

    def _error(self, line: int, problem: str) -> ConfigurationError:
        return error_at(self.source, line, problem)
