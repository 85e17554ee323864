"""How an error of the route file guesses what was meant."""

import difflib
from collections.abc import Collection


def did_you_mean(word: str, known: Collection[str]) -> str:
    """` Did you mean "…"? Known: ….`; only what is known where nothing is near."""
    # A low bar: one wrong guess costs a person less than none.
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    guess = f' Did you mean "{near[0]}"?' if near else ""
    return f"{guess} Known: {', '.join(sorted(known))}."
