"""What a message says about later ones: a Sparkplug birth, the DataSetMetaData of OPC UA.

A definition holds for its key from its message on, until the next one of that key in received order. Those of earlier
micro-batches, of the messages between and of the column itself are one timeline here, so that a transformer only asks:
what was in force at this message? Where the earlier ones come from (the database, a process's memory, nowhere) is not
its business.
"""

import json
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensor_platform.errors import DefinitionsUnavailableError
from sensor_platform.transformers.numbers import is_storable

#: What was defined, as JSON holds it. Shared between all who ask: do not change it.
Content = dict[str, Any]

#: UTF-8. An index of PostgreSQL takes no more than some 2,700.
MAX_KEY_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Definition:
    """`content` holds for `key` from this message of a column on.

    message: a place in the column; of a definition from outside of it, the place of the first message after it.
    key: whom it concerns, in the words of the format: "group/node/device".
    """

    message: int
    key: str
    content: Content


#: Key -> its definitions from outside of a column, in received order. Keys of which nothing is known may be left out.
Find = Callable[[Collection[str]], Mapping[str, Sequence[Definition]]]


def _find_nothing(_keys: Collection[str]) -> Mapping[str, Sequence[Definition]]:
    return {}


class Definitions:
    """The definitions that stand outside of a column of messages, looked up when they are asked for, once a key."""

    def __init__(self, find: Find = _find_nothing) -> None:
        self._find = find
        self._found: dict[str, Sequence[Definition]] = {}

    def expect(self, keys: Iterable[str]) -> None:
        """Looks up those of `keys` that were not asked for yet, all in one question.

        Raises:
            DefinitionsUnavailableError: the question could not be answered; not to be taken for "there are none".
        """
        new = set(keys) - self._found.keys()
        asked = sorted(filter(_is_key, new))  # of others nothing can be known, and a database would refuse the question
        answer = self._answer(asked) if asked else {}
        self._found |= {key: answer.get(key, ()) for key in new}

    def _answer(self, keys: Collection[str]) -> Mapping[str, Sequence[Definition]]:
        try:
            return self._find(keys)
        except (MemoryError, DefinitionsUnavailableError):
            raise
        except Exception as err:
            why, _, _ = str(err).partition("\n")
            what = "what earlier messages defined cannot be looked up, try again later"
            raise DefinitionsUnavailableError(f"{what}: {type(err).__name__}: {why}") from err

    def of(self, key: str) -> Sequence[Definition]:
        """All of `key`, in received order."""
        self.expect([key])
        return self._found[key]

    def find(self, keys: Collection[str]) -> Mapping[str, Sequence[Definition]]:
        """Those of `keys`, as another process asks for them."""
        self.expect(keys)
        return {key: self.of(key) for key in keys}

    def taken(self, places: np.ndarray) -> "Definitions":
        """The same for a column of only the messages at `places`, which rise."""

        def find(keys: Collection[str]) -> Mapping[str, Sequence[Definition]]:
            self.expect(keys)
            return {key: [self._moved(one, places) for one in self.of(key)] for key in keys}

        return Definitions(find)

    def overlaid(self, more: Sequence[Definition]) -> "Definitions":
        """The same with `more`, which are messages of the column, found where another part of it was decoded."""
        if not more:
            return self

        def find(keys: Collection[str]) -> Mapping[str, Sequence[Definition]]:
            self.expect(keys)
            own: dict[str, list[Definition]] = {}
            for one in more:
                own.setdefault(one.key, []).append(one)
            # Stable: one from outside that stands before message n comes before the one in message n.
            return {key: sorted([*self.of(key), *own.get(key, [])], key=lambda one: one.message) for key in keys}

        return Definitions(find)

    @staticmethod
    def _moved(one: Definition, places: np.ndarray) -> Definition:
        return Definition(int(np.searchsorted(places, one.message)), one.key, one.content)

    def __reduce__(self) -> tuple[Any, ...]:
        """Over the border of a process goes what was looked up so far."""
        return _already_found, (self._found,)


def _already_found(found: dict[str, Sequence[Definition]]) -> Definitions:
    definitions = Definitions()
    definitions._found = found
    return definitions


class Timeline:
    """What a transformer walks with: the definitions from outside, and those that it finds itself."""

    def __init__(self, definitions: Definitions) -> None:
        self.found: list[Definition] = []
        self._definitions = definitions
        self._by_key: dict[str, tuple[list[int], list[Content]]] = {}

    def expect(self, keys: Iterable[str]) -> None:
        """Asks for several keys at once, which costs less than one by one."""
        self._definitions.expect(keys)

    def define(self, message: int, key: str, content: Content) -> None:
        """`message` defines `key`; asking for that message itself, too, gives `content`."""
        messages, contents = self._of(key)
        place = bisect_right(messages, message)
        messages.insert(place, message)
        contents.insert(place, content)
        self.found.append(Definition(message, key, content))

    def history(self, key: str) -> tuple[list[int], list[Content]]:
        """From which message on what holds, for who asks for many messages at once. Not to be changed."""
        return self._of(key)

    def latest(self, key: str, message: int) -> Content | None:
        """What is in force for `key` at `message`; None where nothing defined it before."""
        messages, contents = self._of(key)
        place = bisect_right(messages, message)
        return contents[place - 1] if place else None

    def _of(self, key: str) -> tuple[list[int], list[Content]]:
        found = self._by_key.get(key)
        if found is None:
            known = self._definitions.of(key)
            found = self._by_key[key] = [one.message for one in known], [one.content for one in known]
        return found


def _is_key(key: Any) -> bool:
    return isinstance(key, str) and is_storable(key) and 0 < len(key.encode()) <= MAX_KEY_BYTES


def check_definitions(definitions: Iterable[Definition], count: int) -> None:
    """Holds a transformer's definitions to the contract. Raises TypeError or ValueError."""
    for one in definitions:
        if not 0 <= one.message < count:
            raise ValueError(f"the transformer defines something in a message outside of its {count}")
        if not _is_key(one.key):
            raise TypeError(f"the key of a definition is not a string of 1 to {MAX_KEY_BYTES} storable bytes")
        if not isinstance(one.content, dict):
            raise TypeError("the content of a definition is not a dict")
        json.dumps(one.content, allow_nan=False)
        if not all(map(is_storable, _strings(one.content))):
            raise ValueError("the content of a definition holds U+0000 or a lone surrogate")


def _strings(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for name, entry in content.items():
            yield name
            yield from _strings(entry)
    elif isinstance(content, list | tuple):
        for entry in content:
            yield from _strings(entry)
