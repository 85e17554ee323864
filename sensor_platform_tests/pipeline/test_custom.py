"""Formats of one's own on the durable path: whatever they do, every message is accounted for."""

from pathlib import Path

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.staging.store import LocalStaging
from sensor_platform.transformers.worker.owner import stop_worker
from sensor_platform_tests.pipeline.staged import Message, load, rows, stage
from sensor_platform_tests.transformers.formats import routes_of


def test_a_micro_batch_with_messages_that_kill_their_transformer_is_in_and_accounted_for(
    database: Database, staging: LocalStaging, tmp_path: Path
) -> None:
    payloads = [b"1", b"segfault", b"2", b"raise", b"hang", b"3"]
    stage(staging, "a", [Message(payload, topic="p/line1/press") for payload in payloads])
    report = load(staging, database, using=routes_of(tmp_path, "trouble"), run_id="run")
    stop_worker()
    assert (report.messages.accepted, report.messages.dead_lettered) == (3, 3)
    assert mismatches(database, run_id="run") == []
    assert rows(database, "SELECT sequence, stage, code FROM dead_letter ORDER BY sequence") == [
        (2, "decode", "transformer_crashed"),
        (4, "decode", "transformer_failed"),
        (5, "decode", "transformer_timeout"),
    ]
    assert rows(database, "SELECT value FROM metric ORDER BY value") == [(1.0,), (2.0,), (3.0,)]
    assert rows(database, "SELECT transformer_versions FROM ledger") == [({"trouble": "3"},)]
