"""A memory bounded by bytes: what was not asked for longest goes first."""

import pytest

from sensor_platform.transformers import sparkplug_births
from sensor_platform.transformers.remembered import Remembered, size_of
from sensor_platform.transformers.sparkplug_births import compiled, content_of


def test_beyond_its_bytes_goes_what_was_not_asked_for_longest() -> None:
    memory: Remembered[str, int] = Remembered(100)
    for number, name in enumerate("abc"):
        memory.put(name, number, 40)
        assert memory.get("a") == 0
    assert (memory.get("b"), memory.get("c")) == (None, 2)
    assert memory.size_bytes == 80


def test_what_is_put_again_counts_once() -> None:
    memory: Remembered[str, int] = Remembered(100)
    for number in range(5):
        memory.put("a", number, 60)
    assert (memory.get("a"), memory.size_bytes, len(memory)) == (4, 60, 1)


def test_the_newest_stays_whatever_its_size() -> None:
    memory: Remembered[str, int] = Remembered(100)
    memory.put("small", 1, 10)
    memory.put("large", 2, 1000)
    assert (memory.get("small"), memory.get("large")) == (None, 2)
    memory.clear()
    assert (memory.size_bytes, len(memory)) == (0, 0)


def test_a_document_is_at_least_as_large_as_its_texts_and_lists() -> None:
    rows = [[f"metric {number}", number, 10, None] for number in range(1000)]
    assert 150_000 < size_of({"metrics": rows}) < 500_000


def test_compiled_births_are_bounded_by_their_size_and_large_ones_count_for_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def born(metrics: int) -> dict[str, object]:
        return content_of([(f"metric {number}", number, 10, None) for number in range(metrics)])

    contents = [born(1000) for _ in range(10)]
    one = size_of(contents[0]) + compiled(contents[0]).size_bytes
    memory: Remembered[int, object] = Remembered(4 * one)
    monkeypatch.setattr(sparkplug_births, "remembered", memory)
    births = [compiled(content) for content in contents]
    assert (len(memory), memory.size_bytes) == (4, 4 * one)
    assert compiled(contents[-1]) is births[-1]
    small = [born(1) for _ in range(50)]
    for content in small:
        compiled(content)
    assert len(memory) > 50
    assert memory.size_bytes <= 4 * one
