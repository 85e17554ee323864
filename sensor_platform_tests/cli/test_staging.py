"""`staging`: pruned, compacted and uploaded by hand."""

import pytest

from sensor_platform.errors import ConfigurationError, ObjectStoreError
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.cli.shell import Shell
from sensor_platform_tests.conftest import free_port
from sensor_platform_tests.pipeline.staged import HOUR, stage, value


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
