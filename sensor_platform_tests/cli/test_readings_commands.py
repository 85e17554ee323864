"""The commands that read and load: what stands on stdout, to the key, and their exit codes."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from sensor_platform.cli import sensor_platform
from sensor_platform.database.engine import Database
from sensor_platform.errors import ConfigurationError, DagsterUnavailableError, ObjectStoreError
from sensor_platform.pipeline.rollups import roll_up
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.conftest import free_port
from sensor_platform_tests.pipeline.staged import HOUR, Message, new_staging, stage, value
from sensor_platform_tests.transformers import sparkplug

LETTER_KEYS = [
    "id",
    "state",
    "stage",
    "code",
    "detail",
    "topic",
    "payload_base64",
    "received_at",
    "micro_batch",
    "sequence",
    "attempts",
    "next_attempt_at",
]


class Shell:
    """Commands with the settings of one test."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *command: str) -> Result:
        return CliRunner(env=self.environment).invoke(sensor_platform, command)

    def json(self, *command: str) -> Any:
        result = self(*command)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def staging(tmp_path: Path) -> LocalStaging:
    return new_staging(tmp_path)


@pytest.fixture
def shell(database: Database, staging: LocalStaging, home: Path) -> Shell:
    return Shell(
        {
            "DATABASE_URL": database.url,
            "STAGING_URL": staging.root.as_uri(),
            "SENSOR_PLATFORM_HOME": str(home),
        }
    )


@pytest.fixture
def loaded(shell: Shell, staging: LocalStaging) -> Shell:
    stage(staging, "a", [value(1.5, unit="bar"), Message(b"rubbish"), value(1.5)])
    shell.json("process", "--json")
    return shell


def test_process_says_what_became_of_the_messages(shell: Shell, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1), Message(b"rubbish"), value(1)])
    messages = {
        "staged": 3,
        "pending": 0,
        "accepted": 1,
        "partial": 0,
        "dead_lettered": 1,
        "duplicate": 1,
        "ignored": 0,
    }
    readings = {"decoded": 2, "inserted": 1, "duplicate": 1, "refused": 0, "thinned": 0, "expired": 0}
    assert shell.json("process", "--json") == {"messages": messages, "readings": readings}
    assert shell.json("process", "--json")["messages"]["staged"] == 0


def test_metrics_in_three_forms(loaded: Shell) -> None:
    row = {
        "work_unit": "press",
        "sensor": "p1",
        "metric": "value",
        "time": "2026-11-23T10:00:00Z",
        "value": 1.5,
        "text": None,
        "unit": "bar",
        "quality": "good",
    }
    assert loaded.json("metrics", "--sensor", "p1", "--json") == [row]
    assert loaded.json("metrics", "--sensor", "p1", "--format", "json", "--to", "2026-11-23T10:00:00Z") == []
    assert loaded("metrics", "--sensor", "press/p1", "--format", "csv").stdout == (
        "work_unit,sensor,metric,time,value,text,unit,quality\n"
        "press,p1,value,2026-11-23T10:00:00.000000Z,1.5,,bar,good\n"
    )
    table = loaded("metrics", "--sensor", "p1").stdout.splitlines()
    assert table[0].split() == list(row)
    assert table[1].split() == ["press", "p1", "value", "2026-11-23T10:00:00Z", "1.5", "bar", "good"]


def test_metrics_exports_whole_files(loaded: Shell, tmp_path: Path) -> None:
    parquet, csv = tmp_path / "p1.parquet", tmp_path / "p1.csv"
    assert loaded("metrics", "--sensor", "p1", "--format", "parquet", "--output", str(parquet)).exit_code == 0
    assert [(row["time"].isoformat(), row["value"]) for row in pq.read_table(parquet).to_pylist()] == [
        ("2026-11-23T10:00:00+00:00", 1.5)
    ]
    assert loaded("metrics", "--sensor", "p1", "--format", "csv", "--output", str(csv)).exit_code == 0
    assert csv.read_text() == loaded("metrics", "--sensor", "p1", "--format", "csv").stdout
    again = loaded("metrics", "--sensor", "p1", "--format", "csv", "--output", str(csv))
    assert again.exit_code == 1
    assert "is there already" in again.stderr
    assert sorted(path.name for path in tmp_path.glob("p1.*")) == ["p1.csv", "p1.parquet"]
    for arguments in (["--format", "parquet"], ["--output", str(tmp_path / "p1.txt")]):
        assert loaded("metrics", "--sensor", "p1", *arguments).exit_code == 2


def test_metrics_of_an_unknown_sensor_and_a_bad_time(loaded: Shell) -> None:
    assert "no sensor 'p9'" in str(loaded("metrics", "--sensor", "p9").exception)
    result = loaded("metrics", "--sensor", "p1", "--from", "yesterday")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "not an ISO 8601 time" in result.stderr


def test_trace(loaded: Shell) -> None:
    (found,) = loaded.json("trace", "p1", "value", HOUR.isoformat(), "--json")
    assert list(found) == [
        "reading",
        "micro_batch",
        "sequence",
        "received_at",
        "topic",
        "payload_base64",
        "route",
        "route_version",
        "contract_version",
        "transformer_version",
        "run_id",
        "committed_at",
        "calibration",
        "original",
    ]
    assert (found["micro_batch"], found["sequence"], found["reading"]["value"]) == ("a", 1, 1.5)
    assert "factory/press/sensors/p1/data" in loaded("trace", "p1", "value", HOUR.isoformat()).stdout
    assert loaded("trace", "p1", "value", "2026-11-23T11:00:00Z", "--json").exit_code == 1


def test_trace_of_a_message_says_what_became_of_it(loaded: Shell) -> None:
    found = loaded.json("trace", "--message", "a:3", "--json")
    assert (found["class"], found["readings"][0]["behind"]) == ("duplicate", {"micro_batch": "a", "sequence": 1})
    assert loaded.json("trace", "--message", "a:2", "--json")["dead_letters"][0]["code"] == "invalid_json"
    shown = loaded("trace", "--message", "a:3").stdout
    assert "each of its readings equals one that was received before it" in shown
    assert "a:1" in shown
    listed = loaded.json("trace", "--topic", "factory/+/sensors/#", "--from", HOUR.isoformat(), "--json")
    assert [(row["micro_batch"], row["sequence"], row["loaded"]) for row in listed] == [
        ("a", number, True) for number in (1, 2, 3)
    ]
    assert "a:2" in loaded("trace", "--topic", "#", "--from", HOUR.isoformat(), "--limit", "2").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["p1", "value"],
        ["p1", "value", HOUR.isoformat(), "--message", "a:1"],
        ["--message", "a"],
        ["--topic", "a/#/b", "--from", HOUR.isoformat()],
        ["--topic", "a"],
    ],
)
def test_trace_goes_one_way_at_a_time(loaded: Shell, arguments: list[str]) -> None:
    assert loaded("trace", *arguments).exit_code == 2


RANGE = ["--from", "2026-11-23T10:30:00Z", "--to", "2026-11-23T11:00:00Z"]
TEXTS = """
routes:
  - {name: press, filter: "factory/press/sensors/{sensor}/data", work_unit: press, format: json, text: true}
  - {name: data, filter: "factory/{work_unit}/sensors/{sensor}/data", format: json}
"""


@pytest.fixture
def changed(loaded: Shell, staging: LocalStaging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A text more, which the routes of now accept at the press alone."""
    stage(staging, "b", [value("warm"), Message({"value": "hot"}, "factory/oven/sensors/o1/data")], first_sequence=9)
    loaded.json("process", "--json")
    (tmp_path / "routes.yaml").write_text(TEXTS)
    monkeypatch.setitem(loaded.environment, "SENSOR_PLATFORM_ROUTES", str(tmp_path / "routes.yaml"))
    return loaded


def test_reprocess_says_what_would_change(changed: Shell) -> None:
    said = changed.json("reprocess", *RANGE, "--dry-run", "--json")
    assert (said["hours"], said["micro_batches"], said["messages"]) == (["2026-11-23T10:00:00Z"], 2, 5)
    assert (said["total"]["added"], said["total"]["newly_accepted"]) == (1, {"value_not_number": 1})
    assert said["routes"]["press"]["samples"]["added"][0]["after"] == {"value": None, "text": "warm", "quality": "good"}
    assert changed.json("metrics", "--sensor", "press/p1", "--json")[-1]["text"] is None
    shown = changed("reprocess", *RANGE, "--dry-run")
    assert "1 dead_lettered -> accepted" in shown.stdout
    assert "2 micro-batches with 5 messages of 1 hours were decoded again; nothing was changed." in shown.stderr


def test_reprocess_says_when_nothing_would_change(loaded: Shell) -> None:
    shown = loaded("reprocess", *RANGE, "--dry-run")
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert "nothing was changed. A backfill would change nothing." in shown.stderr


def test_reprocess_of_one_route_says_that_hours_are_whole(changed: Shell) -> None:
    said = changed.json("reprocess", *RANGE, "--dry-run", "--json", "--route", "data")
    assert (said["routes"], said["changes_of_other_routes"]) == ({}, ["press"])
    assert (
        "Hours are whole: messages of press change, too."
        in changed("reprocess", *RANGE, "--dry-run", "--route", "data").stderr
    )
    nothing = changed("reprocess", *RANGE, "--dry-run", "--route", "nobody")
    assert (nothing.exit_code, nothing.stdout) == (1, "")
    assert "has staged messages of nobody" in nothing.stderr


def test_reprocess_needs_a_running_dagster_and_a_time_that_goes_on(changed: Shell) -> None:
    result = changed("reprocess", *RANGE)
    assert isinstance(result.exception, DagsterUnavailableError)
    assert "sensor-platform up" in str(result.exception)
    away = changed("reprocess", *RANGE, "--dagster-url", f"http://127.0.0.1:{free_port()}")
    assert "does not answer" in str(away.exception)
    assert changed("reprocess", "--from", RANGE[3], "--to", RANGE[1], "--dry-run").exit_code == 2


def test_dead_letters(loaded: Shell) -> None:
    (letter,) = loaded.json("dead-letters", "list", "--json")
    assert list(letter) == LETTER_KEYS
    assert (letter["state"], letter["code"], letter["payload_base64"]) == ("pending", "invalid_json", "cnViYmlzaA==")
    assert loaded.json("dead-letters", "show", str(letter["id"]), "--json") == letter
    assert loaded.json("dead-letters", "list", "--state", "resolved", "--json") == []
    (dry,) = loaded.json("dead-letters", "retry", str(letter["id"]), "--dry-run", "--json")
    assert (list(dry), dry["state"], dry["attempts"]) == (LETTER_KEYS, "pending", 1)
    assert loaded.json("dead-letters", "show", str(letter["id"]), "--json") == letter
    (tried,) = loaded.json("dead-letters", "retry", str(letter["id"]), "--json")
    assert (list(tried), tried["state"], tried["attempts"]) == (LETTER_KEYS, "pending", 1)
    (discarded,) = loaded.json("dead-letters", "discard", str(letter["id"]), "--why", "a test", "--json")
    assert (list(discarded), discarded["state"]) == (LETTER_KEYS, "discarded")
    assert "discarded" in loaded("dead-letters", "list").stdout


def test_sensors(loaded: Shell) -> None:
    assert loaded("sensors", "set", "p1", "--metric", "value", "--maximum", "9").exit_code == 0
    assert loaded("work-units", "set", "press", "--parent", "hall").exit_code == 0
    (row,) = loaded.json("sensors", "list", "--json")
    assert (row["maximum"], row["parent"], row["unit"]) == (9.0, "hall", "bar")
    assert loaded("work-units", "list").stdout.split("\n")[2].split() == ["hall", "/", "press", "1"]
    assert [row["parent"] for row in loaded.json("work-units", "list", "--json")] == [None, "hall"]
    assert loaded("work-units", "set", "press").exit_code == 2
    assert [row["after"] for row in loaded.json("sensors", "history", "p1", "--json")] == [
        {"maximum": 9.0},
        {"declared": True},
    ]
    assert loaded("sensors", "set", "p1", "--maximum", "9").exit_code == 2
    assert loaded("sensors", "set", "p1").exit_code == 2
    assert loaded.json("sensors", "list", "--silent", "--json") == []
    assert loaded("sensors", "set", "p1", "--expected-interval", "0.001").exit_code == 0
    assert [row["sensor"] for row in loaded.json("sensors", "list", "--silent", "--json")] == ["p1"]
    assert loaded("sensors", "set", "p1", "--metric", "value", "--relabel", "--maximum", "1").exit_code == 2


def test_a_unit_that_does_not_convert_is_refused_in_one_line(loaded: Shell) -> None:
    refused = loaded("sensors", "set", "p1", "--metric", "value", "--unit", "degC")
    assert refused.exit_code == 1
    assert "press/p1, metric 'value': its unit 'bar' does not convert to 'degC'." in str(refused.exception)
    assert loaded("sensors", "set", "p1", "--metric", "value", "--unit", "mbar").exit_code == 0
    assert loaded.json("sensors", "list", "--json")[0]["unit"] == "mbar"


def test_a_registry_is_imported_and_exported(loaded: Shell, tmp_path: Path) -> None:
    assert "p1" in loaded("sensors", "list", "--undeclared").stdout
    table = tmp_path / "plant.csv"
    table.write_text("work_unit,level,sensor,metric,minimum\npress,cell,p1,value,0.5\npress,,p2,,\n")
    would = loaded("sensors", "import", str(table), "--dry-run")
    assert would.stdout.splitlines() == [
        "changed: work unit press: level - -> cell",
        "changed: sensor press/p1: declared False -> True",
        "changed: series press/p1 value: minimum - -> 0.5",
        "new: sensor press/p2: declared True",
    ]
    assert would.stderr == "4 changes would be made.\n"
    done = loaded.json("sensors", "import", str(table), "--json")
    assert (done["dry_run"], len(done["changes"])) == (False, 4)
    assert done["changes"][0] == {
        "kind": "work_unit",
        "work_unit": "press",
        "before": {"level": None},
        "after": {"level": "cell"},
    }
    assert loaded.json("sensors", "list", "--undeclared", "--json") == []
    assert [row["sensor"] for row in loaded.json("sensors", "list", "--never-seen", "--json")] == ["p2"]
    for form in ("yaml", "csv"):
        export = tmp_path / f"out.{form}"
        export.write_text(loaded("sensors", "export", "--format", form).stdout)
        assert loaded.json("sensors", "import", str(export), "--json")["changes"] == []
    table.write_text("work_unit,sensor\n,p1\n")
    failed = loaded("sensors", "import", str(table))
    assert str(failed.exception) == f"{table}:2: a sensor without a work_unit"


def test_a_calibration_names_the_hours_that_it_outdates(loaded: Shell) -> None:
    times = ("--valid-from", "2026-11-23T10:00", "--valid-to", "2026-11-24")
    done = loaded("sensors", "set", "p1", "--metric", "value", "--scale", "2", *times)
    line = "calibrations - -> * 2.0 + 0.0 from 2026-11-23T10:00:00Z to 2026-11-24T00:00:00Z"
    assert done.stdout.splitlines()[1] == f"changed: series press/p1 value: {line}"
    until = "1 micro-batches keep values of another calibration until these received hours are loaded again"
    assert done.stderr.splitlines() == ["2 changes made.", f"{until}: 2026-11-23T10Z."]
    (row,) = loaded.json("sensors", "list", "--json")
    assert row["calibrations"][0]["scale"] == 2.0
    assert "* 2.0 + 0.0 from" in loaded("sensors", "list").stdout
    backwards = ("--offset", "1", "--valid-from", "2027-01-01", *times[2:])
    for wrong in (("--valid-from", "2026-01-01"), ("--scale", "0"), backwards):
        assert loaded("sensors", "set", "p1", "--metric", "value", *wrong).exit_code == 2


def test_decode_asks_the_registry_where_it_is_told_to(loaded: Shell) -> None:
    assert loaded("sensors", "set", "p1", "--metric", "value", "--maximum", "5", "--scale", "2").exit_code == 0
    environment = {**loaded.environment, "COLUMNS": "80"}

    def decoded(payload: str, *options: str) -> tuple[int, Any]:
        command = ("decode", "--topic", "factory/press/sensors/p1/data", "--json", *options)
        result = CliRunner(env=environment).invoke(sensor_platform, command, input=payload)
        return result.exit_code, json.loads(result.stdout)

    exit_code, found = decoded('{"value": 1500, "unit": "mbar"}', "--registry")
    assert (exit_code, found["readings"][0]["value"], found["readings"][0]["unit"]) == (0, 3.0, "bar")
    assert found["readings"][0]["original"] == {"value": 1500.0, "unit": "mbar"}
    (step,) = [one for one in found["steps"] if one["step"] == "calibration"]
    assert step["says"] == ["value: 1.5 * 2.0 + 0.0, is 3.0 bar"]
    exit_code, found = decoded('{"value": 3}', "--registry")
    assert (exit_code, [one["code"] for one in found["refused"]]) == (1, ["above_maximum"])
    assert decoded('{"value": 3}')[0] == 0


def test_db_upgrade_makes_the_tables(database_url: str, home: Path) -> None:
    shell = Shell({"DATABASE_URL": database_url, "SENSOR_PLATFORM_HOME": str(home)})
    assert shell("db", "upgrade").exit_code == 0
    assert shell.json("sensors", "list", "--json") == []


def test_without_any_database_the_error_says_what_to_do(home: Path) -> None:
    result = Shell({"SENSOR_PLATFORM_HOME": str(home)})("db", "upgrade")
    assert isinstance(result.exception, ConfigurationError)
    assert "sensor-platform up" in str(result.exception)


def test_staging_prune_says_first_and_then_does(shell: Shell, staging: LocalStaging) -> None:
    long_ago = HOUR.replace(year=2020)
    stage(staging, "old", [value(1, long_ago)], hour=long_ago)
    assert shell("staging", "prune").stderr == "STAGING_RETENTION_DAYS is 0: every micro-batch is kept.\n"
    shell.json("process", "--json")
    would = shell.json("staging", "prune", "--days", "30", "--dry-run", "--json")
    assert (would["dry_run"], would["micro_batches"], would["messages"], would["unprocessed"]) == (True, 1, 1, 0)
    assert len(staging.micro_batches()) == 1
    assert "1 micro-batches with 1 messages were deleted.\n" in shell("staging", "prune", "--days", "30").stderr
    assert staging.micro_batches() == []


def test_staging_compact_says_what_it_made_small(shell: Shell, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1), value(2)])
    stage(staging, "b", [value(3)], first_sequence=3)
    shell.json("process", "--json")
    off = shell("staging", "compact", "--hours", "0").stderr
    assert off == "STAGING_COMPACTION_HOURS is 0: every micro-batch keeps its own file.\n"
    done = shell.json("staging", "compact", "--json")
    assert (done["hours"], done["micro_batches"], done["messages"], done["damaged"]) == (1, 2, 3, 0)
    assert [file.compacted for file in staging.files()] == [True]
    assert shell("staging", "compact").stderr.startswith("0 micro-batches of 0 hours were compacted")


def test_db_prune_says_first_and_then_does(
    shell: Shell, staging: LocalStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = HOUR.replace(year=2020)
    stage(staging, "old", [value(1, long_ago), value(2)])
    shell.json("process", "--json")
    kept = shell.json("db", "prune", "--json")
    assert (kept["partitions"], kept["kept_from"], kept["dead_letters"]["before"]) == ([], {}, None)
    monkeypatch.setitem(shell.environment, "METRIC_RETENTION_DAYS", "1000")
    would = shell.json("db", "prune", "--dry-run", "--json")
    assert (would["partitions"], would["readings"]) == (["metric_2020_11"], 0)
    said = shell("db", "prune").stderr
    assert "Partitions of readings that were dropped: metric_2020_11.\n1 readings expired" in said
    assert json.loads(shell("status", "--json").stdout)["readings"]["expired"] == 1


def test_db_room_shows_each_table(shell: Shell) -> None:
    rooms = {row["name"]: row for row in shell.json("db", "room", "--json")}
    assert rooms["ledger"]["table_bytes"] > 0
    assert set(rooms["metric"]) == {"name", "table_bytes", "index_bytes", "rows", "partitions"}
    assert "metrics_minute" in shell("db", "room").stdout


def test_staging_upload_needs_an_object_store(shell: Shell) -> None:
    result = shell("staging", "upload")
    assert isinstance(result.exception, ConfigurationError)
    assert "STAGING_URL names no object store" in str(result.exception)


def test_staging_upload_says_what_is_wrong_with_the_store(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setitem(shell.environment, "STAGING_URL", "s3://plant/staging")
    for command in ("upload", "prune --days 1", "compact --hours 1"):
        result = shell("staging", *command.split())
        assert isinstance(result.exception, ObjectStoreError)
        assert f"s3://plant/staging: cannot list: {endpoint} does not answer" in str(result.exception)


def test_last_shows_one_row_a_series_with_its_age(loaded: Shell) -> None:
    (row,) = loaded.json("last", "--sensor", "p1", "--json")
    assert isinstance(row.pop("age_s"), float)
    assert row == {
        "work_unit": "press",
        "sensor": "p1",
        "metric": "value",
        "time": "2026-11-23T10:00:00Z",
        "value": 1.5,
        "text": None,
        "unit": "bar",
        "quality": "good",
    }
    assert "age_s" in loaded("last").stdout
    assert loaded.json("last", "--metric", "other", "--json") == []
    assert loaded("last", "--sensor", "nobody").exit_code == 1


def test_decode_explains_a_message_from_the_field_as_it_was_received(loaded: Shell) -> None:
    staged = loaded.json("decode", "--from-staged", "a:1", "--json")
    assert [(reading["metric"], reading["value"], reading["unit"]) for reading in staged["readings"]] == [
        ("value", 1.5, "bar")
    ]
    (letter,) = loaded.json("dead-letters", "list", "--json")
    refused = loaded("decode", "--from-dead-letter", str(letter["id"]), "--json")
    assert refused.exit_code == 1
    assert [entry["code"] for entry in json.loads(refused.stdout)["refused"]] == ["invalid_json"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--from-staged", "a:9"], "a has no message 9: it holds 1 to 3"),
        (["--from-staged", "b:1"], "there is no sealed micro-batch b"),
        (["--from-dead-letter", "999"], "999"),
    ],
)
def test_decode_says_what_is_not_there(loaded: Shell, arguments: list[str], why: str) -> None:
    failed = loaded("decode", *arguments)
    assert failed.exit_code == 1
    assert why in str(failed.exception)


def test_a_case_that_needed_a_birth_brings_it_along(
    shell: Shell, staging: LocalStaging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "routes.yaml").write_text("routes: [{name: s, filter: spBv1.0/#, format: sparkplug}]\n")
    birth = sparkplug.birth("g/n", sparkplug.metric("force", 7, 10, double_value=1.5), bdseq=0)
    data = sparkplug.data("g/n", sparkplug.metric(None, 7, None, double_value=2.5))
    for name, (topic, payload) in (("a", birth), ("b", data)):
        stage(staging, name, [Message(payload, topic=topic)], received_at=HOUR + timedelta(seconds=ord(name)))
    shell.json("process", "--json")
    explained = shell.json("decode", "--from-staged", "b:1", "--json")
    assert [(reading["metric"], reading["value"]) for reading in explained["readings"]] == [("force", 2.5)]
    written = shell.json("routes", "test", "--from-staged", "b:1", "aliases", "--json")
    assert (written["before"], len(written["readings"])) == (1, 1)
    alone = Shell({**shell.environment, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})
    assert alone("routes", "test").stdout == "ok      aliases\n"
    unknown = alone("decode", "--from-staged", "b:1", "--json")
    assert [entry["code"] for entry in json.loads(unknown.stdout)["refused"]] == ["no_birth"]
    assert "what was said before this message is not known: " in unknown.stderr


def test_a_case_from_the_field_holds_until_the_routes_change(
    loaded: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (letter,) = loaded.json("dead-letters", "list", "--json")
    written = loaded.json("routes", "test", "--from-dead-letter", str(letter["id"]), "rubbish", "--json")
    assert written["refused"] == [{"ordinal": -1, "code": "invalid_json"}]
    assert (tmp_path / "testcases" / "rubbish" / "message.txt").read_bytes() == b"rubbish"
    assert loaded.json("routes", "test", "--from-staged", "a:1", "--json")["readings"][0]["unit"] == "bar"
    told = loaded.json("routes", "test", "--json")
    assert [(case["name"], case["ok"]) for case in told["cases"]] == [("a-1", True), ("rubbish", True)]
    again = loaded("routes", "test", "--from-staged", "a:1")
    assert (again.exit_code, "there is such a case already" in str(again.exception)) == (1, True)
    assert loaded("routes", "test", "--from-staged", "a:1", "../../out").exit_code == 2
    (tmp_path / "routes.yaml").write_text("routes: [{name: all, filter: '#', ignore: true}]\n")
    assert loaded("routes", "test").exit_code == 1


def test_sensors_clocks_lists_how_wrong_they_are(shell: Shell, staging: LocalStaging) -> None:
    now = datetime.now(UTC)
    stage(staging, "a", [value(n, now + timedelta(seconds=n + 90)) for n in range(3)], received_at=now)
    shell.json("process", "--json")
    (found,) = shell.json("sensors", "clocks", "--json")
    assert (found["work_unit"], found["sensor"], found["readings"]) == ("press", "p1", 3)
    assert (found["skew_s"], found["least_delay_s"]) == (90.0, -90.0)
    assert shell("sensors", "clocks").stdout.splitlines()[0].split()[:3] == ["work_unit", "sensor", "skew_s"]


def test_metrics_by_level(loaded: Shell, database: Database, tmp_path: Path) -> None:
    roll_up(database, first=HOUR.date(), last=HOUR.date())
    (found,) = loaded.json("metrics", "--sensor", "p1", "--level", "hour", "--json")
    assert (found["bucket"], found["count"], found["mean"], found["unit"]) == ("2026-11-23T10:00:00Z", 1, 1.5, "bar")
    header, row = loaded("metrics", "--sensor", "p1", "--level", "day", "--format", "csv").stdout.splitlines()
    assert header.startswith("work_unit,sensor,metric,unit,bucket,count,min,max,mean,")
    assert row.startswith("press,p1,value,bar,2026-11-23T00:00:00.000000Z,1,1.5,1.5,1.5,")
    parquet = tmp_path / "minutes.parquet"
    export = ("--format", "parquet", "--output", str(parquet))
    assert loaded("metrics", "--sensor", "p1", "--level", "minute", *export).exit_code == 0
    assert pq.read_table(parquet)["count"].to_pylist() == [1]


def test_rollups_of_changed_days_and_of_days_again(loaded: Shell, database: Database) -> None:
    first = loaded.json("rollups", "--json")
    assert (first["differences"], len(first["days"])) == ([], 1)
    assert first["days"] == [{"date": "2026-11-23", "minute": 1, "hour": 1, "day": 1}]
    assert loaded.json("rollups", "--json")["days"] == []
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE sensor_platform.metrics_daily SET max = 9"))
    again = ("--from", "2026-11-22", "--to", "2026-11-23")
    assert loaded("rollups", *again).stdout.splitlines()[-1].split() == ["2026-11-23", "1", "1", "1"]
    assert loaded.json("metrics", "--sensor", "p1", "--level", "day", "--json")[0]["max"] == 1.5
    assert loaded("rollups", "--to", "2026-11-23").exit_code == 2
    assert loaded("rollups", "--from", "2026-11-23", "--to", "2026-11-22").exit_code == 2


def test_rollups_that_differ_from_their_readings_are_said(loaded: Shell, database: Database) -> None:
    loaded("rollups")
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE sensor_platform.metrics_daily SET max = 9"))
    found = loaded("rollups", "--from", "2026-11-21")
    assert found.exit_code == 1
    assert "press/p1 value on 2026-11-23: max: metrics_daily says 9.0, the readings 1.5" in found.stderr
