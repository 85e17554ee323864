"""The limits of an answer: one for all of it, one for each call, which grows with the messages of the call."""

import pytest

from sensor_platform.transformers.worker.limits import TimeLimits


def test_a_call_has_its_limit_and_a_share_for_each_of_its_messages() -> None:
    limits = TimeLimits(100, 10, now_s=0)
    assert limits.reached_s(1, 1000, now_s=5) is None
    assert limits.reached_s(1, 1000, now_s=16) is None
    assert limits.reached_s(1, 1000, now_s=16.5) == 11


def test_the_time_of_a_call_begins_with_it() -> None:
    limits = TimeLimits(100, 10, now_s=0)
    assert limits.reached_s(1, 1, now_s=9) is None
    assert limits.reached_s(2, 1, now_s=18) is None
    assert limits.reached_s(2, 1, now_s=28.5) == pytest.approx(10.001)


def test_work_of_our_own_has_the_whole_limit() -> None:
    limits = TimeLimits(100, 10, now_s=0)
    assert limits.reached_s(0, 0, now_s=0) is None
    assert limits.reached_s(0, 0, now_s=99) is None
    assert limits.reached_s(0, 0, now_s=101) == 100


def test_many_short_calls_reach_the_limit_of_the_answer() -> None:
    limits = TimeLimits(20, 10, now_s=0)
    assert limits.reached_s(1, 1, now_s=0) is None
    assert limits.reached_s(2, 1, now_s=19) is None
    assert limits.reached_s(3, 1, now_s=21) == 20


def test_what_the_parent_took_is_not_counted() -> None:
    limits = TimeLimits(20, 10, now_s=0)
    assert limits.reached_s(1, 1, now_s=0) is None
    limits.leave_out(50)
    assert limits.reached_s(1, 1, now_s=60) is None
    assert limits.reached_s(1, 1, now_s=61) == pytest.approx(10.001)
