"""Which stretches of received order a changed definition concerns: up to the next of its key, as few as can be."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sensor_platform.pipeline.outcome import Place
from sensor_platform.pipeline.outdated import Stretch, behind, joined


def at(minute: int, sequence: int = 1) -> Place:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute), f"a-{minute}", sequence


def stretch(first: int, last: int | None, format_: str = "f") -> Stretch:
    return Stretch(format_, at(first)[:2], None if last is None else at(last)[:2])


def test_a_new_one_concerns_all_up_to_the_next() -> None:
    stands = {at(1): b"a", at(3): b"b", at(7): b"c"}
    assert list(behind("f", {at(3)}, {}, stands)) == [stretch(3, 7)]
    assert list(behind("f", {at(7)}, {}, stands)) == [stretch(7, None)]


def test_a_new_one_that_says_what_was_in_force_concerns_nothing() -> None:
    assert list(behind("f", {at(3)}, {}, {at(1): b"a", at(3): b"a", at(7): b"c"})) == []


def test_one_that_changed_concerns_what_stands_behind_whatever_it_says_now() -> None:
    assert list(behind("f", {at(3)}, {at(3): b"b"}, {at(1): b"a", at(3): b"a", at(7): b"c"})) == [stretch(3, 7)]


def test_one_that_is_gone_concerns_what_it_was_in_force_for() -> None:
    assert list(behind("f", {at(3)}, {at(3): b"b"}, {at(1): b"a", at(7): b"c"})) == [stretch(3, 7)]


def test_what_was_in_force_is_what_no_load_brings_now() -> None:
    """Two that say the same are both news, though the second follows the first."""
    stands = {at(1): b"a", at(3): b"b", at(5): b"b", at(7): b"c"}
    assert list(behind("f", {at(3), at(5)}, {}, stands)) == [stretch(3, 5), stretch(5, 7)]


def in_force(stands: dict[Place, bytes], minute: int) -> bytes | None:
    before = [place for place in stands if place <= at(minute)]
    return stands[max(before)] if before else None


DEFINED = st.dictionaries(st.integers(1, 8).map(at), st.sampled_from([b"a", b"b"]))


@given(before=DEFINED, after=DEFINED)
def test_wherever_another_is_in_force_is_in_a_stretch(before: dict[Place, bytes], after: dict[Place, bytes]) -> None:
    changed = {place for place in before.keys() | after.keys() if before.get(place) != after.get(place)}
    stretches = list(behind("f", changed, before, after))
    for minute in range(1, 10):
        if in_force(before, minute) != in_force(after, minute):
            here = at(minute)[:2]
            assert any(one.first <= here and (one.last is None or here <= one.last) for one in stretches)


def test_within_a_micro_batch_the_sequence_decides() -> None:
    stands = {at(1, 1): b"a", at(1, 5): b"b", at(2): b"c"}
    assert list(behind("f", {at(1, 5)}, {}, stands)) == [stretch(1, 2)]
    assert list(behind("f", {at(1, 1)}, {}, stands)) == [stretch(1, 1)]


def test_stretches_that_meet_are_one() -> None:
    each = [stretch(1, 3), stretch(3, 5), stretch(2, 4), stretch(7, 8), stretch(1, 3, "g")]
    assert list(joined(each)) == [stretch(1, 5), stretch(7, 8), stretch(1, 3, "g")]
    assert list(joined([])) == []


def test_births_of_thousands_of_nodes_are_one_stretch_without_end() -> None:
    each = [stretch(minute, None) for minute in range(3000, 0, -1)] + [stretch(2, 9)]
    assert list(joined(each)) == [stretch(1, None)]
