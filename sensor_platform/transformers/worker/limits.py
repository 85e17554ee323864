"""How long an answer of the worker may take, and each call of a transformer in it."""

#: Of a call's limit, for each of its messages: a group of 10,000 has ten seconds more than a message alone.
SHARE_S = 0.001


class TimeLimits:
    """The limits of one answer, which is waited for from now on.

    limit_s: for all of it. call_limit_s: for one call of the transformer, beside SHARE_S for each of its messages.
    """

    def __init__(self, limit_s: float, call_limit_s: float, *, now_s: float) -> None:
        self._limit_s = limit_s
        self._call_limit_s = call_limit_s
        self._began_s = self._call_began_s = now_s
        self._at_call = -1

    def leave_out(self, took_s: float) -> None:
        """What the parent itself took is not counted."""
        self._began_s += took_s
        self._call_began_s += took_s

    def reached_s(self, call: int, count: int, *, now_s: float) -> float | None:
        """The limit that is reached; None: none. The worker is at its call number `call`, for `count` messages."""
        if call != self._at_call:
            self._at_call, self._call_began_s = call, now_s
        # Our own part of the work, count 0, has the whole limit.
        allowed_s = self._call_limit_s + count * SHARE_S if count else self._limit_s
        if now_s - self._call_began_s > allowed_s:
            return allowed_s
        return self._limit_s if now_s - self._began_s > self._limit_s else None
