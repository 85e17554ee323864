"""The contracts of a route file: those under `contracts`, which routes name, and those that a route has itself."""

from typing import Any

from pydantic import ValidationError
from ruamel.yaml.comments import CommentedMap

from sensor_platform.routes.contract import Contract, contract_problem
from sensor_platform.routes.document import deepest_line, error_at, line_of, plain
from sensor_platform.routes.wording import did_you_mean


class NamedContracts:
    """Those of one file. Each is checked, whether a route names it or not."""

    def __init__(self, source: str, document: CommentedMap) -> None:
        self._source = source
        found = document.get("contracts", CommentedMap())
        if not isinstance(found, CommentedMap):
            raise error_at(source, line_of(document, "contracts"), "contracts is a mapping of names to contracts")
        self._by_name = {
            str(name): self._checked(given, line_of(found, name), f'contract "{name}"') for name, given in found.items()
        }

    def of(self, entry: CommentedMap, who: str) -> dict[str, Any] | None:
        """That of a route: its own, or the one that it names."""
        given = entry.get("contract")
        if given is None:
            return None
        line = line_of(entry, "contract")
        if not isinstance(given, str):
            return self._checked(given, line, who)
        if given not in self._by_name:
            known = did_you_mean(given, self._by_name) if self._by_name else " There are none under contracts."
            raise error_at(self._source, line, f'{who}: unknown contract "{given}".{known}')
        return self._by_name[given]

    def _checked(self, given: Any, line: int, who: str) -> dict[str, Any]:
        if not isinstance(given, CommentedMap):
            raise error_at(self._source, line, f"{who}: a contract is a mapping with a version, and metrics")
        contract: dict[str, Any] = plain(given)
        try:
            Contract.model_validate(contract)
        except ValidationError as err:
            first = err.errors(include_url=False)[0]
            at = deepest_line(given, first["loc"], line)
            raise error_at(self._source, at, f"{who}: {contract_problem(first)}") from err
        return contract
