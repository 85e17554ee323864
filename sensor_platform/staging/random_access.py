"""A file of known size that is read here and there: its end, and then what that says is where."""

import io
import os


class RandomAccess(io.RawIOBase):
    """Knows its place; who reads at it, and moves it on, is a subclass."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes, self._place = size_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size_bytes}[whence]
        return self._place
