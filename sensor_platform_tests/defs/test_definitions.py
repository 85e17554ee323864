import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from sensor_platform.definitions import build_defs, defs
from sensor_platform.defs import names
from sensor_platform_tests.defs.graph import SNAPSHOT, graph


def test_the_graph_is_the_snapshot() -> None:
    """A change is read in the diff: `python -m sensor_platform_tests.defs.graph` writes it anew."""
    assert graph() == json.loads(SNAPSHOT.read_text())


def test_definitions_are_loadable() -> None:
    dg.Definitions.validate_loadable(defs)


def test_every_asset_explains_itself() -> None:
    for spec in defs.resolve_all_asset_specs():
        assert spec.description, spec.key
        assert spec.owners == ["team:data-platform"], spec.key
        assert spec.kinds, spec.key


@pytest.mark.parametrize(
    ("asset", "column", "type_", "description"),
    [
        ("readings", "time", "timestamp with time zone", "event time, UTC"),
        ("metrics_daily", "bucket", "timestamp with time zone", "start, UTC"),
        ("dead_letters", "detail", "text", "a sentence for a person"),
    ],
)
def test_column_schemas_come_from_the_tables(asset: str, column: str, type_: str, description: str) -> None:
    spec = next(spec for spec in defs.resolve_all_asset_specs() if spec.key == dg.AssetKey(asset))
    schema = spec.metadata["dagster/column_schema"]
    found = next(c for c in schema.columns if c.name == column)
    assert (found.type, found.description) == (type_, description)


def test_every_column_says_what_it_is() -> None:
    schemas = {spec.key: spec.metadata.get("dagster/column_schema") for spec in defs.resolve_all_asset_specs()}
    without = {key.to_user_string() for key, schema in schemas.items() if schema is None}
    assert without == {"mqtt_messages", "storage"}
    told = [(key.to_user_string(), column) for key, schema in schemas.items() if schema for column in schema.columns]
    assert [(asset, column.name) for asset, column in told if not column.description] == []


def test_what_is_live_links_to_the_live_page() -> None:
    linked = {"mqtt_messages", "readings", "dead_letters"}
    for spec in defs.resolve_all_asset_specs():
        url = spec.metadata.get("live_page")
        assert (url == dg.MetadataValue.url("http://127.0.0.1:8080/")) == (spec.key.to_user_string() in linked)


def test_a_resource_can_be_replaced() -> None:
    resources = build_defs(platform="another").resources
    assert resources is not None
    assert resources["platform"] == "another"


IMPORT = """
import json, sys
import sensor_platform.definitions
heavy = ["pandas", "pandera", "fastapi", "alembic", "paho"]
print(json.dumps([name for name in heavy if name in sys.modules]))
"""


def test_loading_touches_no_database_and_imports_nothing_heavy(home: Path) -> None:
    """The code location loads, with its partitions, while the database is down."""
    (home / "first_hour").write_text("2026-03-01T07:00:00+00:00\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        port = listener.getsockname()[1]
        url = f"postgresql://u:p@127.0.0.1:{port}/d"
        environment = {**os.environ, "SENSOR_PLATFORM_HOME": str(home), "DATABASE_URL": url}
        loaded = subprocess.run(
            [sys.executable, "-c", IMPORT], env=environment, cwd=home, capture_output=True, text=True, check=True
        )
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert json.loads(loaded.stdout) == []


def test_sensors_and_the_schedule_are_on_by_default() -> None:
    repository = defs.get_repository_def()
    assert {s.default_status for s in repository.sensor_defs} == {dg.DefaultSensorStatus.RUNNING}
    assert {s.default_status for s in repository.schedule_defs} == {dg.DefaultScheduleStatus.RUNNING}


@pytest.mark.parametrize(("asset", "partitions"), [(names.READINGS, 24), (names.METRICS_MINUTE, 31)])
def test_a_run_of_a_backfill_makes_a_day_of_hours_or_a_month_of_days(asset: dg.AssetKey, partitions: int) -> None:
    assert defs.resolve_assets_def(asset).backfill_policy == dg.BackfillPolicy.multi_run(partitions)
