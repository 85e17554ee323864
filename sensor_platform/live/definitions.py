"""What messages said of later ones, as the live path knows it: heard itself, or asked for where it was not.

A thread of its own, `live-definitions`, asks. A database that answers does so in milliseconds, and for that decoding
waits; one that does not holds up nobody: what needs no definition is decoded meanwhile, what needs one is refused, and
the question is asked again after a while.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from threading import Condition, Thread
from types import TracebackType
from typing import Self

from sensor_platform.errors import SensorPlatformError
from sensor_platform.log import get_logger
from sensor_platform.transformers.definitions import Content, Definition, Definitions
from sensor_platform.transformers.remembered import Remembered, size_of

log = get_logger(part="live")

#: Of definitions that are remembered; beyond it the one not used for longest is asked for again.
REMEMBERED_BYTES = 64 * 1024 * 1024
#: What a key takes of which nothing is known, and besides its content: roughly.
ENTRY_BYTES = 300
#: Keys that wait to be asked for; beyond it the oldest are asked for with their next message.
WANTED_KEYS = 20_000
#: Keys in one question.
QUESTION_KEYS = 1_000
#: Decoding waits so long for an answer, as long as answers come.
PATIENCE_S = 0.25
#: After a question that failed.
AGAIN_AFTER_S = 5.0
#: Of which nothing is known may be born, unheard: asked for again after this.
UNKNOWN_FOR_S = 30.0
STOP_TIMEOUT_S = 1.0

#: Format and keys -> the newest definition of each, as far as there is one. May take its time, and may fail.
Ask = Callable[[str, Iterable[str]], Mapping[str, Content]]

#: Format, key.
_Key = tuple[str, str]


class HeardDefinitions:
    """`of` and `learn` belong to one thread; `forget` and `trouble` are for any. Without `ask` nobody is asked, and no
    thread is needed; with it, only within the context of this."""

    def __init__(
        self,
        ask: Ask | None = None,
        *,
        patience_s: float = PATIENCE_S,
        again_after_s: float = AGAIN_AFTER_S,
        unknown_for_s: float = UNKNOWN_FOR_S,
    ) -> None:
        self._ask = ask
        self._patience_s = patience_s
        self._again_after_s = again_after_s
        self._unknown_for_s = unknown_for_s
        self._known: Remembered[_Key, tuple[Content | None, float]] = Remembered(REMEMBERED_BYTES)
        self._changed = Condition()  # guards all that follows, and what is known
        self._wanted: dict[_Key, None] = {}
        self._asked: frozenset[_Key] = frozenset()
        self._forgotten = 0
        self._is_slow = False
        self._error: str | None = None
        self._again_at_s = 0.0
        self._stopping = False
        self._thread = Thread(target=self._ask_on, name="live-definitions", daemon=True)

    def __enter__(self) -> Self:
        if self._ask is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._ask is not None:
            self._thread.join(STOP_TIMEOUT_S)

    def of(self, format_: str) -> Definitions:
        """Those of one format, all before the messages that come next."""
        return Definitions(lambda keys: self._find(format_, keys))

    def learn(self, found: Mapping[str, Sequence[Definition]]) -> None:
        """What a group of messages defined, by format."""
        with self._changed:
            for format_, definitions in found.items():
                for one in definitions:
                    self._wanted.pop((format_, one.key), None)
                    self._remember((format_, one.key), one.content)

    def forget(self) -> None:
        """For when messages may have been missed."""
        with self._changed:
            self._known.clear()
            self._wanted = {}
            self._forgotten += 1

    @property
    def trouble(self) -> str | None:
        """Why data that needs an earlier definition may not be shown now; None: nothing is in the way."""
        with self._changed:
            waiting = len(self._wanted) + len(self._asked)
            if self._error is None and not self._is_slow:
                return None
            why = self._error or "the database has not answered yet"
            return f"{waiting} definitions are not known, and asked for again: {why}"

    # ---- the thread that decodes

    def _find(self, format_: str, keys: Collection[str]) -> Mapping[str, Sequence[Definition]]:
        with self._changed:
            new = [(format_, key) for key in keys if self._is_unknown((format_, key))]
            if new and self._ask is not None:
                self._want(new)
            known = {key: self._content((format_, key)) for key in keys}
        return {key: [Definition(0, key, content)] for key, content in known.items() if content is not None}

    def _content(self, key: _Key) -> Content | None:
        known = self._known.get(key)
        return None if known is None else known[0]

    def _is_unknown(self, key: _Key) -> bool:
        known = self._known.get(key)
        return known is None or (known[0] is None and time.monotonic() - known[1] >= self._unknown_for_s)

    def _want(self, keys: list[_Key]) -> None:
        """Waits for the answer as long as answers come in time; otherwise it will be known to a later group."""
        self._wanted |= dict.fromkeys(key for key in keys if key not in self._asked)
        while len(self._wanted) > WANTED_KEYS:
            del self._wanted[next(iter(self._wanted))]
        self._changed.notify_all()
        if self._is_slow or self._error is not None:
            return
        waiting = set(keys)

        def is_over() -> bool:
            return self._stopping or self._error is not None or not (waiting & (self._asked | self._wanted.keys()))

        if not self._changed.wait_for(is_over, self._patience_s):
            self._is_slow = True
            log.warning("live_definitions_slow", waited_s=self._patience_s, keys=len(keys))

    def _remember(self, key: _Key, content: Content | None) -> None:
        size = ENTRY_BYTES + len(key[1]) + (0 if content is None else size_of(content))
        self._known.put(key, (content, time.monotonic()), size)

    # ---- thread live-definitions

    def _ask_on(self) -> None:
        while (question := self._next_question()) is not None:
            format_, keys, forgotten = question
            try:
                answer = self._answer(format_, keys)
            except Exception as err:  # noqa: BLE001 - the top of a thread: whatever it is, the question is asked again
                self._failed(keys, err)
            else:
                self._answered(keys, answer, forgotten)

    def _answer(self, format_: str, keys: list[_Key]) -> Mapping[str, Content]:
        assert self._ask is not None
        return self._ask(format_, [key for _, key in keys])

    def _next_question(self) -> tuple[str, list[_Key], int] | None:
        """Wanted keys of one format, as soon as there are any and it is time; None: the end."""
        with self._changed:
            while not self._stopping:
                pause_s = self._again_at_s - time.monotonic() if self._error is not None else 0.0
                if self._wanted and pause_s <= 0:
                    format_ = next(iter(self._wanted))[0]
                    keys = [key for key in self._wanted if key[0] == format_][:QUESTION_KEYS]
                    for key in keys:
                        del self._wanted[key]
                    self._asked = frozenset(keys)
                    return format_, keys, self._forgotten
                self._changed.wait(pause_s if self._wanted else None)
        return None

    def _answered(self, keys: list[_Key], answer: Mapping[str, Content], forgotten: int) -> None:
        with self._changed:
            if self._error is not None or self._is_slow:
                log.info("live_definitions_answered")
            self._asked, self._error, self._is_slow = frozenset(), None, False
            for key in keys:
                # What was heard meanwhile is newer; what was asked before something was missed may be too old.
                if forgotten == self._forgotten and self._is_unknown(key):
                    self._remember(key, answer.get(key[1]))
            self._changed.notify_all()

    def _failed(self, keys: list[_Key], err: Exception) -> None:
        error = str(err) if isinstance(err, SensorPlatformError) else f"{type(err).__name__}: {err}"
        with self._changed:
            if self._error is None:
                log.warning("live_definitions_unavailable", error=error)
            self._asked, self._error = frozenset(), error
            self._again_at_s = time.monotonic() + self._again_after_s
            self._wanted |= dict.fromkeys(key for key in keys if self._is_unknown(key))
            self._changed.notify_all()
