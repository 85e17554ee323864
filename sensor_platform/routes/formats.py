"""Which formats a route may name, and what they say of its options.

Those that come along are in a table that imports nothing; those of one's own are imported in a worker process, never in
the one that reads the route file.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sensor_platform.routes.sources import FormatSources
from sensor_platform.routes.wording import did_you_mean
from sensor_platform.transformers import registry
from sensor_platform.transformers.options import first_problem
from sensor_platform.transformers.worker.owner import call_worker
from sensor_platform.transformers.worker.requests import Format

#: Formats whose payloads say which sensor they are of.
NAMES_SENSORS = registry.NAMES_SENSORS


def known_formats() -> list[str]:
    """Those that come along."""
    return list(registry.known())


@dataclass(frozen=True, slots=True)
class OptionProblem:
    """What a format has against options, and where: steps from the options on."""

    loc: Sequence[int | str]
    sentence: str


@dataclass(frozen=True, slots=True)
class Formats:
    """The formats that come along, and `own`, which `sources` bring."""

    sources: FormatSources
    own: tuple[str, ...] = ()

    def with_modules(self, modules: Collection[str], folder: Path | None) -> "Formats":
        """With those of the modules of one more file, which lies in `folder`."""
        beside = [folder.absolute()] if modules and folder is not None else []
        sources = replace(
            self.sources,
            modules=tuple(dict.fromkeys([*self.sources.modules, *modules])),
            beside=tuple(dict.fromkeys([*self.sources.beside, *beside])),
        )
        return replace(self, sources=sources)

    def imported(self) -> "Formats":
        """With the names of one's own, now that the worker, which then has them for decoding, has imported them.

        Raises:
            FormatSourceError: a module cannot be imported.
        """
        if not self.sources.modules and self.sources.folder is None:
            return self
        return replace(self, own=tuple(call_worker(self.sources, lambda worker: worker.registered)))

    def problem(self, name: str) -> str | None:
        """What is wrong with the format of that name; None: it can be used."""
        known = sorted({*registry.known(), *self.own})
        if name not in known:
            return f'unknown format "{name}".{did_you_mean(name, known)}'
        error = None if name in registry.known_here() else self._described(name).error
        return None if error is None else f'format "{name}": {error}'

    def option_problem(self, name: str, options: dict[str, Any]) -> OptionProblem | None:
        """What a known format has against options; None: it takes them."""
        said, known = self._said(name, options)
        return None if said is None else OptionProblem(said["loc"], _sentence(said, known))

    def _said(self, name: str, options: dict[str, Any]) -> tuple[Mapping[str, Any] | None, Collection[str]]:
        """The first error of the format's model, if any, and the names that it knows."""
        if name in registry.known_here():
            model = registry.get(name).options
            return (None, ()) if model is None else (first_problem(model, options), model.model_fields)
        if not self._described(name).checks_options:
            return None, ()
        said = call_worker(self.sources, lambda worker: worker.check_options(name, options))
        return said.get("problem"), said.get("known", ())

    def _described(self, name: str) -> Format:
        return call_worker(self.sources, lambda worker: worker.describe(name))


def _sentence(error: Mapping[str, Any], known: Collection[str]) -> str:
    steps = [str(step) for step in error["loc"]]
    where = ".".join(
        ["options", *(step for step in steps if not step.startswith(("function-", "tuple[", "FieldOption")))]
    )
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        return f"{where} is unknown.{did_you_mean(str(error['loc'][0]), known)}"
    if error["type"] == "missing":
        return f"{where} is missing"
    return f"{where}: {error['msg']}"
