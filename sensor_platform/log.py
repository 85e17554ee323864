"""Log lines are an event and keys, on stderr: for people on a terminal, JSON lines everywhere else.

Where stderr is a file on a full disk, a line may be lost; what is at work goes on.
"""

import logging
import sys
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog


def set_up_logging(*, level: int = logging.INFO, json_lines: bool | None = None) -> None:
    """Sends structlog to stderr. `json_lines` None: JSON unless stderr is a terminal."""
    as_json = not sys.stderr.isatty() if json_lines is None else json_lines
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Unfailing(sys.stderr))),
        cache_logger_on_first_use=False,
    )


class _Unfailing:
    """A stream that takes what it can."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def get_logger(**keys: Any) -> structlog.typing.FilteringBoundLogger:
    """A logger with `keys` on each of its lines."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger(**keys))
