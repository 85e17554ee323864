"""What is measured: a case is one line of a table. The parts can be asked for one by one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks.publisher import PAYLOAD_BYTES

PROTOCOLS = ("3.1.1", "5")
PARTS = ("comparison", "alone", "workers", "payloads", "tls")
SIZES_BYTES = (50, 150, 1024, 8192, 65536)

COLLECTOR, NOBODY, IN_C, PATHWAY = "collector", "nobody", "mosquitto_sub", "pathway"
ALTERNATIVES = (IN_C, "paho_grouped", "paho_each")

#: The slow ones show their rate with fewer messages; what is fast needs more for a whole second.
SHARE = {PATHWAY: 0.25, "paho_grouped": 0.25, "paho_each": 0.02}
ALONE_SHARE = 5
#: Of one run, whatever the size of its payloads.
MOST_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Case:
    """Who receives what, how. `nobody`: the publisher's own ceiling, without a subscriber."""

    part: str
    subscriber: str
    protocol: str
    messages: int
    payload_bytes: int = PAYLOAD_BYTES
    workers: int = 1


def cases(parts: tuple[str, ...], *, messages: int, workers: int, with_pathway: bool) -> list[Case]:
    """In the order of the tables. Who measures them in turns lets what else the machine does hurt all alike."""
    of_part: dict[str, Iterator[Case]] = {
        "comparison": _comparison(messages, with_pathway=with_pathway),
        "alone": _alone(messages, with_pathway=with_pathway),
        "workers": (Case("workers", COLLECTOR, protocol, messages, workers=workers) for protocol in PROTOCOLS),
        "payloads": _payloads(messages),
        "tls": (Case("tls", name, protocol, messages) for protocol in PROTOCOLS for name in (COLLECTOR, IN_C)),
    }
    return [case for part in PARTS if part in parts for case in of_part[part]]


def _comparison(messages: int, *, with_pathway: bool) -> Iterator[Case]:
    yield Case("comparison", NOBODY, "3.1.1", messages)
    yield from _everybody("comparison", messages, with_pathway=with_pathway)


def _alone(messages: int, *, with_pathway: bool) -> Iterator[Case]:
    """Against a broker that only sends: what each can take when the broker is not the limit."""
    for case in _everybody("alone", messages, with_pathway=with_pathway):
        yield replace(case, messages=case.messages * ALONE_SHARE) if case.subscriber == COLLECTOR else case


def _everybody(part: str, messages: int, *, with_pathway: bool) -> Iterator[Case]:
    for protocol in PROTOCOLS:
        for name in (COLLECTOR, *ALTERNATIVES):
            yield Case(part, name, protocol, max(1, int(messages * SHARE.get(name, 1))))
    if with_pathway:  # it speaks 3.1.1 alone
        yield Case(part, PATHWAY, "3.1.1", max(1, int(messages * SHARE[PATHWAY])))


def _payloads(messages: int) -> Iterator[Case]:
    for size in SIZES_BYTES:
        for name in (NOBODY, COLLECTOR, IN_C):
            protocol = "3.1.1" if name == NOBODY else "5"
            yield Case("payloads", name, protocol, min(messages, MOST_BYTES // size), size)
