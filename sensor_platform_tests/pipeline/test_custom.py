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


def test_an_empty_text_beside_a_number_is_none_and_alone_is_one(
    database: Database, staging: LocalStaging, tmp_path: Path
) -> None:
    payloads = [b"1 ", b"1 one", b"nan ", b"nan one"]
    using = routes_of(tmp_path, "texts")
    for name in ("a", "b"):
        stage(staging, name, [Message(payload, topic="p/line1/press") for payload in payloads])
        load(staging, database, using=using)
    stop_worker()
    standing = [(1.0, None), (1.0, "one"), (None, ""), (None, "one")]
    assert rows(database, "SELECT value, text FROM reading ORDER BY sequence") == standing
    assert rows(database, "SELECT value, text FROM metric_duplicate ORDER BY sequence") == [(1.0, ""), *standing[1:]]
