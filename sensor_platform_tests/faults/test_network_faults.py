"""The network between broker and collector is hurt as TCP can be: nothing is lost, doubled or out of order."""

import random
import time
from pathlib import Path

import pytest

from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform_tests.faults.figures import staged_rows
from sensor_platform_tests.faults.proxy import Direction
from sensor_platform_tests.faults.trial import HANG_S, KEEP_ALIVE_S, LONG, Trial
from sensor_platform_tests.waiting import wait_until

pytestmark = pytest.mark.slow
both_protocols = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


@both_protocols
def test_a_link_that_is_cut_again_and_again(own_broker: EmbeddedBroker, home: Path, protocol: str) -> None:
    chance = random.Random(11)
    with Trial(own_broker, home, protocol, rate=2000) as trial:
        for cuts in range(10):
            trial.connect(cuts + 1)
            trial.confirm(chance.randrange(100, 1500))
            trial.link.cut()
        figures = trial.settled().show(f"cut ten times, {protocol}")
    assert figures.is_clean
    assert figures.connections >= 10


@pytest.mark.parametrize("protocol", ["5", "3.1.1"] if LONG else ["3.1.1"])
def test_the_first_20_s_after_a_cut(own_broker: EmbeddedBroker, home: Path, protocol: str) -> None:
    with Trial(own_broker, home, protocol, rate=100) as trial:
        trial.confirm(100)
        trial.link.cut()
        before = len(trial.load.confirmed)
        over_s = time.monotonic() + 20
        wait_until(lambda: time.monotonic() > over_s, "20 s", 60)
        after = trial.load.confirmed[before:]
        figures = trial.settled()
        missing = set(after) - set(trial.staged())
        figures.show(f"the first 20 s after a cut, {protocol}", confirmed_then=len(after), missing_then=len(missing))
    assert missing == set()
    assert len(after) > 500
    assert figures.is_clean


@both_protocols
def test_redelivery_flagged_dup(own_broker: EmbeddedBroker, home: Path, protocol: str) -> None:
    """DUP says that the broker sent it before, not that we have it: some of these we have, the others we never saw."""
    with Trial(own_broker, home, protocol) as trial:
        trial.confirm(100)
        trial.link.half_open(Direction.TO_BROKER)
        trial.stage(300)  # their acknowledgements go nowhere
        trial.link.cut()
        trial.connect(2)
        trial.stage()
        trial.link.half_open(Direction.TO_CLIENT)
        trial.confirm(300)  # they go nowhere themselves
        trial.link.cut()
        trial.connect(3)
        figures = trial.settled()
        first_seen = sum(1 for row in staged_rows(home) if row["dup"] and row["redelivery_of"] is None)
        figures.show(f"redelivery flagged DUP, {protocol}", flagged_but_first_seen=first_seen)
    assert figures.is_clean
    assert figures.redelivered >= 300
    assert first_seen > 0


@pytest.mark.parametrize(
    ("dead", "protocol"),
    [
        ([Direction.TO_BROKER], "5"),
        ([Direction.TO_CLIENT], "3.1.1"),
        (list(Direction), "3.1.1"),
    ],
)
def test_a_half_open_connection_is_noticed_and_left(
    own_broker: EmbeddedBroker, home: Path, dead: list[Direction], protocol: str
) -> None:
    with Trial(own_broker, home, protocol, rate=200) as trial:
        trial.confirm(100)
        trial.link.half_open(*dead)
        trial.connect(2)  # by itself: the dead connection stays dead
        trial.stage()
        figures = trial.settled()
        figures.show(f"half-open {' and '.join(each.value for each in dead)}, {protocol}")
    assert figures.is_clean


@pytest.mark.parametrize("protocol", ["5", "3.1.1"] if LONG else ["5"])
@pytest.mark.timeout(300 + 2 * HANG_S)
def test_a_hung_link_for_240_s(own_broker: EmbeddedBroker, home: Path, protocol: str) -> None:
    """No reset, no end: connections open and nothing passes, new ones included."""
    assert HANG_S > 4 * KEEP_ALIVE_S
    with Trial(own_broker, home, protocol, rate=200) as trial:
        trial.confirm(200)
        with trial.link.hanging():
            over_s = time.monotonic() + HANG_S
            wait_until(lambda: time.monotonic() > over_s, "the hang", 2 * HANG_S)
            attempts = trial.link.accepted - 1
            assert attempts >= 1, "it never noticed"
        trial.stage()
        figures = trial.settled()
        figures.show(f"a link hung for {HANG_S:g} s, {protocol}", attempts_meanwhile=attempts)
    assert figures.is_clean
    assert attempts <= HANG_S


@both_protocols
def test_a_slow_link_flows(own_broker: EmbeddedBroker, home: Path, protocol: str) -> None:
    with Trial(own_broker, home, protocol, rate=1000) as trial:
        trial.link.delay_s = 0.2
        trial.stage(5000)
        figures = trial.settled().show(f"200 ms each way, {protocol}")
    assert figures.is_clean
    assert figures.connections == 1
