"""The leaves of a parsed object, and what number each is. An element of an array is named by its place: `phases.0`."""

import numbers
from collections.abc import Iterator
from typing import Any

import numpy as np

from sensor_platform.transformers.numbers import GREATEST_INTEGER, LEAST_INTEGER, OutOfRange, shown

#: Deeper than any device nests its values; well inside Python's own recursion limit.
MAX_DEPTH = 64
#: Of all names together; ten thousand metrics of a usual device have a tenth of it.
MAX_NAME_CHARACTERS_A_MESSAGE = 4 * 2**20


class RefusedValueError(Exception):
    """A value that cannot become a reading; `code` as in DEAD_LETTER_CODES."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class NamesMade:
    """The names put together for one message, each kept once: a long one above many leaves would fill the memory."""

    __slots__ = ("_characters", "_known")

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._characters = 0

    def made(self, name: str) -> str:
        """`name`, the same object each time. Raises RefusedValueError where all together are too long."""
        known = self._known.get(name)
        if known is not None:
            return known
        self._characters += len(name)
        if self._characters > MAX_NAME_CHARACTERS_A_MESSAGE:
            detail = f"the names of a message's metrics have more than {MAX_NAME_CHARACTERS_A_MESSAGE} characters"
            raise RefusedValueError("names_too_long", f"{detail}, at {shown(name)}")
        self._known[name] = name
        return name


def leaves(
    tree: dict[str, Any], left_out: tuple[Any, ...], *, texts: bool = False, names: NamesMade | None = None
) -> Iterator[tuple[str, Any]]:
    """Every leaf but null (and strings, without `texts`), by dotted path, in document order; elements of an array by
    their place. `names`: those of the whole message, where the tree is a part of one."""
    names = NamesMade() if names is None else names
    for name, leaf in tree.items():
        kind = type(leaf)
        if kind is float or kind is int:
            if name not in left_out:
                yield name, leaf
        elif (texts or kind is not str) and leaf is not None and name not in left_out:
            if kind is dict or kind is list:
                yield from _nested(name, leaf, 1, texts, names)
            else:
                yield name, leaf


def _nested(
    path: str, tree: dict[str, Any] | list[Any], depth: int, texts: bool, names: NamesMade
) -> Iterator[tuple[str, Any]]:
    if depth > MAX_DEPTH:
        raise RefusedValueError("too_deep", f"nested deeper than {MAX_DEPTH} levels at {shown(path)}")
    for name, leaf in tree.items() if isinstance(tree, dict) else enumerate(tree):
        kind = type(leaf)
        if kind is dict or kind is list:
            yield from _nested(names.made(f"{path}.{name}"), leaf, depth + 1, texts, names)
        elif (texts or kind is not str) and leaf is not None:
            yield names.made(f"{path}.{name}"), leaf


def metric_name(name: Any) -> str:
    if type(name) is not str:
        raise RefusedValueError("invalid_metric", f"the metric's name {shown(name)} is not a string")
    return name


def convert(raw: Any) -> float:
    """The number that `raw` is: an int of 64 bits, or a float."""
    if isinstance(raw, OutOfRange):
        raise RefusedValueError("number_out_of_range", f"the number {shown(raw)} does not fit in 64 bits")
    if isinstance(raw, bool | np.bool):
        return float(raw)
    if isinstance(raw, numbers.Integral):
        integer = int(raw)
        if not LEAST_INTEGER <= integer <= GREATEST_INTEGER:
            raise RefusedValueError("number_out_of_range", f"the number {shown(integer)} does not fit in 64 bits")
        return integer
    if isinstance(raw, numbers.Real):
        return float(raw)
    raise RefusedValueError("value_not_number", f"{shown(raw)} is not a number")
