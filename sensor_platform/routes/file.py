"""The route file: YAML, checked by hand rather than by a schema library, so that an error is one line with its number.

`routes.yaml:14: route "press-3": unknown format "modbsu". Did you mean "modbus"? Known: binary, csv, json, modbus.`
"""

import importlib.resources
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from sensor_platform.errors import ConfigurationError
from sensor_platform.routes.contract import Contract, contract_problem
from sensor_platform.routes.deadband import Deadband, deadband_problem
from sensor_platform.routes.filters import CAPTURES, TopicFilter, parse_filter
from sensor_platform.routes.included import Included, families, parse_entry
from sensor_platform.routes.model import Compression, Conflicts, Retained, Route, Routes, Silent
from sensor_platform.routes.sources import FormatSources
from sensor_platform.routes.wording import did_you_mean
from sensor_platform.settings import Settings, TransformerSettings
from sensor_platform.transformers import registry
from sensor_platform.transformers.worker import Format, FormatSourceError, call_worker

ROUTE_FILE = "routes.yaml"
TOP_KEYS = ("routes", "include", "transformers", "contracts")

#: Key of a route -> what it accepts.
ROUTE_KEYS: dict[str, type | UnionType | tuple[str, ...]] = {
    "name": str,
    "filter": str,
    "format": str,
    "work_unit": str,
    "sensor": str,
    "text": bool,
    "allow_nan": bool,
    "compression": get_args(Compression),
    "retained": get_args(Retained),
    "conflicts": get_args(Conflicts),
    "no_readings": get_args(Silent),
    "ignore": bool,
    "units": dict,
    "options": dict,
    "contract": str | dict,
    "report_by_exception": dict,
}
_TYPE_NAMES: dict[type | UnionType, str] = {
    str: "a text of at least one character",
    bool: "true or false",
    dict: "a mapping",
    str | dict: "a contract, or the name of one under contracts",
}


def load_routes(settings: Settings, *, with_transformers: bool = True) -> Routes:
    """The routes of the settings. `with_transformers=False`: neither import formats of one's own nor check formats.

    They are imported in a worker process, never in this one.

    Raises:
        ConfigurationError: one line with file, line, route and what is accepted.
    """
    path = route_file(settings)
    if path is None:
        text = importlib.resources.files("sensor_platform.routes").joinpath("default.yaml").read_text(encoding="utf-8")
        return parse_routes(
            text, source="default.yaml", with_transformers=with_transformers, transformers=settings.transformers
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


def route_file(settings: Settings) -> Path | None:
    """The route file in use; None: the packaged default."""
    if settings.routes_file is not None:
        return settings.routes_file
    local = Path(ROUTE_FILE)
    return local if local.is_file() else None


def parse_routes(
    text: str,
    *,
    source: str = ROUTE_FILE,
    folder: Path | None = None,
    with_transformers: bool = True,
    transformers: TransformerSettings | None = None,
) -> Routes:
    """The routes of a YAML text; `source` names it in errors, `folder` is where its modules are looked for too."""
    return _Reader(source, folder, with_transformers, _limited(transformers or TransformerSettings())).read(text)


def _limited(transformers: TransformerSettings) -> FormatSources:
    folder = transformers.folder
    return FormatSources(
        folder=folder.absolute() if folder is not None else None,
        timeout_s=transformers.timeout_s,
        memory_bytes=transformers.memory_bytes,
    )


@dataclass(frozen=True, slots=True)
class _Placed:
    """A route, and where it stands: the line of the file that is read, and how another file would say it."""

    route: Route
    line: int
    where: str


class _Reader:
    def __init__(
        self,
        source: str,
        folder: Path | None,
        with_transformers: bool,
        sources: FormatSources,
        included: Included | None = None,
    ) -> None:
        self.source = source
        self.folder = folder
        self.with_transformers = with_transformers
        self.sources = sources  # of the files before, and then of this one
        self.custom: list[str] = []  # formats that they bring
        self.included = included
        self.contracts: dict[str, dict[str, Any]] = {}

    def read(self, text: str) -> Routes:
        document = self._parse(text)
        placed = self._placed(document)
        self._check_unique(placed)
        # All are of the sources of all, since there is one worker for them.
        return Routes([replace(each.route, sources=self.sources) for each in placed], source=self.source)

    def _placed(self, document: Any) -> list[_Placed]:
        """The routes of the file, and of those that it includes."""
        if not isinstance(document, CommentedMap) or not isinstance(
            document.get("routes", CommentedSeq() if "include" in document else None), CommentedSeq
        ):
            raise self._error(1, 'a route file is a mapping with a list under "routes"')
        self._known_keys(document, TOP_KEYS, "")
        self.sources = self._with_modules(document)
        if self.with_transformers and (self.sources.modules or self.sources.folder is not None):
            self._import_transformers(document)
        self._read_contracts(document)
        entries = document.get("routes", CommentedSeq())
        lines = [_line(entries, index) for index in range(len(entries))]
        routes = [self._route(entry, line) for entry, line in zip(entries, lines, strict=True)]
        placed = [_Placed(route, line, f"in line {line}") for route, line in zip(routes, lines, strict=True)]
        placed += self._included(document)
        if not placed:
            key = "routes" if "routes" in document else "include"
            raise self._error(_line(document, key), "there is no route: at least one is needed")
        return placed

    def _included(self, document: CommentedMap) -> Iterator[_Placed]:
        """The routes of the included files, all at the line that includes them."""
        if "include" not in document:
            return
        entries = document["include"]
        if not isinstance(entries, CommentedSeq):
            raise self._error(_line(document, "include"), "include is a list of device families and route files")
        if self.included is not None:
            raise self._error(_line(document, "include"), "an included file includes no others: name them in the first")
        for index, entry in enumerate(entries):
            line = _line(entries, index)
            included, text = self._text_of(entry, line)
            folder = None if included.is_family or self.folder is None else (self.folder / included.file).parent
            reader = _Reader(included.source, folder, self.with_transformers, self.sources, included)
            for each in reader._placed(reader._parse(text)):
                yield _Placed(each.route, line, f"of {included.source}:{each.line}")
            self.sources = reader.sources

    def _text_of(self, entry: Any, line: int) -> tuple[Included, str]:
        try:
            included = parse_entry(_plain(entry))
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

    def _parse(self, text: str) -> Any:
        try:
            return YAML(typ="rt").load(text)
        except MarkedYAMLError as err:
            mark = err.problem_mark or err.context_mark
            reason = (err.problem or "not YAML").split("\n")[0]
            raise self._error(mark.line + 1 if mark else 1, f"not YAML: {reason}") from err
        except (YAMLError, RecursionError, ValueError) as err:
            raise self._error(1, f"not YAML: {str(err).splitlines()[0] if str(err) else type(err).__name__}") from err

    def _route(self, entry: Any, line: int) -> Route:
        if not isinstance(entry, CommentedMap):
            raise self._error(line, "a route is a mapping with name, filter and format")
        name = entry.get("name")
        who = f'route "{name}"' if isinstance(name, str) else "a route without a name"
        self._known_keys(entry, ROUTE_KEYS, f"{who}: ")
        for key, value in entry.items():
            self._check_value(entry, key, value, who)
        for key in ("name", "filter"):
            if key not in entry:
                raise self._error(line, f"{who}: {key} is missing")
        if self.included is not None:
            self.included.completed(entry, {name for _, name in self._filter_of(entry, who).captures})
        self._check_filter(entry, who)
        self._check_format(entry, line, who)
        self._check_options(entry, line, who)
        self._check_units(entry, who)
        self._check_deadbands(entry, who)
        mappings = {name: _plain(entry.get(name, {})) for name in ("units", "options", "report_by_exception")}
        return Route(**{**entry, **mappings, "contract": self._contract(entry, who)})

    def _check_value(self, entry: CommentedMap, key: str, value: Any, who: str) -> None:
        accepts = ROUTE_KEYS[key]
        if isinstance(accepts, tuple):
            ok, accepted = value in accepts, " or ".join(accepts)
        else:
            ok = isinstance(value, accepts) and (accepts is not str or bool(value))
            accepted = _TYPE_NAMES[accepts]
        if not ok:
            raise self._error(_line(entry, key), f"{who}: {key}: {_shown(value)} is not accepted, only {accepted}")

    def _filter_of(self, entry: CommentedMap, who: str) -> TopicFilter:
        try:
            return parse_filter(entry["filter"])
        except ValueError as err:
            raise self._error(_line(entry, "filter"), f'{who}: filter "{entry["filter"]}": {err}') from err

    def _check_filter(self, entry: CommentedMap, who: str) -> None:
        line = _line(entry, "filter")
        captured = {name for _, name in self._filter_of(entry, who).captures}
        for name in CAPTURES:
            if name in captured and name in entry:
                raise self._error(
                    _line(entry, name), f"{who}: {name} is a capture of the filter already: leave one out"
                )
            says = name in captured or name in entry or name in (entry.get("options") or ())
            if not says and not entry.get("ignore") and entry.get("format") not in registry.NAMES_SENSORS:
                advice = f"capture it in the filter as {{{name}}} or give it as a constant"
                raise self._error(line, f"{who}: nothing says which {name.replace('_', ' ')} it is: {advice}")

    def _check_format(self, entry: CommentedMap, line: int, who: str) -> None:
        if "format" not in entry:
            if entry.get("ignore"):
                return
            raise self._error(line, f"{who}: format is missing. Known: {', '.join(registry.known())}")
        name, known = entry["format"], sorted({*registry.known(), *self.custom})
        if self.with_transformers and name not in known:
            problem = f'{who}: unknown format "{name}".{did_you_mean(name, known)}'
            raise self._error(_line(entry, "format"), problem)
        if self.with_transformers and name not in registry.known_here():
            error = self._described(name).error
            if error is not None:
                raise self._error(_line(entry, "format"), f'{who}: format "{name}": {error}')

    def _described(self, name: str) -> Format:
        return call_worker(self.sources, lambda worker: worker.describe(name))

    def _check_options(self, entry: CommentedMap, line: int, who: str) -> None:
        if not self.with_transformers or "format" not in entry:
            return
        given = entry.get("options", CommentedMap())
        problem, known = self._problem(entry["format"], _plain(given))
        if problem is not None:
            at = _deepest_line(given, problem["loc"], _line(entry, "options") if "options" in entry else line)
            raise self._error(at, f"{who}: {_option_problem(problem, known)}")

    def _problem(self, name: str, options: dict[str, Any]) -> tuple[Mapping[str, Any] | None, Collection[str]]:
        """What a format says against options, if anything, and the names that it knows."""
        if name in registry.known_here():
            model = registry.get(name).options
            return (None, ()) if model is None else (registry.first_problem(model, options), model.model_fields)
        if not self._described(name).checks_options:
            return None, ()
        said = call_worker(self.sources, lambda worker: worker.check_options(name, options))
        return said.get("problem"), said.get("known", ())

    def _read_contracts(self, document: CommentedMap) -> None:
        """Those that routes name, each checked whether a route does so or not."""
        found = document.get("contracts", CommentedMap())
        if not isinstance(found, CommentedMap):
            raise self._error(_line(document, "contracts"), "contracts is a mapping of names to contracts")
        for name, given in found.items():
            self.contracts[str(name)] = self._checked_contract(given, _line(found, name), f'contract "{name}"')

    def _contract(self, entry: CommentedMap, who: str) -> dict[str, Any] | None:
        given = entry.get("contract")
        if given is None:
            return None
        line = _line(entry, "contract")
        if not isinstance(given, str):
            return self._checked_contract(given, line, who)
        if given not in self.contracts:
            known = did_you_mean(given, self.contracts) if self.contracts else " There are none under contracts."
            raise self._error(line, f'{who}: unknown contract "{given}".{known}')
        return self.contracts[given]

    def _checked_contract(self, given: Any, line: int, who: str) -> dict[str, Any]:
        if not isinstance(given, CommentedMap):
            raise self._error(line, f"{who}: a contract is a mapping with a version, and metrics")
        plain: dict[str, Any] = _plain(given)
        try:
            Contract.model_validate(plain)
        except ValidationError as err:
            first = err.errors(include_url=False)[0]
            raise self._error(_deepest_line(given, first["loc"], line), f"{who}: {contract_problem(first)}") from err
        return plain

    def _check_units(self, entry: CommentedMap, who: str) -> None:
        for pattern, unit in entry.get("units", {}).items():
            if not isinstance(pattern, str) or not isinstance(unit, str) or not unit:
                problem = f"{who}: units: {_shown(pattern)}: {_shown(unit)} is not a unit as text"
                raise self._error(_line(entry["units"], pattern), problem)

    def _check_deadbands(self, entry: CommentedMap, who: str) -> None:
        given = entry.get("report_by_exception", {})
        for pattern, asked in given.items():
            line = _line(given, pattern)
            if not isinstance(pattern, str) or not isinstance(asked, CommentedMap):
                accepted = 'metrics, or patterns of them, with a deadband each: {"*": {deadband: 0.5}}'
                problem = f"report_by_exception: {_shown(pattern)}: {_shown(asked)} is not accepted, only {accepted}"
                raise self._error(line, f"{who}: {problem}")
            try:
                Deadband.model_validate(_plain(asked))
            except ValidationError as err:
                first = err.errors(include_url=False)[0]
                problem = deadband_problem(pattern, first)
                raise self._error(_deepest_line(asked, first["loc"], line), f"{who}: {problem}") from err

    def _known_keys(self, mapping: CommentedMap, known: Collection[str], who: str) -> None:
        for key in mapping:
            if key not in known:
                raise self._error(_line(mapping, key), f'{who}unknown key "{key}".{did_you_mean(str(key), known)}')

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

    def _with_modules(self, document: CommentedMap) -> FormatSources:
        """The sources so far, and what this file names under `transformers`."""
        modules = document.get("transformers", CommentedSeq())
        if not isinstance(modules, CommentedSeq) or not all(isinstance(module, str) for module in modules):
            raise self._error(_line(document, "transformers"), "transformers is a list of Python modules")
        beside = [self.folder.absolute()] if modules and self.folder is not None else []
        return replace(
            self.sources,
            modules=tuple(dict.fromkeys([*self.sources.modules, *modules])),
            beside=tuple(dict.fromkeys([*self.sources.beside, *beside])),
        )

    def _import_transformers(self, document: CommentedMap) -> None:
        """In the worker, which then has them for decoding."""
        try:
            self.custom = call_worker(self.sources, lambda worker: worker.registered)
        except FormatSourceError as err:
            modules = document.get("transformers", ())
            if err.module not in modules:
                raise
            raise self._error(_line(modules, modules.index(err.module)), err.problem) from err

    def _error(self, line: int, problem: str) -> ConfigurationError:
        return ConfigurationError(f"{self.source}:{line}: {problem}")


def _line(node: CommentedMap | CommentedSeq, key: Any) -> int:
    position = node.lc.key(key) if isinstance(node, CommentedMap) else node.lc.item(key)
    return int(position[0]) + 1


def _deepest_line(node: Any, path: Sequence[int | str], line: int) -> int:
    """The line of what `path` leads to, as far as the file has it; `line` where it has nothing of it."""
    for key in path:
        if not isinstance(node, CommentedMap | CommentedSeq):
            break
        try:
            line, node = _line(node, key), node[key]
        except (KeyError, IndexError, TypeError):
            continue  # a step of the model that the file does not show, or what is missing
    return line


def _option_problem(error: Mapping[str, Any], known: Collection[str]) -> str:
    steps = [str(step) for step in error["loc"]]
    where = ".".join(
        ["options", *(step for step in steps if not step.startswith(("function-", "tuple[", "FieldOption")))]
    )
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        return f"{where} is unknown.{did_you_mean(str(error['loc'][0]), known)}"
    if error["type"] == "missing":
        return f"{where} is missing"
    return f"{where}: {error['msg']}"


def _plain(node: Any) -> Any:
    """Without the types of the YAML library, which a model or a hash would show."""
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    return node


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
