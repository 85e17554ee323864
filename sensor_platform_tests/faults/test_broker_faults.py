"""The broker is restarted, paused, killed, made to forget, and asked to serve two collectors as one.

Where it keeps its state, the publisher's log is the truth. Where it does not, the wire is: what we acknowledged is
staged, and what the broker forgot is printed beside.
"""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import paho.mqtt.client as paho
import paho.mqtt.publish as paho_publish
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform_tests.faults.figures import Figures, account, acknowledged_but_not_staged, staged_rows
from sensor_platform_tests.faults.trial import CLIENT_ID, KEEP_ALIVE_S, LONG, ROOT, Trial, connections, paused
from sensor_platform_tests.mqtt.collecting import collector_process, make_settings
from sensor_platform_tests.waiting import wait_until

pytestmark = pytest.mark.slow
both_protocols = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


@both_protocols
def test_a_broker_restarted_under_load(own_broker: EmbeddedBroker, home: Path, protocol: str) -> None:
    chance = random.Random(3)
    with Trial(own_broker, home, protocol, rate=1000) as trial:
        for restarts in range(3):
            trial.connect(restarts + 1)
            trial.confirm(chance.randrange(300, 1500))
            own_broker.stop()
            own_broker.start()
        trial.stage()
        figures = trial.settled().show(f"broker restarted three times, {protocol}")
    assert figures.is_clean


@pytest.mark.parametrize("protocol", ["5", "3.1.1"] if LONG else ["5"])
def test_a_broker_paused_for_longer_than_the_keep_alive(own_broker: EmbeddedBroker, home: Path, protocol: str) -> None:
    assert own_broker.pid is not None
    with Trial(own_broker, home, protocol, rate=500) as trial:
        trial.confirm(500)
        with paused(own_broker.pid):
            over_s = time.monotonic() + 3 * KEEP_ALIVE_S
            wait_until(lambda: time.monotonic() > over_s, "the pause", 60)
        trial.stage()
        figures = trial.settled().show(f"broker paused for {3 * KEEP_ALIVE_S} s, {protocol}")
    assert figures.is_clean
    assert figures.connections > 1, "it never noticed"


@both_protocols
def test_what_was_acknowledged_to_a_killed_broker_is_staged(
    own_broker: EmbeddedBroker, home: Path, protocol: str
) -> None:
    chance = random.Random(5)
    with Trial(own_broker, home, protocol, rate=1000) as trial:
        for kills in range(3):
            trial.connect(kills + 1)
            trial.confirm(chance.randrange(300, 1500))
            kill(own_broker)
            own_broker.start()
        trial.stage()
        check_by_the_wire(trial, f"broker killed three times, {protocol}")


@both_protocols
def test_what_was_acknowledged_before_the_broker_forgot_all_is_staged(
    own_broker: EmbeddedBroker, home: Path, protocol: str
) -> None:
    with Trial(own_broker, home, protocol, rate=500) as trial:
        trial.stage(300)
        trial.link.stop()
        trial.confirm(300)  # queued, and then forgotten
        own_broker.stop()
        (own_broker.folder / "mosquitto.db").unlink()
        own_broker.start()
        trial.link.start()
        trial.connect(2)
        trial.stage(300)
        figures = check_by_the_wire(trial, f"persistence lost, {protocol}")
    assert not trial.tap.connections[-1].session_present
    assert figures.doubled == 0
    assert figures.lost >= 300


@both_protocols
def test_what_was_acknowledged_before_another_cleaned_the_session_is_staged(
    own_broker: EmbeddedBroker, home: Path, protocol: str
) -> None:
    with Trial(own_broker, home, protocol, rate=500) as trial:
        for cleaned in range(3):
            trial.connect(cleaned + 1)
            trial.stage(300)
            clean_session(own_broker)
        trial.connect(4)
        trial.stage(300)
        figures = check_by_the_wire(trial, f"session cleaned by another three times, {protocol}")
    assert not trial.tap.connections[-1].session_present
    assert figures.doubled == 0


@both_protocols
def test_two_collectors_with_one_client_id_lose_nothing_between_them_and_say_so(
    own_broker: EmbeddedBroker, home: Path, tmp_path: Path, protocol: str
) -> None:
    """Each ends the other's connection. A message that one staged may come to the other too: nobody can know."""
    other_home = tmp_path / "other home"
    other_home.mkdir(mode=0o700)
    longest_s = 2.0
    options = {"protocol": protocol, "client_id": CLIENT_ID, "reconnect_max_s": longest_s}
    other = make_settings(own_broker, other_home, ROOT, **options)
    with Trial(own_broker, home, protocol, rate=300, reconnect_max_s=longest_s) as trial:
        trial.confirm(300)
        began_s = time.monotonic()
        with collector_process(other) as process:
            wait_until(lambda: says_taken(home) and says_taken(other_home), "both to say that the id is taken", 60)
            over_s = began_s + 8
            wait_until(lambda: time.monotonic() > over_s, "8 s of it", 60)
            took_s = time.monotonic() - began_s
            count = connections(own_broker)
            process.terminate()
            assert process.wait(30) == 0
        trial.stage()
        trial.load.stop()
        confirmed = set(trial.load.confirmed)
        wait_until(lambda: confirmed <= {*trial.staged(), *(r["payload"] for r in staged_rows(other_home))}, "all", 60)
        trial.stop_collector()
        rows = staged_rows(home) + staged_rows(other_home)
        figures = account(rows, [trial.load], connections=count)
        figures.show(f"two collectors with one client id for {took_s:.0f} s, {protocol}")
    assert figures.lost == 0
    assert count <= 2 * (took_s / (longest_s / 2) + 5), "a storm"


@both_protocols
def test_retained_messages_over_ten_reconnects_come_once(own_broker: EmbeddedBroker, home: Path, protocol: str) -> None:
    retained = [b"retained %d" % n for n in range(20)]
    paho_publish.multiple(
        [(f"{ROOT}/{n}/r", payload, 1, True) for n, payload in enumerate(retained)],
        hostname="127.0.0.1",
        port=own_broker.port,
        auth={"username": own_broker.username, "password": own_broker.password},
    )
    with Trial(own_broker, home, protocol, rate=50) as trial:
        for cuts in range(10):
            trial.connect(cuts + 1)
            trial.stage()
            if cuts % 2:
                trial.link.cut()
            else:
                trial.stop_collector()
                trial.start_collector()
        trial.connect(11)
        trial.stage()
        figures = trial.settled()
        times = Counter(trial.staged())
        staged = sum(times[payload] for payload in retained)
        figures.show(f"ten reconnects, {protocol}", retained=len(retained), retained_staged=staged)
    assert {payload: times[payload] for payload in retained} == dict.fromkeys(retained, 1)
    assert figures.is_clean


def check_by_the_wire(trial: Trial, title: str) -> Figures:
    """Settles; every PUBACK on the wire has its row, in order. What is lost all the same never came to us."""
    trial.load.stop()
    last = trial.load.confirmed[-1]
    wait_until(lambda: last in set(trial.staged()), "the last message", 60)
    trial.stop_collector()
    figures, rows = trial.figures(), staged_rows(trial.home)
    delivered = {each.payload for each in trial.tap.delivered}
    forgotten = sum(1 for payload in trial.load.confirmed if payload not in delivered)
    ours = acknowledged_but_not_staged(trial.tap, rows)
    figures.show(
        title,
        acknowledged=len(trial.tap.acknowledged),
        acknowledged_but_not_staged=ours,
        forgotten_by_the_broker=forgotten,
    )
    assert ours == 0
    assert figures.lost == forgotten
    assert figures.out_of_order == 0 or figures.doubled
    return figures


def kill(broker: EmbeddedBroker) -> None:
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGKILL)
    broker.stop()


def clean_session(broker: EmbeddedBroker) -> None:
    """Another client takes the client id with a clean start, and goes."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=CLIENT_ID, protocol=MQTTProtocolVersion.MQTTv311)
    client.username_pw_set(broker.username, broker.password)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        wait_until(client.is_connected, "the other client's connection")
    finally:
        client.disconnect()
        client.loop_stop()


def says_taken(home: Path) -> bool:
    return "client_id_taken" in (home / "collector.log").read_text(errors="replace")
