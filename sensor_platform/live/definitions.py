"""What messages said of later ones, as the live path knows it: heard itself, or asked for once where it was not."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from sensor_platform.errors import DatabaseUnavailableError
from sensor_platform.transformers.definitions import Content, Definition, Definitions

#: Keys that are remembered; beyond it the one heard first is asked for again.
REMEMBERED_KEYS = 20_000

#: Format and keys -> the newest definition of each, as far as there is one.
Ask = Callable[[str, Iterable[str]], Mapping[str, Content]]


def _nobody(_format: str, _keys: Iterable[str]) -> Mapping[str, Content]:
    return {}


class HeardDefinitions:
    """`of` and `learn` belong to one thread; `forget` may be called by another."""

    def __init__(self, ask: Ask = _nobody) -> None:
        self._ask = ask
        self._known: dict[tuple[str, str], Content | None] = {}

    def of(self, format_: str) -> Definitions:
        """Those of one format, all before the messages that come next."""
        return Definitions(lambda keys: self._find(format_, keys))

    def learn(self, found: Mapping[str, Sequence[Definition]]) -> None:
        """What a group of messages defined, by format."""
        for format_, definitions in found.items():
            for one in definitions:
                self._remember(format_, one.key, one.content)

    def forget(self) -> None:
        """For when messages may have been missed."""
        self._known = {}

    def _find(self, format_: str, keys: Collection[str]) -> Mapping[str, Sequence[Definition]]:
        new = [key for key in keys if (format_, key) not in self._known]
        try:
            answer = self._ask(format_, new) if new else {}
        except DatabaseUnavailableError:
            answer, new = {}, []  # asked again with the next group
        for key in new:
            self._remember(format_, key, answer.get(key))
        known = {key: self._known.get((format_, key)) for key in keys}
        return {key: [Definition(0, key, content)] for key, content in known.items() if content is not None}

    def _remember(self, format_: str, key: str, content: Content | None) -> None:
        known = self._known
        known[format_, key] = content
        if len(known) > REMEMBERED_KEYS:
            del known[next(iter(known))]
