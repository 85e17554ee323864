import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import sqlalchemy as sa
from dagster import DagsterInstance

from sensor_platform.database.tables import dead_letter, ledger, metric
from sensor_platform.definitions import build_defs
from sensor_platform.defs import names
from sensor_platform.defs.ingest.micro_batch_sensor import micro_batch_sensor
from sensor_platform.defs.partitions import key_of
from sensor_platform.defs.resources import Platform
from sensor_platform.defs.versions import code_version
from sensor_platform.settings import Settings, TransformerSettings
from sensor_platform.staging.format import MicroBatch
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.defs.staged import reading, stage
from sensor_platform_tests.defs.ticks import tick
from sensor_platform_tests.pipeline.staged import routes

NEW = {"sensor_platform/mode": "new"}
RUBBISH = b"\xff"


def run(platform: Platform, instance: DagsterInstance, hour: datetime, **tags: str) -> dg.ExecuteInProcessResult:
    key = key_of(hour)
    job = build_defs(platform=platform).resolve_job_def(names.READINGS_JOB)
    return job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        tags={names.RANGE_START_TAG: key, names.RANGE_END_TAG: key, **tags},
    )


def new(platform: Platform, instance: DagsterInstance, hour: datetime) -> dg.ExecuteInProcessResult:
    return run(platform, instance, hour, **NEW)


def rows(platform: Platform, *columns: Any) -> list[tuple[Any, ...]]:
    with platform.database.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(*columns))]


def metadata(result: dg.ExecuteInProcessResult, asset: dg.AssetKey) -> dict[str, Any]:
    made = result.asset_materializations_for_node("readings_and_dead_letters")
    (event,) = [materialization for materialization in made if materialization.asset_key == asset]
    return {name: value.value for name, value in event.metadata.items()}


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}


def checked_alone(platform: Platform, instance: DagsterInstance, *check_names: str) -> dict[str, bool]:
    """What checks of readings say when a person executes them."""
    chosen = dg.AssetSelection.checks(*(dg.AssetCheckKey(names.READINGS, name) for name in check_names))
    alone = dg.Definitions(jobs=[dg.define_asset_job("alone", selection=chosen)])
    job = dg.Definitions.merge(build_defs(platform=platform), alone).resolve_job_def("alone")
    return checks(job.execute_in_process(instance=instance))


def root(platform: Platform) -> Path:
    return platform.settings.home / "staging"


def test_staged_messages_become_readings_and_dead_letters(
    platform: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    stage(root(platform), this_hour, [reading(1, at=this_hour), RUBBISH, reading(2, at=this_hour)])
    result = new(platform, instance, this_hour)
    assert result.success
    assert rows(platform, metric.c.value) == [(1.0,), (2.0,)]
    assert rows(platform, dead_letter.c.code) == [("invalid_encoding",)]
    assert rows(platform, ledger.c.run_id) == [(result.run_id,)]


def test_a_materialization_tells_the_counts_of_the_promise(
    platform: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    stage(root(platform), this_hour, [reading(1, at=this_hour), RUBBISH, reading(1, at=this_hour)])
    result = new(platform, instance, this_hour)
    told = metadata(result, names.READINGS)
    counts = {name: told[f"messages_{name}"] for name in ("staged", "accepted", "dead_lettered", "duplicate")}
    assert counts == {"staged": 3, "accepted": 1, "dead_lettered": 1, "duplicate": 1}
    assert (told["dagster/partition_row_count"], told["readings_duplicate"], told["refused_percent"]) == (1, 1, 33.33)
    assert told["mode"] == "new"
    assert told["run"].startswith("1 micro-batches, 3 messages (1 refused, wholly or in part), 1 readings inserted")
    assert "| readings decoded | 2 |" in told["run_figures"]
    refused = metadata(result, names.DEAD_LETTERS)
    assert (refused["messages_dead_lettered"], refused["dagster/partition_row_count"]) == (1, 1)
    assert "| invalid_encoding | 1 |" in refused["run_refused_by_code"]


def test_a_materialization_shows_the_newest_rows_and_the_micro_batches_of_the_run(
    platform: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    micro_batch = stage(root(platform), this_hour, [reading(1.25, at=this_hour), RUBBISH])
    result = new(platform, instance, this_hour)
    told = metadata(result, names.READINGS)
    assert "| line/press value | 1.25 |" in told["newest_rows"]
    assert f"| {micro_batch.name} |" in told["run_micro_batches"]
    assert "invalid_encoding" in metadata(result, names.DEAD_LETTERS)["newest_rows"]


def test_a_range_tells_each_hour_its_own_totals_and_the_newest_rows_once(
    platform: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    next_hour = this_hour + timedelta(hours=1)
    stage(root(platform), this_hour, [reading(1, at=this_hour)])
    stage(root(platform), next_hour, [reading(2, at=this_hour), RUBBISH])
    result = run(platform, instance, this_hour, **NEW, **{names.RANGE_END_TAG: key_of(next_hour)})
    events = result.asset_materializations_for_node("readings_and_dead_letters")
    told = {event.partition: event.metadata for event in events if event.asset_key == names.READINGS}
    assert {key: one["messages_staged"].value for key, one in told.items()} == {
        key_of(this_hour): 1,
        key_of(next_hour): 2,
    }
    assert [key for key, one in told.items() if "newest_rows" in one] == [key_of(next_hour)]
    assert all("run_micro_batches" in one for one in told.values())


def test_figures_are_the_hours_totals_not_the_runs_share(
    platform: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    stage(root(platform), this_hour, [reading(1, at=this_hour)])
    new(platform, instance, this_hour)
    stage(root(platform), this_hour, [reading(2, at=this_hour)])
    told = metadata(new(platform, instance, this_hour), names.READINGS)
    assert (told["messages_staged"], told["dagster/partition_row_count"]) == (2, 2)
    assert "1 messages" in told["run"]


def test_its_checks_are_evaluated_in_the_same_step(
    platform: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    stage(root(platform), this_hour, [reading(1, at=this_hour), RUBBISH])
    result = new(platform, instance, this_hour)
    assert checks(result) == {
        "every_message_accounted_for": True,
        "every_micro_batch_readable": True,
        "decoded_with_definitions_in_force": True,
        "error_rate": False,  # one message of two
        "freshness": True,
        "sparkplug_gaps": True,
        "clock_skew": True,
        "dead_letter_backlog": True,
    }
    assert [event.step_key for event in result.get_step_success_events()] == ["readings_and_dead_letters"]


def test_a_run_of_what_is_new_leaves_the_rest_alone(
    platform: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    stage(root(platform), this_hour, [reading(1, at=this_hour)])
    new(platform, instance, this_hour)
    new(platform, instance, this_hour)
    assert rows(platform, ledger.c.attempt) == [(1,)]


def test_materialized_by_hand_the_hour_is_told_again_and_the_tables_are_the_same(
    platform: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    stage(root(platform), this_hour, [reading(1, at=this_hour), RUBBISH, reading(1, at=this_hour)])
    new(platform, instance, this_hour)
    kept = [metric.c.series, metric.c.time, metric.c.value, metric.c.sequence]
    before = rows(platform, *kept), rows(platform, dead_letter.c.id, dead_letter.c.code)
    result = run(platform, instance, this_hour)
    assert metadata(result, names.READINGS)["mode"] == "again"
    assert (rows(platform, *kept), rows(platform, dead_letter.c.id, dead_letter.c.code)) == before
    assert rows(platform, ledger.c.attempt) == [(2,)]


def test_a_run_that_makes_an_hour_again_tells_what_it_changed(
    platform: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    text = json.dumps({"timestamp": this_hour.isoformat(), "value": "warm"}).encode()
    stage(root(platform), this_hour, [reading(1, at=this_hour), text])
    assert "differences" not in metadata(new(platform, instance, this_hour), names.READINGS)
    platform.routes = routes(", text: true")
    told = metadata(run(platform, instance, this_hour), names.READINGS)
    counts = {name: value for name, value in told.items() if name.startswith("changed_")}
    assert counts == {
        "changed_readings_added": 1,
        "changed_readings_removed": 0,
        "changed_readings_value": 0,
        "changed_newly_accepted": 1,
        "changed_newly_refused": 0,
        "changed_message_classes": 1,
    }
    assert "| data | 1 | 0 | 0 | 1 value_not_number |  |  | 1 dead_lettered -> accepted |" in told["changes"]
    assert "| line/press value |" in told["changes_samples"]
    assert told["differences"]["routes"]["data"]["newly_accepted"] == {"value_not_number": 1}
    # Once a partition in Dagster's history: examples stand in a table of at most ten.
    assert told["differences"]["routes"]["data"]["samples"] == {}
    nothing = metadata(run(platform, instance, this_hour), names.READINGS)
    assert ("changes" in nothing, nothing["changed_readings_added"]) == (False, 0)


class Gated(LocalStaging):
    """A staging area whose reader is held up at one micro-batch."""

    def __init__(self, root: Path, held: MicroBatch) -> None:
        super().__init__(root)
        self.held, self.reached, self.opened = held, threading.Event(), threading.Event()

    def read(self, micro_batch: MicroBatch) -> pa.Table:
        if micro_batch == self.held:
            self.reached.set()
            assert self.opened.wait(120)
        return super().read(micro_batch)


def test_what_is_sealed_during_a_backfill_is_committed_before_that_ends(
    platform: Platform, stored_instance: DagsterInstance, this_hour: datetime
) -> None:
    held = [stage(root(platform), this_hour, [reading(n, at=this_hour)]) for n in range(2)][-1]
    new(platform, stored_instance, this_hour)
    gated = Platform(platform.settings)
    gated.staging = gate = Gated(root(platform), held)
    with ThreadPoolExecutor(1) as pool:
        backfill = pool.submit(run, gated, stored_instance, this_hour, **{names.BACKFILL_TAG: "b"})
        try:
            assert gate.reached.wait(120)
            live = stage(root(platform), this_hour, [reading(2, at=this_hour)])
            asked = tick(micro_batch_sensor, stored_instance, platform)
            assert isinstance(asked, dg.RunRequest)
            loaded = run(platform, stored_instance, this_hour, **asked.tags)
            by_live = sa.select(ledger.c.run_id).where(ledger.c.name == live.name)
            with platform.database.connect() as connection:
                assert connection.execute(by_live).scalar_one() == loaded.run_id
            assert not backfill.done()
        finally:
            gate.opened.set()
        ended = backfill.result(120)
    gated.database.dispose()
    # Each run tells of its own: the hour is materialized by both.
    first_words = [metadata(one, names.READINGS)["run"].split(",")[0] for one in (loaded, ended)]
    assert first_words == ["1 micro-batches", "2 micro-batches"]
    assert [metadata(one, names.READINGS)["mode"] for one in (loaded, ended)] == ["new", "again"]
    assert metadata(ended, names.READINGS)["dagster/partition_row_count"] == 3
    assert sorted(rows(platform, ledger.c.attempt)) == [(1,), (2,), (2,)]
    assert checks(ended)["every_message_accounted_for"] is True


def test_a_mismatch_fails_the_run(platform: Platform, instance: DagsterInstance, this_hour: datetime) -> None:
    """A trigger takes a row away behind the ledger's back."""
    with platform.database.begin() as connection:
        connection.execute(
            sa.text(
                """
                create function lose() returns trigger language plpgsql as
                $$ begin delete from sensor_platform.metric where value = 2; return null; end $$;
                create constraint trigger lose after insert on sensor_platform.ledger
                deferrable initially deferred for each row execute function lose()
                """
            )
        )
    stage(root(platform), this_hour, [reading(1, at=this_hour), reading(2, at=this_hour)])
    result = new(platform, instance, this_hour)
    assert not result.success
    assert checks(result)["every_message_accounted_for"] is False
    assert checked_alone(platform, instance, "last_hour_accounted_for") == {"last_hour_accounted_for": False}


def test_the_check_that_does_not_run_with_it_can_be_executed(
    platform: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    stage(root(platform), this_hour, [reading(1, at=this_hour), RUBBISH])
    new(platform, instance, this_hour)
    assert checked_alone(platform, instance, "last_hour_accounted_for") == {"last_hour_accounted_for": True}


def test_a_damaged_micro_batch_is_told_and_holds_up_no_other(
    platform: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    path = platform.staging.path(stage(root(platform), this_hour, [reading(1, at=this_hour)]))
    path.write_bytes(path.read_bytes()[:200])
    stage(root(platform), this_hour, [reading(2, at=this_hour)])
    result = new(platform, instance, this_hour)
    assert result.success
    assert checks(result)["every_micro_batch_readable"] is False
    assert rows(platform, metric.c.value) == [(2.0,)]


def test_hours_that_an_older_definition_decoded_are_named_until_they_are_made_again(
    platform: Platform, instance: DagsterInstance, this_hour: datetime
) -> None:
    """The mark is that of the load: see the pipeline's tests of definitions."""
    stage(root(platform), this_hour, [reading(1, at=this_hour)])
    new(platform, instance, this_hour)
    with platform.database.begin() as connection:
        connection.execute(sa.update(ledger).values(definitions_changed_at=this_hour))
    stage(root(platform), this_hour, [reading(2, at=this_hour)])
    result = new(platform, instance, this_hour)
    assert result.success
    (told,) = [one for one in result.get_asset_check_evaluations() if one.check_name.startswith("decoded_with")]
    assert (told.passed, told.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert f"backfill these received hours of readings: {key_of(this_hour)}" in (told.description or "")
    assert f"sensor-platform reprocess --from {this_hour:%Y-%m-%dT%H:%MZ}" in (told.description or "")
    assert told.metadata["micro_batches"].value == 1
    assert checks(run(platform, instance, this_hour))["decoded_with_definitions_in_force"] is True


def test_the_code_version_follows_the_routes_and_the_files_of_ones_own(tmp_path: Path) -> None:
    file, folder = tmp_path / "routes.yaml", tmp_path / "formats"
    folder.mkdir()
    settings = Settings(home=tmp_path, routes_file=file, transformers=TransformerSettings(folder=folder))
    versions = []
    for content in ("json", "csv"):
        file.write_text(f"routes: [{{name: r, filter: 'a/{{work_unit}}/{{sensor}}', format: {content}}}]")
        versions.append(code_version(settings))
    for content in ("x = 1", "x = 2"):
        (folder / "press_log.py").write_text(content)
        versions.append(code_version(settings))
    assert code_version(settings) == versions[-1]
    assert len(set(versions)) == 4
