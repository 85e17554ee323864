"""What became of confirmed messages: the publishers' logs against every row that is staged, sealed or still open."""

import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensor_platform.staging.store import OPEN_FOLDER, SUFFIX, LocalStaging
from sensor_platform.staging.torn import read_torn
from sensor_platform_tests.faults.load import Load
from sensor_platform_tests.faults.tap import Tap

COLUMNS = ["sequence", "payload", "dup", "connection", "redelivery_of"]


@dataclass(frozen=True, slots=True)
class Figures:
    """In messages, but for `connections`. Those in doubt may be staged once, or not at all."""

    confirmed: int
    in_doubt: int
    staged: int
    redelivered: int
    lost: int
    doubled: int
    out_of_order: int
    connections: int

    @property
    def is_clean(self) -> bool:
        return self.lost == self.doubled == self.out_of_order == 0

    def show(self, title: str, **beside: object) -> "Figures":
        """Printed; `pytest -s` or `-rA` shows it."""
        words = " ".join(f"{name}={value}" for name, value in beside.items())
        sys.stdout.write(f"\n{title}: {self} {words}\n")
        return self


def staged_rows(home: Path) -> list[dict[str, Any]]:
    """Every staged message, in received order: those in open files too."""
    store = LocalStaging(home / "staging")
    batches = [batch for each in store.micro_batches() for batch in store.read(each).to_batches()]
    for path in store.root.glob(f"{OPEN_FOLDER}/*/*{SUFFIX}"):
        batches += [stamped.batch for stamped in read_torn(path).batches]
    rows = [row for batch in batches for row in batch.select(COLUMNS).to_pylist()]
    # A file that was between link and unlink stands in both places, with the same sequences.
    return [row for _, row in sorted({row["sequence"]: row for row in rows}.items())]


def originals(rows: Iterable[dict[str, Any]]) -> list[bytes]:
    """The payloads that the pipeline will decode, without padding."""
    return [row["payload"].rstrip(b"\0") for row in rows if row["redelivery_of"] is None]


def account(rows: Sequence[dict[str, Any]], loads: Sequence[Load], *, connections: int) -> Figures:
    """By comparing ids, never by subtracting counts."""
    staged = originals(rows)
    times = Counter(staged)
    confirmed = [payload for load in loads for payload in load.confirmed]
    return Figures(
        confirmed=len(confirmed),
        in_doubt=sum(len(load.in_doubt) for load in loads),
        staged=len(staged),
        redelivered=len(rows) - len(staged),
        lost=sum(1 for payload in confirmed if payload not in times),
        doubled=sum(times.values()) - len(times),
        out_of_order=sum(_out_of_order(staged, load.name) for load in loads),
        connections=connections,
    )


def _out_of_order(staged: Iterable[bytes], name: str) -> int:
    """Messages of one publisher that stand behind a later one."""
    prefix, newest, count = name.encode() + b" ", -1, 0
    for payload in staged:
        if payload.startswith(prefix):
            number = int(payload.removeprefix(prefix))
            count += number < newest
            newest = max(newest, number)
    return count


def acknowledged_but_not_staged(tap: Tap, rows: Sequence[dict[str, Any]]) -> int:
    """Acknowledgements on the wire for which no row stands, in that order: must be 0.

    Repeats count on both sides: each PUBACK answers one PUBLISH, and each PUBLISH that was read has a row of its own.
    """
    staged = [row["payload"] for row in rows]
    assert missing_in(staged, [each.payload for each in tap.delivered]) == 0, "staged what was not delivered so"
    strangers = sum(len(wire.strangers) for wire in tap.wires)
    return strangers + missing_in(tap.acknowledged, staged)


def missing_in(part: Sequence[bytes], whole: Iterable[bytes]) -> int:
    """How many of `part`, from the first that is missing on, do not stand in `whole` in the order of `part`."""
    rest = iter(whole)
    found = sum(1 for _ in itertools.takewhile(lambda each: each in rest, part))
    return len(part) - found
