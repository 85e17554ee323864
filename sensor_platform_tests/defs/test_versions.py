"""What Dagster calls stale when routes or code change, and what the ledger knows beyond that."""

from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterInstance

# Not public; the UI shows its answers as "Code version changed" and "Upstream data".
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleCauseCategory, StaleStatus
from dagster._core.loader import LoadingContextForTest

from sensor_platform.defs import names, versions
from sensor_platform.defs.ingest.checks import as_of_today
from sensor_platform.defs.ingest.messages import mqtt_messages, staged_messages
from sensor_platform.defs.ingest.readings import readings_and_dead_letters
from sensor_platform.defs.metrics.rollups import rollups
from sensor_platform.defs.partitions import key_of
from sensor_platform.defs.resources import Platform
from sensor_platform.defs.versions import PACKAGE, code_version, rollups_version
from sensor_platform.pipeline.made_otherwise import made_otherwise
from sensor_platform.routes.file import load_routes
from sensor_platform.settings import Settings
from sensor_platform_tests.defs.staged import reading, stage

ROUTES = "routes: [{name: data, filter: 'factory/{work_unit}/sensors/{sensor}/data', format: json%s}%s]"
MORE = ", {name: more, filter: 'more/{work_unit}/{sensor}', format: json}"


class Edited:
    """A code location whose route file is edited, and runs of it."""

    def __init__(self, platform: Platform, instance: DagsterInstance) -> None:
        self.instance = instance
        self.file = platform.settings.home / "routes.yaml"
        self.settings = platform.settings.model_copy(update={"routes_file": self.file})
        self.platform = Platform(self.settings, tick_wait_s=0)
        self.platform.database = platform.database
        self.write()

    def write(self, options: str = "", more: str = "") -> None:
        """As if the file were edited and the code location loaded again."""
        self.file.write_text(ROUTES % (options, more))
        self.platform.__dict__.pop("routes", None)
        version = code_version(self.settings)
        loading = readings_and_dead_letters.map_asset_specs(lambda spec: spec.replace_attributes(code_version=version))
        self.defs = dg.Definitions(
            assets=[loading, rollups, mqtt_messages, staged_messages], resources={"platform": self.platform}
        )

    def make(self, asset: dg.AssetKey, key: str) -> None:
        keys = [names.READINGS, names.DEAD_LETTERS] if asset == names.READINGS else [asset]
        job = self.defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=set(keys))
        assert job.execute_in_process(instance=self.instance, partition_key=key).success

    def status(self, asset: dg.AssetKey, key: str) -> StaleStatus:
        return self._resolver().get_status(asset, key)

    def causes(self, asset: dg.AssetKey, key: str) -> list[tuple[StaleCauseCategory, str]]:
        return [(cause.category, cause.reason) for cause in self._resolver().get_stale_causes(asset, key)]

    def _resolver(self) -> CachingStaleStatusResolver:
        graph = self.defs.resolve_asset_graph()
        return CachingStaleStatusResolver(self.instance, graph, LoadingContextForTest(self.instance))


@pytest.fixture
def edited(platform: Platform, instance: DagsterInstance, this_hour: datetime) -> Edited:
    stage(platform.settings.home / "staging", this_hour, [reading(1, at=this_hour)])
    return Edited(platform, instance)


def test_an_edited_route_makes_the_hours_stale_that_were_made_before(edited: Edited, this_hour: datetime) -> None:
    hour, next_hour = key_of(this_hour), key_of(this_hour + timedelta(hours=1))
    edited.make(names.READINGS, hour)
    assert edited.status(names.READINGS, hour) == StaleStatus.FRESH
    edited.write(", text: true")
    for asset in (names.READINGS, names.DEAD_LETTERS):
        assert edited.causes(asset, hour) == [(StaleCauseCategory.CODE, "has a new code version")]
        # What was never made is missing, not stale.
        assert edited.status(asset, next_hour) == StaleStatus.MISSING
    edited.make(names.READINGS, hour)
    assert edited.status(names.READINGS, hour) == StaleStatus.FRESH


def test_rollups_are_stale_for_new_data_not_for_routes(edited: Edited, this_hour: datetime) -> None:
    hour, day = key_of(this_hour), f"{this_hour:%Y-%m-%d}"
    edited.make(names.READINGS, hour)
    edited.make(names.METRICS_MINUTE, day)
    edited.write(", text: true")
    assert edited.status(names.METRICS_MINUTE, day) == StaleStatus.FRESH
    edited.make(names.READINGS, hour)
    assert (StaleCauseCategory.DATA, "has a new dependency data version") in edited.causes(names.METRICS_MINUTE, day)


def test_the_ledger_names_the_hours_that_dagster_cannot_tell_apart(edited: Edited, this_hour: datetime) -> None:
    edited.make(names.READINGS, key_of(this_hour))

    def others() -> list[tuple[datetime, tuple[str, ...]]]:
        return [(one.hour, one.by) for one in made_otherwise(edited.platform.database, load_routes(edited.settings))]

    assert others() == []
    # Another route is new: Dagster calls each hour stale, but none was made with it.
    edited.write(more=MORE)
    assert edited.status(names.READINGS, key_of(this_hour)) == StaleStatus.STALE
    assert others() == []
    edited.write(", text: true")
    assert others() == [(this_hour, ("data",))]
    told = as_of_today(made_otherwise(edited.platform.database, load_routes(edited.settings)))
    assert (told.passed, told.metadata["hours"].value) == (False, 1)
    assert f"reprocess --from {this_hour:%Y-%m-%dT%H:%MZ}" in (told.description or "")
    edited.make(names.READINGS, key_of(this_hour))
    assert others() == []


def test_the_version_of_readings_is_that_of_their_code_and_not_of_the_rollups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path)
    before, rolled_up = code_version(settings), rollups_version()
    copy = tmp_path / "package"
    for file in (
        *PACKAGE.glob("transformers/**/*.py"),
        *PACKAGE.glob("validation/*.py"),
        *PACKAGE.glob("pipeline/**/*"),
    ):
        if file.is_file() and file.suffix in (".py", ".sql"):
            target = copy / file.relative_to(PACKAGE)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    monkeypatch.setattr(versions, "PACKAGE", copy)
    assert (code_version(settings), rollups_version()) == (before, rolled_up)
    # A module that formats share.
    with (copy / "transformers" / "mapping.py").open("a") as file:
        file.write("# mended\n")
    mended = code_version(settings)
    assert (mended != before, rollups_version()) == (True, rolled_up)
    with (copy / "pipeline" / "rollups.py").open("a") as file:
        file.write("# mended\n")
    assert (code_version(settings), rollups_version() != rolled_up) == (mended, True)


def test_the_version_follows_modules_that_the_route_file_names(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text("transformers: [press_log]\n" + ROUTES % ("", ""))
    settings = Settings(home=tmp_path, routes_file=file)
    seen = set()
    for content in ("x = 1", "x = 2"):
        (tmp_path / "press_log.py").write_text(content)
        seen.add(code_version(settings))
    assert len(seen) == 2
