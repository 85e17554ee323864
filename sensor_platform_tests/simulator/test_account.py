"""The demo's proof must notice what it is there to notice: each way to lose or double a message, on real tables."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.mqtt.publisher import Published
from sensor_platform.mqtt.redelivery import RedeliveryWindow
from sensor_platform.pipeline.process import process
from sensor_platform.routes.file import load_routes
from sensor_platform.settings import Settings
from sensor_platform.simulator.account import Account, account, alert_counts, ledger_sums
from sensor_platform.simulator.arrival import Arrival, Arrived, NotArrivedError, of_topic
from sensor_platform.simulator.demo import problems, waiting
from sensor_platform.simulator.fleet import Fleet, FleetMessage
from sensor_platform.simulator.published_log import PublishedLog
from sensor_platform.staging.format import Group
from sensor_platform.staging.store import LocalStaging
from sensor_platform.staging.writer import StagingWriter

COUNT = 300


def stage(root: Path, messages: list[FleetMessage], *, redelivered: bool = False) -> None:
    """One sealed micro-batch of the messages; `redelivered`: after a reconnect the broker sends all of them again."""
    window = RedeliveryWindow()
    with StagingWriter(root, window=window) as writer:
        writer.recover()
        for again in [False, True] if redelivered else [False]:
            group = Group(
                first_bytes=bytes([0x3A if again else 0x32]) * len(messages),
                topics=[message.topic.encode() for message in messages],
                payloads=[message.payload for message in messages],
                packet_ids=list(range(1, len(messages) + 1)),
                connection=window.connected(),
            )
            assert writer.stage(group) == (len(messages) if again else 0)
        writer.seal()


@dataclass
class Plant:
    """A published, staged and loaded piece of the fleet."""

    root: Path
    database: Database
    since: datetime
    messages: list[FleetMessage]
    log: PublishedLog

    @property
    def staging(self) -> LocalStaging:
        return LocalStaging(self.root)

    def load(self) -> None:
        settings = Settings()
        process(self.staging, self.database, load_routes(settings), settings=settings)

    def account(self) -> Account:
        return account(self.staging, self.database, self.log, since=self.since)

    def execute(self, statement: str, **values: object) -> None:
        with self.database.begin() as connection:
            connection.execute(sa.text(statement), values)

    def number_where(self, wanted: Callable[[FleetMessage], bool]) -> int:
        return next(message.number for message in self.messages if wanted(message))


@pytest.fixture
def plant(tmp_path: Path, database: Database) -> Plant:
    since = datetime.now(UTC)
    log = PublishedLog("0badcafe")
    messages = list(itertools.islice(Fleet(seed=3, run="0badcafe").messages(), COUNT))
    for topic, payload in log.noting(messages):
        log.on_confirmed(topic, payload)
    return Plant(tmp_path / "staging", database, since, messages, log)


@pytest.fixture
def loaded(plant: Plant) -> Plant:
    stage(plant.root, plant.messages)
    plant.load()
    return plant


#: The readings of a message are found by its sequence, which is its place: numbers lag behind by the repeats so far.
def sequence_of(plant: Plant, number: int) -> int:
    return next(place for place, message in enumerate(plant.messages) if message.number == number)


def single(message: FleetMessage) -> bool:
    return message.readings == 1 and message.timed


def rubbish(message: FleetMessage) -> bool:
    return message.readings == 0


def test_all_is_there_once_and_the_figures_say_so(loaded: Plant) -> None:
    found = loaded.account()
    assert (found.lost, found.doubled, found.unloaded) == ([], [], 0)
    assert found.refused == 0
    p50, p95 = found.freshness_s["p50"], found.freshness_s["p95"]
    assert p50 is not None
    assert p95 is not None
    assert 0 < p50 <= p95 < 60
    sums = ledger_sums(loaded.database, since=loaded.since)
    assert sums.messages.staged == COUNT
    assert (sums.messages.dead_lettered, sums.messages.partial, sums.messages.duplicate) == (3, 3, 6)
    assert sums.first_row_at is not None
    assert sums.first_row_at > loaded.since
    assert problems(Published(COUNT, COUNT, 0), found, sums, 0, []) == []
    assert ledger_sums(loaded.database, since=datetime.now(UTC) + timedelta(hours=1)).messages.staged == 0


def test_a_confirmed_message_that_was_never_staged_is_lost(plant: Plant) -> None:
    stage(plant.root, [message for message in plant.messages if message.number != 17])
    plant.load()
    assert plant.account().lost == [17]


def test_an_unconfirmed_message_that_was_never_staged_is_not(plant: Plant) -> None:
    plant.log.confirmed[17] = 0
    stage(plant.root, [message for message in plant.messages if message.number != 17])
    plant.load()
    assert plant.account().lost == []


def test_a_repeat_that_was_never_staged_is_lost(plant: Plant) -> None:
    repeated = next(m.number for m in plant.messages if plant.messages.count(m) == 2)
    once = list(dict.fromkeys(plant.messages))
    assert len(once) == COUNT - 6
    stage(plant.root, once)
    plant.load()
    assert repeated in plant.account().lost
    assert len(plant.account().lost) == 6


def test_a_reading_that_does_not_stand_is_lost(loaded: Plant) -> None:
    number = loaded.number_where(single)
    loaded.execute("delete from sensor_platform.metric where sequence = :s", s=sequence_of(loaded, number))
    assert loaded.account().lost == [number]


def test_one_missing_reading_of_a_message_of_many_is_lost(loaded: Plant) -> None:
    number = loaded.number_where(lambda message: message.readings > 3 and b"n/a" not in message.payload)
    sequence = sequence_of(loaded, number)
    loaded.execute("delete from sensor_platform.metric where sequence = :s and ordinal = 1", s=sequence)
    assert loaded.account().lost == [number]


def test_rubbish_without_its_dead_letter_is_lost(loaded: Plant) -> None:
    number = loaded.number_where(rubbish)
    loaded.execute("delete from sensor_platform.dead_letter where sequence = :s", s=sequence_of(loaded, number))
    assert loaded.account().lost == [number]


def test_a_reading_that_stands_twice_is_doubled(loaded: Plant) -> None:
    number = loaded.number_where(single)
    loaded.execute(
        "insert into sensor_platform.metric select * from sensor_platform.metric where sequence = :s",
        s=sequence_of(loaded, number),
    )
    found = loaded.account()
    assert (found.lost, found.doubled) == ([], [number])
    assert problems(Published(COUNT, COUNT, 0), found, ledger_sums(loaded.database, since=loaded.since), 0, []) == [
        f"1 messages doubled, the first of them: [{number}]"
    ]


def test_what_the_collector_knows_as_redelivered_doubles_nothing(plant: Plant) -> None:
    stage(plant.root, plant.messages, redelivered=True)
    plant.load()
    found = plant.account()
    assert (found.lost, found.doubled) == ([], [])
    sums = ledger_sums(plant.database, since=plant.since)
    assert sums.messages.duplicate == COUNT + 6


def test_untimed_messages_staged_twice_are_doubled_unless_the_publisher_sent_them_again(plant: Plant) -> None:
    untimed = [m for m in plant.messages if not m.timed and m.readings == 1]
    assert untimed
    stage(plant.root, [*plant.messages, *untimed])
    plant.load()
    assert plant.account().doubled == [message.number for message in untimed]
    for message in untimed:
        plant.log.on_resent(message.topic, message.payload)
    assert plant.account().doubled == []


def test_good_messages_that_were_refused_are_counted(plant: Plant) -> None:
    stage(plant.root, plant.messages)
    plant.execute(
        "insert into sensor_platform.work_unit (name) values ('press-shop'); "
        "insert into sensor_platform.sensor (work_unit_id, name) select id, 'press-1-temperature' "
        "from sensor_platform.work_unit; "
        "insert into sensor_platform.series (sensor_id, metric, maximum) select id, 'temperature', 0 "
        "from sensor_platform.sensor"
    )
    plant.load()
    found = plant.account()
    hot = {m.number for m in plant.messages if "press-1-temperature" in m.topic and m.readings}
    assert (found.lost, found.doubled, found.refused) == ([], [], len(hot))


def test_the_letter_of_what_a_contract_requires_stands_for_no_reading(plant: Plant, tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(
        "routes:\n  - {name: data, filter: 'factory/{work_unit}/sensors/{sensor}/data', format: json,"
        " contract: {version: 1, metrics: {never-there: {required: true}}}}\n"
    )
    stage(plant.root, plant.messages)
    settings = Settings(routes_file=file)
    process(plant.staging, plant.database, load_routes(settings), settings=settings)
    found = plant.account()
    assert (found.lost, found.doubled) == ([], [])
    assert found.refused == len({message.number for message in plant.messages if message.good})
    number = plant.number_where(single)
    plant.execute("delete from sensor_platform.metric where sequence = :s", s=sequence_of(plant, number))
    assert plant.account().lost == [number]


def test_what_is_not_in_the_ledger_is_pending(plant: Plant) -> None:
    stage(plant.root, plant.messages)
    found = plant.account()
    assert found.unloaded == COUNT
    assert waiting(plant.staging, plant.database) == COUNT
    plant.load()
    assert waiting(plant.staging, plant.database) == 0


def test_arrival_counts_by_what_is_in_the_files(plant: Plant) -> None:
    topic = plant.messages[0].topic
    ours = sum(message.topic == topic for message in plant.messages)
    arrival = Arrival(plant.staging, plant.database, since=plant.since, count_ours=of_topic(topic))
    assert arrival.look() == Arrived(0, 0)
    with pytest.raises(NotArrivedError, match=f"of {ours} confirmed messages 0 are staged"):
        arrival.wait(ours, standstill_s=0.3)
    stage(plant.root, plant.messages, redelivered=True)
    assert arrival.look() == Arrived(ours, 0)
    plant.load()
    arrival.wait(ours, standstill_s=0.3)
    assert arrival.look() == Arrived(ours, ours)
    later = Arrival(plant.staging, plant.database, since=datetime.now(UTC), count_ours=of_topic(topic))
    assert later.look() == Arrived(0, 0)


def test_alerts_are_counted_since_ready(plant: Plant) -> None:
    insert = (
        "insert into sensor_platform.alert (rule, subject, state, detail, fired_at, resolved_at) "
        "values ('error_rate', :subject, :state, 'for a test', :fired_at, :resolved_at)"
    )
    now = datetime.now(UTC)
    for subject, state, fired_at, resolved_at in (
        ("a", "resolved", now, now),
        ("b", "firing", now, None),
        ("c", "pending", None, None),
        ("d", "resolved", plant.since - timedelta(days=1), plant.since - timedelta(days=1)),
    ):
        plant.execute(insert, subject=subject, state=state, fired_at=fired_at, resolved_at=resolved_at)
    assert alert_counts(plant.database, since=plant.since) == {"fired": 2, "resolved": 1}


def test_whatever_is_wrong_is_a_problem(loaded: Plant) -> None:
    sums = ledger_sums(loaded.database, since=loaded.since)
    found = Account([1], [2], unloaded=0, refused=0, freshness_s={})
    empty = ledger_sums(loaded.database, since=datetime.now(UTC) + timedelta(hours=1))
    assert problems(Published(10, 9, 1), found, sums, 4, ["x"]) == [
        "the ledger and the tables differ: x",
        "1 messages were not confirmed by the broker",
        "1 messages lost, the first of them: [1]",
        "1 messages doubled, the first of them: [2]",
        "4 staged messages are not in the ledger after 120 s",
    ]
    clean = Account([], [], unloaded=0, refused=0, freshness_s={})
    assert len(problems(Published(10, 10, 0), clean, empty, 0, [])) == 4
