"""How long to wait before the next attempt: longer each time, never in step with others, short again after progress."""

import random


class Backoff:
    """Doubles from `least_s` up to `most_s`. Only progress resets it: a connection that breaks at once is none."""

    def __init__(self, *, least_s: float, most_s: float) -> None:
        self._least_s = least_s
        self._most_s = most_s
        self._attempts = 0

    def next_s(self) -> float:
        """Between half and all of the present step, at random."""
        step_s = min(self._most_s, self._least_s * 2.0 ** min(self._attempts, 32))
        self._attempts += 1
        return step_s * random.uniform(0.5, 1.0)  # noqa: S311  # jitter, no secret

    def longest_s(self) -> float:
        """The cap at once, where trying again soon would do harm."""
        self._attempts = 32
        return self.next_s()

    def progress(self) -> None:
        """Something was achieved: the next wait is short."""
        self._attempts = 0
