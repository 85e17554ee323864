"""The states of a dead letter and the steps between them. A step that is not here is a mistake, and says so."""

from enum import StrEnum

from sensor_platform.errors import SensorPlatformError


class State(StrEnum):
    """Where a dead letter stands."""

    PENDING = "pending"
    RETRYING = "retrying"
    RESOLVED = "resolved"
    EXHAUSTED = "exhausted"
    DISCARDED = "discarded"


#: A load resolves a letter of any state when it is not refused any more, and makes a resolved one pending again.
STEPS: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.RETRYING, State.RESOLVED, State.DISCARDED}),
    State.RETRYING: frozenset({State.PENDING, State.RESOLVED, State.EXHAUSTED, State.DISCARDED}),
    State.EXHAUSTED: frozenset({State.RETRYING, State.RESOLVED, State.DISCARDED}),
    State.DISCARDED: frozenset({State.RESOLVED}),
    State.RESOLVED: frozenset({State.PENDING}),
}


class WrongStepError(SensorPlatformError):
    """A dead letter cannot go from its state to the one asked for."""

    def __init__(self, letter: int, state: str, wanted: str) -> None:
        self.letter, self.state, self.wanted = letter, state, wanted
        allowed = ", ".join(sorted(STEPS[State(state)])) or "nothing"
        super().__init__(f"dead letter {letter} is {state} and cannot become {wanted}; it can become {allowed}")


class UnknownLetterError(SensorPlatformError):
    """There is no dead letter of that id."""

    def __init__(self, letter: int) -> None:
        self.letter = letter
        super().__init__(f"there is no dead letter {letter}; `sensor-platform dead-letters list` shows them")


def check_step(letter: int, state: str, wanted: State) -> None:
    """Raises unless the step is one of STEPS."""
    if wanted not in STEPS[State(state)]:
        raise WrongStepError(letter, state, wanted)
