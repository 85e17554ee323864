"""What is sent to the broker, in which order, when filters change; the answers are written by hand."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from sensor_platform.errors import StagingUnavailableError
from sensor_platform.mqtt.connection import Protocol
from sensor_platform.mqtt.session import OnAnswer, Session
from sensor_platform.mqtt.subscriber import Standing, Subscriber
from sensor_platform.mqtt.subscriptions import (
    AddedSubscriptions,
    KeptSubscriptions,
    Told,
    cover,
    in_group,
    without_group,
)
from sensor_platform_tests.staging.failing_disk import FailingDisk

NO_SUBSCRIPTION_EXISTED = 17


class Line:
    """Stands where the session does: keeps what was sent, and lets a test answer."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.endpoint = "broker:1883"
        self.sent: list[tuple[str, list[str]]] = []
        self.on_answer: OnAnswer | None = None

    def subscribe(self, filters: list[str], *, on_answer: OnAnswer) -> None:
        self.sent.append(("subscribe", list(filters)))
        self.on_answer = on_answer

    def unsubscribe(self, filters: list[str], *, on_answer: OnAnswer) -> None:
        self.sent.append(("unsubscribe", list(filters)))
        self.on_answer = on_answer

    def answer(self, *codes: int) -> None:
        assert self.on_answer is not None
        self.on_answer([reason(code) for code in codes])


def reason(code: int) -> ReasonCode:
    packet = PacketTypes.UNSUBACK if code == NO_SUBSCRIPTION_EXISTED else PacketTypes.SUBACK
    return ReasonCode(packet, identifier=code)  # type: ignore[no-untyped-call]


def subscriber(folder: Path, protocol: Protocol = Protocol.V5, *, ask_again_s: float = 60) -> tuple[Subscriber, Line]:
    line = Line(protocol)
    kept = KeptSubscriptions(folder, session="me@broker")
    return Subscriber(cast("Session", line), kept, ask_again_s=ask_again_s), line


def told(folder: Path) -> Told:
    return KeptSubscriptions(folder, session="me@broker").read()


def test_new_filters_are_granted_before_old_ones_are_left(tmp_path: Path) -> None:
    KeptSubscriptions(tmp_path, session="me@broker").write(Told(frozenset({"a/+", "b"})))
    one, line = subscriber(tmp_path)
    wanted = ("a/#", "b")
    for _ in range(3):
        one.turn(wanted)
    assert line.sent == [("subscribe", ["a/#", "b"])]
    assert one.standing == (Standing("a/#", "pending"), Standing("a/+", "granted"), Standing("b", "granted"))
    line.answer(1, 1)
    one.turn(wanted)
    assert line.sent[1:] == [("unsubscribe", ["a/+"])]
    line.answer(0)
    one.turn(wanted)
    assert len(line.sent) == 2
    assert told(tmp_path) == Told(frozenset({"a/#", "b"}))
    assert one.standing == (Standing("a/#", "granted"), Standing("b", "granted"))


def test_3_1_1_is_told_only_what_is_new(tmp_path: Path) -> None:
    KeptSubscriptions(tmp_path, session="me@broker").write(Told(frozenset({"a", "old"})))
    one, line = subscriber(tmp_path, Protocol.V311)
    one.turn(("a", "b"))
    assert line.sent == [("subscribe", ["b"])]


def test_a_filter_whose_wider_successor_is_refused_stays(tmp_path: Path) -> None:
    KeptSubscriptions(tmp_path, session="me@broker").write(Told(frozenset({"a/+", "old"})))
    one, line = subscriber(tmp_path, ask_again_s=0)
    wanted = ("a/#",)
    one.turn(wanted)
    line.answer(135)
    assert "a/# (Not authorized)" in str(one.refusal)
    assert one.standing[:2] == (Standing("a/#", "refused", "Not authorized"), Standing("a/+", "granted"))
    one.turn(wanted)
    assert line.sent[1:] == [("subscribe", ["a/#"])]  # asked again: the rules may have been mended
    line.answer(1)
    assert one.refusal is None
    one.turn(wanted)
    assert line.sent[2:] == [("unsubscribe", ["a/+", "old"])]


def test_a_filter_that_is_no_longer_wanted_is_refused_no_more(tmp_path: Path) -> None:
    one, line = subscriber(tmp_path)
    one.turn(("a", "b"))
    line.answer(135, 1)
    one.turn(("b",))
    assert one.refusal is None
    assert line.sent[1:] == [("unsubscribe", ["a"])]  # it may stand from before


def test_what_was_asked_for_is_left_by_a_later_process_that_does_not_want_it(tmp_path: Path) -> None:
    one, _ = subscriber(tmp_path)
    one.turn(("a", "gone"))  # and killed before the answer
    after, line = subscriber(tmp_path, Protocol.V311)
    after.turn(("a",))
    assert line.sent == [("subscribe", ["a"])]
    line.answer(1)
    after.turn(("a",))
    assert line.sent[1:] == [("unsubscribe", ["gone"])]


def test_one_that_leaves_and_dies_of_it_subscribes_again_at_its_next_start(tmp_path: Path) -> None:
    KeptSubscriptions(tmp_path, session="me@broker").write(Told(frozenset({"a"})))
    one, line = subscriber(tmp_path, Protocol.V311)
    one.turn(("a", "b"))
    suback = line.on_answer
    assert suback is not None
    answered = one.unsubscribe_all(("a", "b"))
    assert (line.sent[1:], answered(), one.standing) == ([("unsubscribe", ["a", "b"])], False, ())
    suback([reason(1), reason(1)])
    assert not answered()
    line.answer(NO_SUBSCRIPTION_EXISTED, NO_SUBSCRIPTION_EXISTED)
    assert answered()
    after, line = subscriber(tmp_path, Protocol.V311)
    after.turn(("a", "b"))
    assert line.sent == [("subscribe", ["a", "b"])]


def test_what_the_session_has_is_told_of_without_being_asked_for_again(tmp_path: Path) -> None:
    KeptSubscriptions(tmp_path, session="me@broker").write(Told(frozenset({"a"})))
    one, line = subscriber(tmp_path, Protocol.V311)
    one.turn(("a",))
    assert (line.sent, one.settled, one.standing) == ([], True, (Standing("a", "granted"),))


def test_shared_subscriptions_are_asked_for_on_each_connection(tmp_path: Path) -> None:
    KeptSubscriptions(tmp_path, session="me@broker").write(Told(frozenset({"$share/g/a", "b"})))
    one, line = subscriber(tmp_path, Protocol.V311)
    one.turn(("$share/g/a", "b"))
    assert line.sent == [("subscribe", ["$share/g/a"])]


def test_a_filter_added_again_after_a_kill_in_its_unsubscribe_is_subscribed_to(tmp_path: Path) -> None:
    KeptSubscriptions(tmp_path, session="me@broker").write(Told(frozenset({"a", "old"})))
    one, line = subscriber(tmp_path, Protocol.V311)
    one.turn(("a",))
    assert line.sent == [("unsubscribe", ["old"])]  # and killed before the answer
    after, line = subscriber(tmp_path, Protocol.V311)
    after.turn(("a", "old"))
    assert line.sent == [("subscribe", ["old"])]
    unwanted, line = subscriber(tmp_path, Protocol.V311)
    unwanted.turn(("a",))
    assert line.sent == [("unsubscribe", ["old"])]


@pytest.mark.parametrize("fails_at", range(5))
def test_a_full_disk_keeps_no_filter_for_granted_that_was_left(tmp_path: Path, fails_at: int) -> None:
    kept = KeptSubscriptions(tmp_path, session="me@broker")
    kept.write(Told(frozenset({"a", "old"})))
    one, line = subscriber(tmp_path, Protocol.V311)
    with FailingDisk(tmp_path, fails_at=fails_at, for_more=100)() as disk, pytest.raises(StagingUnavailableError):
        one.turn(("a",))
    assert len(disk.done) == fails_at
    assert line.sent == []
    assert kept.read().granted | kept.read().asked == {"a", "old"}
    after, line = subscriber(tmp_path, Protocol.V311)
    after.turn(("a", "old"))
    assert line.sent in ([], [("subscribe", ["old"])])  # it is there still, so both are right


def test_a_connect_without_an_answer_leaves_the_session_in_doubt(tmp_path: Path) -> None:
    kept = KeptSubscriptions(tmp_path, session="me@broker")
    told = Told(frozenset({"a"}), frozenset({"b"}))
    kept.write(told)
    kept.connecting(noted=True)
    kept.connected(session_present=True)
    assert kept.read() == told
    kept.connecting(noted=True)  # and no answer comes, or the process dies
    after = KeptSubscriptions(tmp_path, session="me@broker")
    after.connecting(noted=False)
    after.connected(session_present=True)
    assert kept.read() == Told(asked=frozenset({"a", "b"}))
    kept.write(told)
    kept.connecting(noted=True)
    kept.connected(session_present=True)
    assert kept.read() == told


def test_many_filters_go_in_packets_of_bounded_size(tmp_path: Path) -> None:
    one, line = subscriber(tmp_path)
    wanted = tuple(f"t/{n}" for n in range(450))
    while len(told(tmp_path).granted) < 450:
        one.turn(wanted)
        line.answer(*[1] * len(line.sent[-1][1]))
    assert [len(filters) for _, filters in line.sent] == [200, 200, 50]


def test_kept_subscriptions_are_those_of_the_same_session(tmp_path: Path) -> None:
    kept = KeptSubscriptions(tmp_path, session="me@broker")
    assert kept.read() == Told()
    kept.write(Told(frozenset({"a/+", "b"}), frozenset({"c"})))
    assert kept.read() == Told(frozenset({"a/+", "b"}), frozenset({"c"}))
    assert KeptSubscriptions(tmp_path, session="me@elsewhere").read() == Told()
    kept.forget()
    assert kept.read() == Told()


def test_the_cover_is_disjoint_and_survives_a_row_that_is_no_filter(tmp_path: Path) -> None:
    assert cover(["f/+/a", "f/+/b"], ["f/#", "g/+", "no#", "g/x"]) == ("f/#", "g/+")
    assert in_group(("f/#",), "plant") == ("$share/plant/f/#",)
    assert in_group(("f/#",), None) == ("f/#",)
    assert without_group("$share/plant/f/#") == "f/#"
    assert without_group("$SYS/#") == "$SYS/#"


@pytest.mark.parametrize("content", ["", "{", "7", json.dumps(["a", "b/+"])])
def test_the_local_copy_is_read_or_empty(tmp_path: Path, content: str) -> None:
    (tmp_path / "added_subscriptions").write_text(content)
    found: Any = AddedSubscriptions(tmp_path).read()
    assert found == (("a", "b/+") if content.startswith("[") else ())
