"""What was confirmed to publishers, against what stands in the staging area: the figures of a fault test."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sensor_platform.staging.format import number_of
from sensor_platform.staging.store import LocalStaging


@dataclass(frozen=True, slots=True)
class Tally:
    """In messages; `staged` counts the recognised repeats too."""

    confirmed: int
    staged: int
    repeats: int
    lost: int
    doubled: int
    out_of_order: int


def tally(confirmed: Sequence[bytes], staging: LocalStaging) -> Tally:
    """`confirmed`: payloads in the order of publishing, each of them unique; one publisher."""
    rows = sealed_rows(staging)
    originals = [row["payload"] for row in rows if row["redelivery_of"] is None]
    times = Counter(originals)
    place = {payload: number for number, payload in enumerate(confirmed)}
    places = [place[payload] for payload in originals if payload in place]
    return Tally(
        confirmed=len(confirmed),
        staged=len(rows),
        repeats=len(rows) - len(originals),
        lost=sum(payload not in times for payload in confirmed),
        doubled=sum(count - 1 for count in times.values()),
        out_of_order=sum(before > after for before, after in pairwise(places)),
    )


def prove_each_once(what: str, confirmed: Sequence[bytes], staging: LocalStaging) -> Tally:
    """Prints the figures; fails unless each confirmed message is staged once, in order, and the files are in order."""
    found = tally(confirmed, staging)
    print(f"{what}: {found}")
    assert found.confirmed > 0
    assert (found.lost, found.doubled, found.out_of_order) == (0, 0, 0), found
    prove_order_of_files(staging)
    return found


def prove_order_of_files(staging: LocalStaging) -> None:
    """Counters say the order, and neither received times nor hours ever contradict them; one incarnation."""
    files = sorted(staging.micro_batches(), key=lambda each: number_of(each.name))
    assert len({each.name.rpartition("-")[0] for each in files}) == 1, "one collector, one incarnation"
    assert all(one.hour <= next_one.hour for one, next_one in pairwise(files)), "hours go back"
    rows = [row for each in files for row in staging.read(each).select(["sequence", "received_at"]).to_pylist()]
    assert [row["sequence"] for row in rows] == list(range(len(rows))), "a sequence was used twice, or is missing"
    assert all(one["received_at"] < after["received_at"] for one, after in pairwise(rows)), "received times go back"


def sealed_rows(staging: LocalStaging) -> list[dict[str, Any]]:
    """Every sealed message, by sequence."""
    found = [row for each in staging.micro_batches() for row in staging.read(each).to_pylist()]
    return sorted(found, key=lambda row: row["sequence"])


def hours(staging: LocalStaging) -> list[str]:
    """The received hours of which there are files, as people write them."""
    return sorted({f"{each.hour:%Y-%m-%d %Hh}" for each in staging.micro_batches()})
