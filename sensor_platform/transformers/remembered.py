"""A memory that is bounded by bytes, not by entries: a birth may hold three metrics or thirty thousand."""

import sys
from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Beyond `max_bytes` goes what was not asked for longest; the newest stays, whatever its size. For any thread."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._size_bytes = 0
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """What was put under `key`, as far as it is remembered."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            self._entries.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, size_bytes: int) -> None:
        """Takes the place of what was under `key`."""
        with self._lock:
            _, before = self._entries.pop(key, (None, 0))
            self._entries[key] = value, size_bytes
            self._size_bytes += size_bytes - before
            while self._size_bytes > self._max_bytes and len(self._entries) > 1:
                _, (_, size) = self._entries.popitem(last=False)
                self._size_bytes -= size

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def __len__(self) -> int:
        return len(self._entries)


def size_of(content: Any) -> int:
    """Bytes that a document of dicts, lists and plain values takes in memory; what it holds twice counts twice."""
    size, left = 0, [content]
    while left:
        one = left.pop()
        size += sys.getsizeof(one)
        if isinstance(one, dict):
            left += one.keys()
            left += one.values()
        elif isinstance(one, list | tuple):
            left += one
    return size
