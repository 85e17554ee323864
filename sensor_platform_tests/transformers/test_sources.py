"""Where formats of one's own may come from: installed packages and a folder that nobody else may write."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from sensor_platform.cli.routes import check
from sensor_platform.errors import ConfigurationError
from sensor_platform.pipeline.decode import decode
from sensor_platform.routes.file import load_routes, parse_routes
from sensor_platform.routes.model import Routes
from sensor_platform.settings import Settings, TransformerSettings, load_settings
from sensor_platform.transformers import registry
from sensor_platform.transformers.folder import checked_files
from sensor_platform_tests.transformers.decoding import table_of

ROUTE = "routes: [{name: r, filter: 'p/{work_unit}/{sensor}', format: FORMAT}]"
CODE = """
from sensor_platform import transformer

@transformer("press-log", version="5")
def press_log(payload, topic, received_at):
    yield {"metric": "force", "value": float(payload)}
"""


@pytest.fixture(autouse=True)
def _no_other_formats(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_registered", {name: registry.get(name) for name in registry.BUILT_IN})
    registry._entry_points.cache_clear()
    yield
    registry._entry_points.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "formats"
    made.mkdir(mode=0o755)
    (made / "presses.py").write_text(CODE, encoding="utf-8")
    (made / "presses.py").chmod(0o644)
    (made / "notes.txt").write_text("not Python", encoding="utf-8")
    return made


def routes_with(folder: Path | None, format_: str = "press-log") -> Routes:
    return parse_routes(ROUTE.replace("FORMAT", format_), transformers=TransformerSettings(folder=folder))


def values(routes: Routes, payload: bytes) -> list[float]:
    decoded = decode(table_of([payload], topic="p/line1/press"), routes, max_payload_bytes=1000)
    assert decoded.refusals == []
    assert decoded.transformer_versions == {"press-log": "5"}
    return list(decoded.readings["value"])


def test_a_file_dropped_into_the_folder_brings_its_format(folder: Path) -> None:
    assert values(routes_with(folder), b"812.5") == [812.5]
    assert not any(name.endswith("presses") for name in sys.modules)
    assert not (folder / "__pycache__").exists()


def test_the_folder_is_off_unless_it_is_set(folder: Path, tmp_path: Path) -> None:
    assert load_settings({}, env_file=None).transformers.folder is None
    with pytest.raises(ConfigurationError, match='unknown format "press-log"'):
        routes_with(None)
    (tmp_path / "routes.yaml").write_text(ROUTE.replace("FORMAT", "press-log"), encoding="utf-8")
    environment = {"SENSOR_PLATFORM_TRANSFORMERS": str(folder), "SENSOR_PLATFORM_ROUTES": str(tmp_path / "routes.yaml")}
    (found,) = load_routes(load_settings(environment, env_file=None))
    assert found.sources.folder == folder


def test_compiled_files_in_the_folder_are_not_believed(folder: Path) -> None:
    import py_compile

    (folder / "presses.py").write_text(CODE.replace("float(payload)", "666"), encoding="utf-8")
    before = (folder / "presses.py").stat()
    py_compile.compile(str(folder / "presses.py"))
    (folder / "presses.py").write_text(CODE.replace("float(payload)", "float(payload)"), encoding="utf-8")
    os.utime(folder / "presses.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert values(routes_with(folder), b"1") == [1.0]


@pytest.mark.parametrize("mode", [0o775, 0o757], ids=["group", "others"])
@pytest.mark.parametrize("what", ["folder", "file", "folder above"])
def test_what_others_may_write_is_refused(what: str, mode: int, folder: Path) -> None:
    path = {"folder": folder, "file": folder / "presses.py", "folder above": folder.parent}[what]
    path.chmod(mode)
    with pytest.raises(ConfigurationError) as refused:
        checked_files(folder)
    assert str(refused.value) == (
        f"SENSOR_PLATFORM_TRANSFORMERS: others may write {path}, and run code as you: chmod go-w {path}"
    )


def test_a_file_behind_a_link_is_judged_where_it_is(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lent.py").write_text(CODE, encoding="utf-8")
    (folder / "lent.py").symlink_to(elsewhere / "lent.py")
    assert elsewhere / "lent.py" in checked_files(folder)
    elsewhere.chmod(0o777)
    with pytest.raises(ConfigurationError, match=r"others may write .*elsewhere"):
        checked_files(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_what_belongs_to_somebody_else_is_refused(folder: Path) -> None:
    os.chown(folder / "presses.py", 4321, -1)
    with pytest.raises(ConfigurationError, match=r"presses\.py belongs to user 4321: only you or root may own it"):
        checked_files(folder)


def test_routes_check_ends_with_78_and_says_what_is_wrong_with_the_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "presses.py").chmod(0o666)
    monkeypatch.setenv("SENSOR_PLATFORM_TRANSFORMERS", str(folder))
    monkeypatch.chdir(folder.parent)
    refused = CliRunner().invoke(check, []).exception
    assert isinstance(refused, ConfigurationError)
    assert refused.exit_code == 78
    assert "presses.py, and run code as you: chmod go-w" in str(refused)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent", "absent: there is no such folder"),
        ("formats", "broken.py cannot be imported: ZeroDivisionError: division by zero"),
    ],
)
def test_a_folder_that_cannot_be_used_is_said(name: str, said: str, folder: Path) -> None:
    (folder / "broken.py").write_text("1 / 0", encoding="utf-8")
    with pytest.raises(ConfigurationError) as refused:
        routes_with(folder.parent / name)
    assert said in str(refused.value)


def test_the_collector_reads_routes_and_runs_nothing_of_the_folder(folder: Path) -> None:
    (folder / "presses.py").write_text("1 / 0", encoding="utf-8")
    settings = Settings(transformers=TransformerSettings(folder=folder))
    assert load_routes(settings, with_transformers=False).filters


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages: one that brings a format, one that cannot be imported, one that brings none."""
    packages = tmp_path / "packages"
    for name, points in {
        "plant": "press-log = installed_presses:press_log",
        "rotten": "rotten-log = rotten_module\nempty-log = empty_module",
    }.items():
        info = packages / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[sensor_platform.transformers]\n{points}\n")
    (packages / "installed_presses.py").write_text(CODE, encoding="utf-8")
    (packages / "rotten_module.py").write_text("raise RuntimeError('no licence')", encoding="utf-8")
    (packages / "empty_module.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(packages)
    registry._entry_points.cache_clear()
    return packages


@pytest.mark.usefixtures("installed")
def test_installed_packages_bring_formats_that_are_imported_on_use_in_the_worker() -> None:
    assert {"press-log", "rotten-log"} <= set(registry.known())
    assert values(routes_with(None), b"3") == [3.0]
    assert not {"installed_presses", "rotten_module"} & sys.modules.keys()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("format_", "said"),
    [
        (
            "rotten-log",
            ':1: route "r": format "rotten-log": it cannot be imported: RuntimeError: "no licence"',
        ),
        ("empty-log", 'routes.yaml:1: route "r": format "empty-log": no decorated function of this name is in it'),
        ("presslog", 'unknown format "presslog". Did you mean "press-log"? Known: binary'),
    ],
)
def test_a_package_that_cannot_be_imported_is_said_to_who_uses_it(format_: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        routes_with(None, format_)
    assert said in str(refused.value)
    assert len(routes_with(None, "json")) == 1
