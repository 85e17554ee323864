"""SIGKILL of each part under load: readings are committed again within a minute, nothing is lost or stands twice."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import psutil
import pytest

from sensor_platform.staging.place import open_staging
from sensor_platform_tests.platform_process import Load, PlatformProcess
from sensor_platform_tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

BACK_WITHIN_S = 60


@pytest.fixture(autouse=True)
def _no_load_is_left() -> Iterator[None]:
    """A test that fails must not go on publishing into the next one."""
    yield
    for thread in threading.enumerate():
        if isinstance(thread, Load):
            thread.stopping.set()
            thread.join(60)


def committed_after(platform: PlatformProcess, moment: datetime) -> bool:
    """Whether messages received after `moment` have been committed."""
    query = "select 1 from sensor_platform.ledger where last_received_at > %s and accepted > 0 limit 1"
    return bool(platform.rows(query, moment))


def under_load(platform: PlatformProcess, name: str) -> Load:
    load = Load(platform, name)
    load.start()
    platform.wait_loaded(f"load/{load.sensors[0]}", 1)
    return load


def assert_back(platform: PlatformProcess, load: Load, killed_at: datetime) -> None:
    wait_until(
        lambda: committed_after(platform, killed_at), timeout_s=BACK_WITHIN_S, what="readings committed after the kill"
    )
    load.finish()


@pytest.mark.parametrize("part", ["collector", "code_server", "daemon", "postgres", "broker_connection"])
def test_a_killed_part_comes_back_and_nothing_is_lost(platform: PlatformProcess, part: str) -> None:
    if part == "broker_connection":
        part, sent = "broker", signal.SIGTERM  # a broker that is killed may forget what it confirmed: not ours to keep
    else:
        sent = signal.SIGKILL
    load = under_load(platform, f"kill-{part}")
    restarts = platform.running["parts"][part]["restarts"]
    killed_at = datetime.now(UTC)
    platform.kill_part(part, sent)
    assert_back(platform, load, killed_at)
    assert platform.running["parts"][part]["restarts"] == restarts + 1


def run_worker(platform: PlatformProcess) -> psutil.Process | None:
    """The process of a run just now: the code server's fork server has one child a run."""
    code_server = psutil.Process(platform.running["parts"]["code_server"]["pid"])
    for child in code_server.children():
        try:
            if "forkserver" in " ".join(child.cmdline()):
                return next(iter(child.children()), None)
        except psutil.Error:
            continue
    return None


@pytest.mark.parametrize("with_code_server", [False, True], ids=["run", "run-and-code-server"])
def test_a_killed_run_is_made_good(platform: PlatformProcess, with_code_server: bool) -> None:
    load = under_load(platform, f"kill-run-{int(with_code_server)}")
    worker = wait_until(lambda: run_worker(platform), timeout_s=60, what="a run", every_s=0.02)
    killed_at = datetime.now(UTC)
    os.kill(worker.pid, signal.SIGKILL)
    if with_code_server:
        platform.kill_part("code_server")
    assert_back(platform, load, killed_at)


@pytest.mark.parametrize("part", ["daemon", "postgres"])
def test_the_collector_goes_on_while_another_part_is_down(platform: PlatformProcess, part: str) -> None:
    load = under_load(platform, f"without-{part}")
    staging = open_staging(platform.settings)
    frozen = freeze(platform.running["parts"][part]["pid"])
    try:
        confirmed, staged = load.count(), on_disk(staging)
        wait_until(lambda: load.count() > confirmed + 500, timeout_s=30, what="more confirmed messages")
        wait_until(lambda: on_disk(staging) > staged + 500, timeout_s=30, what="more staged messages")
    finally:
        for process in frozen:
            with suppress(psutil.NoSuchProcess):
                process.resume()
    load.finish()


def freeze(pid: int) -> list[psutil.Process]:
    """Stops a part with all its children: it holds its connections and answers nobody."""
    part = psutil.Process(pid)
    part.suspend()
    processes = [part, *part.children(recursive=True)]
    for process in processes:
        process.suspend()
    return processes


def on_disk(staging: object) -> int:
    return staging.open_messages() + sum(staging.count(m) for m in staging.micro_batches())  # type: ignore[attr-defined]


def test_after_sigkill_of_up_its_parts_end_and_it_starts_again(tmp_path: "os.PathLike[str]") -> None:
    from pathlib import Path

    from sensor_platform_tests.conftest import free_port

    home = Path(tmp_path) / "a home"
    with PlatformProcess(home, (free_port(), free_port(), free_port())) as platform:
        load = under_load(platform, "kill-up")
        parts = platform.descendants()
        assert platform.process is not None
        platform.process.kill()
        platform.process.wait(10)
        _, alive = psutil.wait_procs(parts, timeout=10)
        assert [p.cmdline() for p in alive] == []
        platform.start()
        load.finish()
        assert platform.stop(signal.SIGINT) == 0
        assert not (home / "run.json").exists()


STATE = """
query State($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) { __typename ... on Sensor { id sensorState { id status } } }
}
"""
STOP = """
mutation Stop($id: String!) { stopSensor(id: $id) { __typename ... on PythonError { message } } }
"""
START = """
mutation Start($selector: SensorSelector!) {
  startSensor(sensorSelector: $selector) { __typename ... on PythonError { message } }
}
"""
REPOSITORIES = """
query Repositories {
  repositoriesOrError { __typename ... on RepositoryConnection { nodes { name location { name } } } }
}
"""


def sensor_selector(platform: PlatformProcess, sensor: str) -> dict[str, str]:
    (repository,) = platform.ask(REPOSITORIES, "repositoriesOrError")["nodes"]
    return {
        "repositoryName": repository["name"],
        "repositoryLocationName": repository["location"]["name"],
        "sensorName": sensor,
    }


def test_mqtt_sensor_is_the_collectors_switch(platform: PlatformProcess) -> None:
    selector = sensor_selector(platform, "mqtt_sensor")
    load = under_load(platform, "switch")
    sensor = platform.ask(STATE, "sensorOrError", selector=selector)
    platform.ask(STOP, "stopSensor", id=sensor["sensorState"]["id"])
    try:
        wait_until(
            lambda: platform.status()["collector"]["state"] == "waiting", timeout_s=45, what="the collector to wait"
        )
        staging = open_staging(platform.settings)
        staged, confirmed = on_disk(staging), load.count()
        wait_until(lambda: load.count() > confirmed + 300, timeout_s=30, what="more published messages")
        assert on_disk(staging) == staged
    finally:
        platform.ask(START, "startSensor", selector=selector)
    wait_until(
        lambda: platform.status()["collector"]["state"] == "collecting", timeout_s=45, what="the collector to collect"
    )
    load.finish()


BACKFILL = """
mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}
"""
CHECKSUM = """
select count(*), md5(string_agg(concat_ws('|', series, time, value, text, quality, sequence, ordinal), ';'
                               order by micro_batch, sequence, ordinal))
from {table} where micro_batch = any(%s)
"""


def test_a_backfill_beside_live_traffic_gives_equal_tables(platform: PlatformProcess) -> None:
    load = under_load(platform, "backfill")
    hours = [h for (h,) in platform.rows("select distinct hour from sensor_platform.ledger order by hour")]
    old = [i for (i,) in platform.rows("select id from sensor_platform.ledger")]
    before = {
        table: platform.rows(CHECKSUM.format(table=f"sensor_platform.{table}"), old)
        for table in ("metric", "metric_duplicate")
    }
    counts = """select id, staged, accepted, partial, dead_lettered, duplicate, ignored, decoded, inserted, refused
                from sensor_platform.ledger where id = any(%s) order by id"""
    ledger = platform.rows(counts, old)
    params = {
        "assetSelection": [{"path": ["readings"]}, {"path": ["dead_letters"]}],
        "partitionNames": [f"{h.astimezone(UTC):%Y-%m-%d-%H:%M}" for h in hours],
    }
    assert platform.ask(BACKFILL, "launchPartitionBackfill", params=params)["__typename"] == "LaunchBackfillSuccess"
    query = "select count(*) from sensor_platform.ledger where id = any(%s) and attempt < 2"
    wait_until(
        lambda: platform.rows(query, old)[0][0] == 0, timeout_s=240, what="every hour processed again", every_s=1
    )
    after = {
        table: platform.rows(CHECKSUM.format(table=f"sensor_platform.{table}"), old)
        for table in ("metric", "metric_duplicate")
    }
    assert after == before
    assert platform.rows(counts, old) == ledger
    load.finish()
