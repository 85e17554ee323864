"""What the collector is held to, and whether the figures show it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmarks.cases import ALTERNATIVES, COLLECTOR, PATHWAY, PROTOCOLS, Case

RATE, CPU = "messages_per_s", "cpu_us_per_message"
#: The collector's figure divided by the other one's: at least this rate, at most this CPU time a message.
LEAST_RATE = {"mosquitto_sub": 1.1, PATHWAY: 2.0, "paho_each": 5.0, "paho_grouped": 3.0}
MOST_CPU = {"mosquitto_sub": 1.2}
LEAST_ALONE = 200_000


@dataclass(frozen=True, slots=True)
class Figures:
    """The medians of a case."""

    case: Case
    messages_per_s: float
    cpu_us_per_message: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One figure beside what it should be. `target` and `holds` are None where nothing is asked."""

    figure: str
    protocol: str
    value: float | None
    target: str | None
    holds: bool | None


def verdicts(figures: Iterable[Figures]) -> Iterator[Verdict]:
    """The collector beside each alternative, and alone."""
    of = {(each.case.part, each.case.subscriber, each.case.protocol): each for each in figures}
    for protocol in PROTOCOLS:
        ours = of.get(("comparison", COLLECTOR, protocol))
        for name in (*ALTERNATIVES, PATHWAY):
            # Pathway speaks 3.1.1 alone.
            other = of.get(("comparison", name, protocol)) or of.get(("comparison", name, "3.1.1"))
            if ours and other:
                yield _at_least(f"{RATE}, collector / {name}", ours, other, LEAST_RATE[name])
                yield _at_most(f"{CPU}, collector / {name}", ours, other, MOST_CPU.get(name))
    for protocol in PROTOCOLS:
        if alone := of.get(("alone", COLLECTOR, protocol)):
            rate = round(alone.messages_per_s)
            yield Verdict(f"{RATE}, alone", protocol, rate, f">= {LEAST_ALONE}", rate >= LEAST_ALONE)
            for name in (*ALTERNATIVES, PATHWAY):
                if other := of.get(("alone", name, protocol)):
                    value = round(alone.messages_per_s / other.messages_per_s, 2)
                    yield Verdict(f"{RATE}, alone, collector / {name}", protocol, value, None, None)


def _at_least(figure: str, ours: Figures, other: Figures, target: float) -> Verdict:
    value = ours.messages_per_s / other.messages_per_s
    return Verdict(figure, ours.case.protocol, round(value, 2), f">= {target}", value >= target)


def _at_most(figure: str, ours: Figures, other: Figures, target: float | None) -> Verdict:
    value = None
    if ours.cpu_us_per_message and other.cpu_us_per_message:  # 0: too little for the clock
        value = ours.cpu_us_per_message / other.cpu_us_per_message
    return Verdict(
        figure,
        ours.case.protocol,
        value and round(value, 2),
        None if target is None else f"<= {target}",
        None if value is None or target is None else value <= target,
    )
