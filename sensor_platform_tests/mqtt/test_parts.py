"""The small parts of the collector: states, backoff, subscriptions, names."""

from pathlib import Path

import pytest

from sensor_platform.errors import TROUBLES, BrokerUnreachableError, ConfigurationError, StagingUnavailableError
from sensor_platform.mqtt.backoff import Backoff
from sensor_platform.mqtt.client_id import checked_name, client_id
from sensor_platform.mqtt.history import ConnectionHistory
from sensor_platform.mqtt.states import State, step
from sensor_platform.settings import MqttSettings, Settings
from sensor_platform_tests.staging.failing_disk import FailingDisk


def test_a_wrong_step_raises_and_names_both_states() -> None:
    assert step(State.CONNECTING, State.COLLECTING) is State.COLLECTING
    assert step(State.WAITING, State.WAITING) is State.WAITING
    with pytest.raises(ValueError, match="from stopped to collecting"):
        step(State.STOPPED, State.COLLECTING)
    with pytest.raises(ValueError, match="from collecting to stopped"):
        step(State.COLLECTING, State.STOPPED)


def test_waits_double_up_to_the_cap_and_are_short_again_after_progress() -> None:
    backoff = Backoff(least_s=1, most_s=10)
    steps = [backoff.next_s() for _ in range(7)]
    for waited, full in zip(steps, (1, 2, 4, 8, 10, 10, 10), strict=True):
        assert full / 2 <= waited <= full
    backoff.progress()
    assert backoff.next_s() <= 1
    assert 5 <= backoff.longest_s() <= 10


def test_the_client_id_is_made_once(home: Path) -> None:
    settings = Settings(home=home)
    made = client_id(settings)
    assert client_id(settings) == made
    assert client_id(settings, "c1") != made
    assert (home / "collector" / "client_id").read_text().strip() == made
    assert (home / "collector" / "client_id").stat().st_mode & 0o777 == 0o600
    assert client_id(Settings(home=home, mqtt=MqttSettings(client_id="mine"))) == "mine"


def test_a_disk_that_refuses_is_said_also_where_little_is_kept(home: Path) -> None:
    refused = pytest.raises(StagingUnavailableError, match="cannot keep a new client id: No space left on device")
    with FailingDisk(home, fails_at=0, for_more=99)(), refused:
        client_id(Settings(home=home))


@pytest.mark.parametrize("name", ["", "C0", "-a", "a/b", "a" * 33, "ü"])
def test_a_name_that_cannot_begin_a_file_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="accepted are"):
        checked_name(name)


def test_the_table_of_troubles_in_the_docs_is_that_of_the_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "connection.md").read_text(encoding="utf-8")
    table = [f"| {code} | `{kind}` | {meaning} |" for kind, (code, meaning) in TROUBLES.items()]
    assert "\n".join(table) in page
    assert len({code for code, _ in TROUBLES.values()}) == len(TROUBLES)
    assert not {0, 1, 2, 78} & {code for code, _ in TROUBLES.values()}


def test_the_history_is_bounded_and_a_repeated_failure_is_no_news() -> None:
    history = ConnectionHistory(most=3)
    where = {"broker": "h:1", "protocol": "5"}
    for _ in range(5):
        history.ended(BrokerUnreachableError("nobody there"), **where)
    history.connected(**where, session_present=True)
    history.ended(BrokerUnreachableError("gone"), **where)
    assert [event.event for event in history.waiting()] == ["failed", "connected", "lost"]
    read = history.waiting()
    history.connected(**where, session_present=True)  # the oldest gives way while the others are written
    history.written(read)
    assert [event.event for event in history.waiting()] == ["connected"]
