"""A YAML text as mappings and lists that know their lines, so that an error is one line with its number.

Aliases share what they name, and all that reads a document writes them out again: forty lines could become more than a
machine has room for. So how large and how deep a document is with its aliases written out is bounded here, before
anybody walks it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from sensor_platform.errors import ConfigurationError

#: Characters and entries that aliases may add to a file.
MAX_UNFOLDED = 1_000_000
MAX_DEPTH = 100


def parse_document(text: str, *, source: str) -> Any:
    """What the text holds; mappings and lists are CommentedMap and CommentedSeq.

    Raises:
        ConfigurationError: it is not YAML, or its aliases make it too large or too deep; with the line.
    """
    try:
        document = YAML(typ="rt").load(text)
        _Unfolding(source, most=len(text) + MAX_UNFOLDED).measure(document, 1)
    except MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        reason = (err.problem or "not YAML").split("\n")[0]
        raise error_at(source, mark.line + 1 if mark else 1, f"not YAML: {reason}") from err
    except (YAMLError, RecursionError, ValueError, TypeError) as err:  # a TypeError: a key that is a list of lists
        reason = str(err).splitlines()[0] if str(err) else type(err).__name__
        raise error_at(source, 1, f"not YAML: {reason}") from err
    except (LookupError, AttributeError) as err:  # over which the library stumbles
        problem = "not YAML: a tag (`!!bool maybe`) or a merge (`<<`) in it cannot be followed"
        raise error_at(source, 1, f"{problem}: {type(err).__name__}: {err}") from err
    return document


def error_at(source: str, line: int, problem: str) -> ConfigurationError:
    return ConfigurationError(f"{source}:{line}: {problem}")


def line_of(node: CommentedMap | CommentedSeq, key: Any) -> int:
    """The line of an entry; that of the mapping where a merge (`<<: *defaults`) brought it."""
    place = (node.lc.data or {}).get(key)
    return int((node.lc.line or 0) if place is None else place[0]) + 1


def deepest_line(node: Any, path: Sequence[int | str], line: int) -> int:
    """The line of what `path` leads to, as far as the file has it; `line` where it has nothing of it."""
    for key in path:
        if not isinstance(node, CommentedMap | CommentedSeq):
            break
        try:
            node, line = node[key], line_of(node, key)
        except (KeyError, IndexError, TypeError):
            continue  # a step of the model that the file does not show, or what is missing
    return line


def plain(node: Any) -> Any:
    """Without the types of the YAML library, which a model or a hash would show."""
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    return node


def shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


class _Unfolding:
    """How large and deep each part is with its aliases written out. A part is walked once, however many name it."""

    def __init__(self, source: str, *, most: int) -> None:
        self._source = source
        self._most = most
        self._known: dict[int, tuple[int, int]] = {}
        self._open: set[int] = set()

    def measure(self, node: Any, line: int) -> tuple[int, int]:
        """Characters and entries, and levels, of `node`."""
        if not isinstance(node, CommentedMap | CommentedSeq):
            return _size_of_scalar(node), 0
        if id(node) in self._open:
            raise error_at(self._source, line, "an alias stands within what it names")
        if id(node) not in self._known:
            self._open.add(id(node))
            self._known[id(node)] = self._measured(node, line)
            self._open.remove(id(node))
        return self._known[id(node)]

    def _measured(self, node: CommentedMap | CommentedSeq, line: int) -> tuple[int, int]:
        size, depth = 1, 0
        for key, value in _entries(node):
            size_of_value, depth_of_value = self.measure(value, line_of(node, key))
            size += size_of_value + (_size_of_scalar(key) if isinstance(node, CommentedMap) else 0)
            depth = max(depth, depth_of_value)
            if size > self._most:
                problem = f"what its aliases (*name) stand for adds more than {MAX_UNFOLDED:,} characters and entries"
                raise error_at(self._source, line_of(node, key), f"{problem}: write out what is needed")
        if depth >= MAX_DEPTH:
            raise error_at(self._source, line, f"it is nested deeper than {MAX_DEPTH} levels")
        return size, depth + 1


def _entries(node: CommentedMap | CommentedSeq) -> Iterator[tuple[Any, Any]]:
    return iter(node.items()) if isinstance(node, CommentedMap) else enumerate(node)


def _size_of_scalar(value: Any) -> int:
    return 1 + (len(value) if isinstance(value, str) else 0)
