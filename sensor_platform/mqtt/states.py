"""The states of a collector, and the steps between them that make sense."""

from enum import StrEnum


class State(StrEnum):
    """What a collector is doing."""

    CONNECTING = "connecting"  # or waiting to try again: the error says why
    COLLECTING = "collecting"
    DRAINING = "draining"  # told to stop: staging and sealing what it has read
    WAITING = "waiting"  # switched off
    STOPPED = "stopped"


NEXT: dict[State, frozenset[State]] = {
    State.CONNECTING: frozenset({State.COLLECTING, State.DRAINING}),
    State.COLLECTING: frozenset({State.CONNECTING, State.DRAINING}),
    State.DRAINING: frozenset({State.WAITING, State.CONNECTING, State.STOPPED}),
    State.WAITING: frozenset({State.CONNECTING, State.STOPPED}),
    State.STOPPED: frozenset(),
}


def step(before: State, after: State) -> State:
    """The new state; staying is no step. Raises ValueError for one that cannot follow."""
    if after != before and after not in NEXT[before]:
        raise ValueError(f"a collector cannot go from {before} to {after}")
    return after
