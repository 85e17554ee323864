"""Redelivery is recognised at the door: nothing doubled and, above all, nothing lost."""

from collections import Counter

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensor_platform.mqtt.redelivery import RedeliveryWindow
from sensor_platform.staging.format import Group
from sensor_platform_tests.mqtt.simulated_broker import SimulatedBroker, SimulatedCollector

IDS = 64
IN_FLIGHT = 12

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 60), st.none()),
        st.tuples(st.just("read"), st.integers(1, 40), st.none()),
        st.tuples(st.just("read, die before fsync"), st.integers(1, 40), st.none()),
        st.tuples(st.just("read, die before all acknowledgements"), st.integers(1, 40), st.integers(0, 40)),
        st.tuples(st.just("seal"), st.just(0), st.none()),
        st.tuples(st.just("connection breaks"), st.just(0), st.none()),
        st.tuples(st.just("kill"), st.just(0), st.none()),
        st.tuples(st.just("session lost"), st.just(0), st.none()),
    ),
    max_size=60,
)


Steps = list[tuple[str, int, int | None]]


def play(steps: Steps, *, counts_up: bool, constant_payload: bool) -> None:
    broker = SimulatedBroker(ids=IDS, window=IN_FLIGHT, counts_up=counts_up)
    assert outcome(broker, steps, constant_payload=constant_payload) == (set(), set())


def outcome(broker: SimulatedBroker, steps: Steps, *, constant_payload: bool) -> tuple[set[int], set[int]]:
    """The messages that are doubled, and those that are lost."""
    collector = SimulatedCollector(broker, constant_payload=constant_payload)
    for name, count, acknowledged in steps:
        broker.send()
        match name:
            case "publish":
                broker.publish(count)
            case "read":
                collector.read(count)
            case "read, die before fsync":
                collector.read(count, reaches_disk=False)
            case "read, die before all acknowledgements":
                collector.read(count, acknowledged=acknowledged)
            case "seal":
                collector.seal()
            case "connection breaks":
                collector.reconnect()
            case "kill":
                collector.restart()
            case "session lost":
                broker.lose_session()
                collector.restart()
    while broker.queue or broker.in_flight:
        broker.send()
        collector.read(1000)
    kept = Counter(collector.kept())
    doubled = {message for message, times in kept.items() if times > 1}
    lost = set(range(broker.published)) - set(kept) - broker.dropped
    return doubled, lost


@settings(max_examples=300, deadline=None)
@given(STEPS)
# The ids went round once: the same id and the same bytes, and yet another message.
@example([("publish", 60, None), *[("read", 40, None)] * 7, ("publish", 60, None), ("kill", 0, None)])
def test_a_broker_that_counts_ids_up_with_equal_payloads(steps: list[tuple[str, int, int | None]]) -> None:
    play(steps, counts_up=True, constant_payload=True)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_a_broker_that_reuses_the_lowest_id_with_payloads_of_their_own(
    steps: list[tuple[str, int, int | None]],
) -> None:
    play(steps, counts_up=False, constant_payload=False)


@settings(max_examples=300, deadline=None)
@given(STEPS, st.booleans())
# Each id stands for two messages at once, and the later ones have all come when the first come again.
@example(
    [("publish", 100, None), ("read", 12, None), ("connection breaks", 0, None)]
    + [("read, die before all acknowledgements", 200, 0)] * 2,
    True,
)
def test_a_broker_that_pours_out_its_backlog_may_double_messages_and_loses_none(
    steps: Steps, constant_payload: bool
) -> None:
    broker = SimulatedBroker(ids=IDS, window=IN_FLIGHT, counts_up=True, pours_out=True)
    _, lost = outcome(broker, steps, constant_payload=constant_payload)
    assert lost == set()


def one(packet_id: int, payload: bytes, *, dup: bool = False, connection: int = 1, qos0: bool = False) -> Group:
    first = 0x30 if qos0 else 0x3A if dup else 0x32
    return Group(bytes([first]), [b"t"], [payload], [packet_id], connection)


def test_the_same_message_again_names_its_original() -> None:
    window = RedeliveryWindow()
    window.connected()
    assert window.mark(one(5, b"x"), first_sequence=10) is None
    window.connected()
    assert window.mark(one(5, b"x", dup=True), first_sequence=11) == [10]
    window.connected()
    assert window.mark(one(5, b"x", dup=True), first_sequence=12) == [10]  # the first one, not the one before


def test_dup_alone_is_no_proof() -> None:
    window = RedeliveryWindow()
    window.connected()
    window.mark(one(5, b"x"), first_sequence=0)
    assert window.mark(one(5, b"x", dup=True), first_sequence=1) == [
        None
    ]  # same connection: the broker does not do that
    window.connected()
    assert window.mark(one(6, b"x", dup=True), first_sequence=2) == [None]  # another id
    assert window.mark(one(6, b"y", dup=True), first_sequence=3) == [None]  # another payload


def test_a_new_session_makes_ids_mean_nothing() -> None:
    window = RedeliveryWindow()
    window.connected()
    window.mark(one(5, b"x"), first_sequence=0)
    window.connected()
    window.forget()
    assert window.mark(one(5, b"x", dup=True), first_sequence=1) == [None]


def test_qos_0_has_no_part_in_it() -> None:
    window = RedeliveryWindow()
    window.connected()
    for sequence in range(3):
        assert window.mark(one(0, b"x", qos0=True), first_sequence=sequence) is None
    assert window.snapshot().rows.num_rows == 0
    assert not window.reuses_ids_early


def test_early_reuse_of_ids_is_noticed_and_survives_a_restart() -> None:
    window = RedeliveryWindow()
    window.connected()
    window.mark(one(1, b"x"), first_sequence=0)
    assert not window.reuses_ids_early
    window.mark(one(1, b"y"), first_sequence=1)
    assert window.reuses_ids_early
    restarted = RedeliveryWindow()
    restarted.restore(window.snapshot())
    assert restarted.reuses_ids_early
    assert restarted.connection == 1
