"""The simulated plant: the same every time, and exactly as good and as bad as it says."""

import itertools
import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from sensor_platform.pipeline.decode import decode
from sensor_platform.routes.file import load_routes
from sensor_platform.settings import Settings
from sensor_platform.simulator.fleet import PLANT, Fleet, FleetMessage
from sensor_platform.simulator.rubbish import RUBBISH
from sensor_platform.simulator.signals import TEMPERATURE, is_anomalous
from sensor_platform.staging.format import SCHEMA

START = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


class Clock:
    """Two milliseconds a message."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=2)
        return self.now


def some(count: int, *, seed: int = 1, run: str = "", broken: bool = False) -> list[FleetMessage]:
    fleet = Fleet(seed=seed, run=run, clock=Clock())
    fleet.broken = broken
    return list(itertools.islice(fleet.messages(), count))


def test_the_same_seed_and_clock_give_the_same_bytes() -> None:
    assert some(500) == some(500)
    assert some(500, seed=2) != some(500)


def test_every_message_carries_its_id_as_bytes() -> None:
    for message in some(2000, run="0badcafe"):
        assert b"m-0badcafe-%06d" % message.number in message.payload
    assert b'"id":"m-000000"' in some(1)[0].payload


def test_new_numbers_run_on_and_repeats_have_the_bytes_of_an_earlier_message() -> None:
    seen: dict[int, FleetMessage] = {}
    repeats = 0
    for message in some(1000):
        if message.number in seen:
            assert message == seen[message.number]
            assert message.timed
            repeats += 1
        else:
            assert message.number == len(seen)
            seen[message.number] = message
    assert repeats == 20


def test_the_first_twenty_have_one_of_each_class() -> None:
    counts = Counter(_class_of(message) for message in some(20))
    numbers = Counter(message.number for message in some(20))
    assert counts["rubbish"] >= 1
    assert counts["partial"] >= 1
    assert max(numbers.values()) == 2


@pytest.mark.parametrize(("broken", "rubbish"), [(False, 20), (True, 180)])
def test_rubbish_stays_below_the_alert_unless_a_gateway_is_broken(broken: bool, rubbish: int) -> None:
    counts = Counter(_class_of(message) for message in some(2000, broken=broken))
    assert counts["rubbish"] == rubbish
    assert counts["partial"] == 20
    assert {sensor for unit in PLANT.values() for sensor in unit} <= {m.topic.split("/")[3] for m in some(2000)}


def test_decoded_by_the_default_routes_it_is_what_it_says() -> None:
    """Readings of good messages, one refusal of partial ones, nothing of rubbish."""
    messages = some(100 * len(RUBBISH))
    received = START + timedelta(seconds=10)
    decoded = decode(_staged(messages, received), load_routes(Settings()), max_payload_bytes=1_000_000)
    readings = Counter(decoded.readings["message"].tolist())
    refusals = Counter(refusal.message for refusal in decoded.refusals)
    names = [name for name, (_, make) in RUBBISH.items()]
    only_later = {"far_future", "unset_clock", "old_clock"}  # decodes; validation refuses its time
    rubbish = iter(itertools.cycle(names))
    for row, message in enumerate(messages):
        match _class_of(message):
            case "rubbish":
                name = next(rubbish)
                assert (refusals[row] > 0) == (name not in only_later), (name, message)
            case "partial":
                assert (readings[row], refusals[row]) == (message.readings - 1, 1), message
            case _:
                assert (readings[row], refusals[row]) == (message.readings, 0), message


def test_no_two_readings_of_a_metric_share_a_time() -> None:
    messages = [message for message in some(3000) if _class_of(message) == "good"]
    unique = list({message.number: message for message in messages}.values())
    received = START + timedelta(seconds=10)
    readings = decode(_staged(unique, received), load_routes(Settings()), max_payload_bytes=1_000_000).readings
    timed = readings[~readings["timed_by_receipt"]]
    assert len(timed) > 3000
    assert not timed.duplicated(["work_unit", "sensor", "metric", "time"]).any()


def test_a_signal_has_a_daily_cycle_and_anomalies() -> None:
    import random

    chance = random.Random(1)
    times = [START + timedelta(minutes=minute) for minute in range(24 * 60)]
    values = [TEMPERATURE.at(time, chance, phase=0) for time in times if not is_anomalous(time.timestamp(), 0)]
    assert 9 < max(values) - min(values) < 20
    odd = [time for time in times if is_anomalous(time.timestamp(), 0)]
    assert odd
    assert all(TEMPERATURE.at(time, chance, phase=0) > 75 for time in odd)


def _class_of(message: FleetMessage) -> str:
    if message.readings == 0:
        return "rubbish"
    return "partial" if b'"n/a"' in message.payload else "good"


def _staged(messages: list[FleetMessage], received_at: datetime) -> pa.Table:
    count = len(messages)
    columns = {
        "sequence": range(count),
        "received_at": [received_at + timedelta(microseconds=place) for place in range(count)],
        "topic": [message.topic.encode() for message in messages],
        "payload": [message.payload for message in messages],
        "qos": [1] * count,
        "retain": [False] * count,
        "dup": [False] * count,
        "packet_id": [1 + place % 65535 for place in range(count)],
        "connection": [1] * count,
        "redelivery_of": [None] * count,
        "content_type": [None] * count,
        "user_properties": [None] * count,
    }
    return pa.table({name: pa.array(columns[name], SCHEMA.field(name).type) for name in SCHEMA.names}, schema=SCHEMA)


def test_a_csv_message_is_a_header_and_rows() -> None:
    message = next(message for message in some(200) if message.topic.endswith("/csv") and message.readings)
    header, *rows = message.payload.decode().split("\n")
    assert header == "id;timestamp;zone_1;zone_2;zone_3"
    assert len(rows) == 2
    assert json.loads(rows[0].split(";")[2]) > 100
