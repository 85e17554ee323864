"""How an error of the route file guesses what was meant."""

import difflib
from collections.abc import Collection

#: Names that are listed.
MOST = 40


def did_you_mean(word: str, known: Collection[str]) -> str:
    """` Did you mean "…"? Known: ….`; only what is known where nothing is near, the first `MOST` of it."""
    # A low bar: one wrong guess costs a person less than none.
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    guess = f' Did you mean "{near[0]}"?' if near else ""
    if not known:
        return " There are none."
    names = sorted(known)
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return f"{guess} Known: {', '.join(names[:MOST])}{more}."
